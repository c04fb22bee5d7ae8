"""Published scores as the cards' tables: quoted, never mixed with measured ones.

read        quoted scores from `leaderboards/published/*.csv`, read strictly
printed     what is printed besides scores, from `leaderboards/published/tables/*.csv`, and shapes to count from
quoted      a published table as cells that know what is printed; no difference without a footnote
sizes       parameter counts, printed and counted
remarks     what a reader of a published table has to know, in sentences
score_layouts, fact_layouts   the layouts of the published tables
quotations  all published tables: `quoted_tables`
"""
