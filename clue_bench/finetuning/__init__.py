"""Room 3, from checkpoint and task data to run records: start, settings, train, score, run, sweep, floor."""
