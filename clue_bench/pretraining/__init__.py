"""Pretraining, from shards to checkpoint: recipe, batches, objectives, step, state, train."""
