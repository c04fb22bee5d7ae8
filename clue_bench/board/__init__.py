"""Room 4: run records and published scores become tables. It reads files, computes with decimals and never loads torch.

frames      run records as one pandas frame; what did not complete is listed
scores      what a score is: columns, rounding half up on decimals, how numbers are written
cells       the frame as tables of cells: one model on one task, over seeds, one data revision per column
floors      cells held against models without any pretraining
tables      measured cells as Markdown, in the layout of the published small-model table
markdown    text and tables that Markdown shows as they are

published   quoted scores from `leaderboards/published/*.csv`, read strictly
printed     what is printed besides scores, from `leaderboards/published/tables/*.csv`, and shapes to count from
quoted      a published table as cells that know what is printed; no difference without a footnote
sizes       parameter counts, printed and counted
arrows      changes as the cards print them, computed
sampling    binomial errors of published scores
remarks     what a reader of a published table has to know, in sentences
score_layouts, fact_layouts   the layouts of the published tables
quotations  all published tables: `quoted_tables`

leaderboard the whole board: `build_leaderboard`
"""
