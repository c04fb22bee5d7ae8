"""The board's pictures: points of models and curves of runs, drawn by `clue_bench.charts`.

points      what is drawn: scores with their error, parameters, tokens and speeds of models; losses of pretraining runs
pictures    the pictures, as files and for the page, and why one is left out
"""
