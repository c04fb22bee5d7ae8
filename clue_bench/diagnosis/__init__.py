"""Whether a checkpoint is what it claims to be: names, shapes, vocabulary and answers against config.json."""
