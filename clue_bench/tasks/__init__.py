"""Tasks: their cards, and their rows on disk.

Input: a card, a data folder. Output: rows (texts and class numbers) and the facts that say which revision of the data
they are. It knows nothing of tokens or models.
"""
