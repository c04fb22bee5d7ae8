"""The board as one static page: no request leaves it, it opens from file://, and every number says where it is from.

tables       which tables the page shows, and what it says of each
provenance   what stands behind a cell, as plain values that the page's script writes as text
render       template, style, script and both of the above, as JSON, in one HTML file: `render_page`
"""
