"""Corpora, from raw text to shards: read, clean, segment, build."""
