"""Predictions of fine-tuned models: for rows, over HTTP, and as CLUE's submission."""
