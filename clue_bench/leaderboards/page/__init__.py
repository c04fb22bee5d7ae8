"""The board as one static page: it makes no requests, opens from file://, and says where every number is from.

tables       the tables that the page shows, and what it says about each
provenance   what is behind a cell, as plain values that the page's script writes as text
render       template, style, script and both of the above, as JSON, in one HTML file: `render_page`
"""
