"""Published scores as the cards' tables: quoted, never mixed with measured ones.

facts    quoted scores and other printed facts, read strictly from `leaderboards/published/`
tables   the tables: layouts as data, cells with what is printed: `published_tables`
"""
