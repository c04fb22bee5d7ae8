"""Error analysis and comparison of finished fine-tuning runs.

Input: the folders of runs (door 3: record and predictions) and the task data that was predicted. Output: one HTML
report per run, and the statistics of the difference between runs. It runs no model.
"""
