"""Room 1, from raw text to shards: read, clean, segment, build."""
