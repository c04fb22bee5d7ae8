"""Fine-tuning, from checkpoint and task data to run records: base model, settings, train, score, run, sweep, floor."""
