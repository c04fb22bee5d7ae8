"""Speed records as tables, one per machine and session.

columns     what a column shows of a record
tables      `SpeedTable`, its Markdown and its plain values: `speed_section`, `speed_json`
"""
