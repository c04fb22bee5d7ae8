"""Speed records as tables, one per machine and session.

columns     how a column shows a record
tables      `SpeedTable`, its Markdown and its plain values: `speed_section`, `speed_json`
"""
