"""The board as one static page: no request leaves it, it opens from file://, and every number says where it is from.

views        tables as the page shows them: columns that can be filtered, cells that can be sorted and addressed
provenance   what stands behind a cell, as plain values that the page's script writes as text
paper        “you and the paper”, and what qualifies each comparison
speeds       speed tables, and what stands behind their cells
render       template, style, script and both of the above as one HTML file: `render_page`
"""
