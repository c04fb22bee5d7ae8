"""A card, its rows, and runs as other commands read them, for tests of several places."""

from clue_bench.doors.predictions import Prediction, predictions_path, write_predictions
from clue_bench.doors.records import BaselineRecord, DataFacts, FinetuneRecord, ModelFacts, TaskFacts, write_record
from clue_bench.tasks.task import load_task

ROWS = '{"text": "一", "label": "a"}\n{"text": "二", "label": "b"}\n'
"""Rows of a split of `card_text`."""

DEV = {"rows": 4, "correct": 3, "accuracy": 0.75, "macro_f1": 0.5, "loss": 0.7, "top_label": "0", "top_share": 1.0}
RESULTS = {"dev": {**DEV, "majority_label": "0", "majority_share": 0.5}, "best_step": 1, "total_steps": 2}


def card_text(name, *, rows=2, has_archive=False):
    """Return the card of a task of two labels, with so many rows in each split."""
    splits = "".join(f'[splits.{split}]\nfile = "{split}.jsonl"\nrows = {rows}\n' for split in ("train", "dev"))
    archive = f'[archive]\nfile = "{name}.zip"\n' if has_archive else ""
    return f"""
name = "{name}"
title = "测试"
column = "T"
text_fields = ["text"]
label_field = "label"
labels = ["a", "b"]
label_descriptions = ["甲", "乙"]
metric = "accuracy"
max_length = 16
{splits}{archive}"""


def write_run(
    folder, task, ids_of_split, *, status="completed", label=None, correct=3, is_floor=False, files=None, asked=None
):
    """Write a run's record and predictions; they take turns over the task's labels."""
    dev = {**RESULTS["dev"], "rows": 100, "correct": correct, "accuracy": correct / 100}
    card = load_task(task)
    for split, ids in ids_of_split.items():
        names = card.labels or ["答案", ""]
        labels = [label or names[n % len(names)] for n in range(len(ids))]
        rows = [Prediction(id=i, label=each, probability=0.5) for i, each in zip(ids, labels, strict=True)]
        write_predictions(predictions_path(folder, split), rows)
    record = (BaselineRecord if is_floor else FinetuneRecord)(
        run_id=f"finetune-{task}-{folder.name}",
        status=status,
        started_at="2026-01-01T00:00:00Z",
        asked=asked or {},
        effective={},
        seed=1,
        task=TaskFacts(name=task, title=card.title, column=card.column, metric=card.metric),
        data=DataFacts(name="clue", revision="official", files=files or {}),
        model=ModelFacts(name="small", parameters=1, sha256="0", layers=1, hidden_size=1, is_floor=is_floor),
        code={},
        packages={},
        hardware={},
        results={**RESULTS, "dev": dev, "predictions": {s: f"predictions/{s}.jsonl" for s in ids_of_split}}
        if status == "completed"
        else {},
    )
    write_record(folder, record)
    return folder
