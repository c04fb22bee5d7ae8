"""Leaderboards: make tables of run records and published scores, with decimals and without torch.

scores              the definition of a score: columns, rounding half up on decimals, sampling errors, arrows
runs                run records as tables of cells; unfinished runs are listed
cells               cells: one model on one task, over seeds, compared with the floors
ranks               ranks from paired tests: the places that the tests leave open
measured            measured cells as tables: scores, ranks, conditions, a line per cell
published/          the scores that others published
against_published   measured models beside their published counterparts, with noise and obstacles
leaderboard         the whole board (`build`), or that of given runs alone (`leaderboard_of`)

speed/              records of speed
plots/              pictures
page/               the page
files               everything that is written and checked: `board_files`
"""
