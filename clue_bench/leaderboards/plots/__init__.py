"""The board's pictures, as SVG whose text stays text: `pictures` says which there are and why others are left out.

svg         a chart: axes, linear or logarithmic, lines, bubbles, error bars, labels that keep clear of each other
points      where measured models stand: score with its error, parameters, pretraining tokens, speed; the Pareto front
session     speeds that may be compared: of one machine and one invocation
scatter     score against pretraining tokens, and against speed
curves      loss curves of pretraining runs, from the curve in their records
pictures    all of them: `draw_pictures`
"""
