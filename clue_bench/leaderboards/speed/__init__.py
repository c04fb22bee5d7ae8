"""Speed records as tables, one per machine and session.

columns     what a column shows of a record
tables      Markdown and plain values: `speed_section`, `speed_json`
"""
