"""Published scores as the cards' tables: quoted, never mixed with measured ones.

facts    quoted scores and what else is printed, read strictly from `leaderboards/published/`
tables   the tables: layouts as data, cells that know what is printed: `published_tables`
"""
