"""Room 4: run records and published scores become tables. It reads files, computes with decimals and never loads torch.

scores              what a score is: columns, rounding half up on decimals, sampling errors, arrows
runs                run records as one pandas frame; what did not complete is listed
cells               the frame as tables of cells: one model on one task, over seeds, held against the floors
ranks               ranks from paired tests: the places that they leave open
measured            measured cells as tables: scores, ranks, conditions, a line per cell
published/          what others published
against_published   measured models beside their published counterparts, with noise and obstacles
leaderboard         the whole board: `build`, and of given runs alone: `leaderboard_of`

speed/              records of speed
plots/              pictures
page/               the page
files               everything that is written, and checked: `board_files`
"""
