"""Room 4: run records and published scores become tables. It reads files, computes with decimals and never loads torch.

scores      what a score is: columns, rounding half up on decimals, how numbers are written
sampling    binomial errors of scores
arrows      changes as the cards print them, computed
markdown    text and tables that Markdown shows as they are
addresses   what a permalink names

measured/   records of fine-tuning
published/  what others published
speed/      records of speed
plots/      pictures
page/       the page

leaderboard the whole board: `build_leaderboard`
files       everything that is written, and checked: `board_files`
"""
