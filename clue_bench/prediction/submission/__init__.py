"""CLUE's submission: one zip with a file of predictions per test set, written from runs, and checked.

Format (clue_submit_examples, 2021-09-04): JSON Lines {"id": 0, "label": "0"} in the order of the test file, since the
score server reads only `label`, line by line; of C3 the number of the choice, {"id": 0, "label": 0}; of CMRC2018 one
object, {"TEST_0_QUERY_0": "answer"}, and of CHID, {"#idiom1#": 0}. The names of the files are those of the task cards
(`submission`); any subset of tasks may be sent. A file under another name silently scores 0 (CLUE#104, #113:
ocnli_predict.json).

    slots      the official names, and the test sets that they stand for
    runs       the predictions of fine-tuning runs
    unseen     predictions of test sets without training data, made by a run of another task
    write      the zip
    check      everything that would cost points
"""
