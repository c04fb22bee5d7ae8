"""Room 3, from checkpoint and task data to run records: task, data, heads, train, predict, score, run."""
