"""The board's pictures: points of models and curves of runs, drawn by `clue_bench.charts`.

points      the data: scores with their errors, parameters, tokens and speeds of models; losses of pretraining runs
pictures    the pictures, as files and for the page, and why one is left out
"""
