"""Room 2, from shards to checkpoint: recipe, batches, objectives, step, state, train."""
