"""Room 4: run records and published scores become tables. It reads files, computes with decimals and never loads torch.

published   quoted scores from `leaderboards/published/*.csv`, read strictly
frames      run records as one pandas frame; what did not complete is listed
scores      what a score is: columns, rounding half up on decimals, how numbers are written
cells       the frame as tables of cells: one model on one task, over seeds, one data revision per column
floors      cells held against models without any pretraining
tables      cells and published rows as Markdown, in the layout of the published small-model table
leaderboard the whole board: `build_leaderboard`
"""
