"""A shelf: reading weights, and what families call them."""
