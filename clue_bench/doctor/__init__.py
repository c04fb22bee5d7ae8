"""Is this checkpoint what it claims to be? Names, shapes, vocabulary and answers against config.json."""
