"""CLUE's submission: one zip with a file of predictions per test set, written and checked.

Input: folders of fine-tuning runs (their record and predictions), or a zip of anyone's. Output: a zip that the checker
has found right, or an error naming file, line, what was found and what was expected.

Format (clue_submit_examples, 2021-09-04): JSON Lines {"id": 0, "label": "0"} in the order of the test file, since the
score server reads only `label`, line by line. The names of the files are those of the task cards (`submission`); any
subset of tasks may be sent. A file under another name scores 0 without a word (CLUE#104, #113: ocnli_predict.json).
"""
