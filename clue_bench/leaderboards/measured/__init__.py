"""Run records as tables of measured cells, with everything that qualifies a number.

frames      run records as one pandas frame; what did not complete is listed
cells       the frame as tables of cells: one model on one task, over seeds, one data revision per column
floors      cells held against models without any pretraining
ranks       ranks from paired tests: the places that they leave open
optimism    what choosing the best of several dev scores flatters a cell by
conditions  what qualifies a cell, and why rows are not comparable
tables      measured cells as Markdown, in the layout of the published small-model table
paper       measured models beside their published counterparts, with noise and obstacles
rows        measured cells as CSV
"""
