"""Run folders, written by the doors' own writers over small task data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_bench.doors.predictions import Prediction, predictions_path, write_predictions
from clue_bench.doors.records import ModelFacts, parse_record, write_record
from clue_bench.tasks.files import describe
from clue_bench.tasks.rows import read_split
from clue_bench.tasks.task import load_task

TITLES = [
    ("108", "高考前一天该做什么"),
    ("103", "<script>alert('越位')</script>裁判看了回放 & 改判"),
    ("104", "央行宣布下调存款准备金率"),
    ("116", "新版本里这个英雄太强了"),
    ("104", "创业公司拿到第二轮融资"),
    ("109", "手机厂商发布折叠屏"),
]

MakeRun = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """TNEWS' data: train and dev, the six titles each."""
    folder = tmp_path / "data"
    write_data(folder, TITLES)
    return folder


def write_data(folder: Path, titles: list[tuple[str, str]]) -> None:
    (folder / "tnews").mkdir(parents=True, exist_ok=True)
    rows = [{"label": label, "label_desc": "", "sentence": title} for label, title in titles]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    for split in ("train", "dev"):
        (folder / "tnews" / f"{split}.json").write_text(text, encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path, data: Path) -> MakeRun:
    """Return a function that writes a finished run whose predictions are `labels`, sure to `probability`."""

    def make(
        labels: list[str],
        *,
        name: str = "run",
        seed: int = 1,
        model: str = "tiny",
        run_id: str = "",
        probability: list[float] | None = None,
        gold_probability: list[float | None] | None = None,
        effective: dict[str, Any] | None = None,
        dev: dict[str, Any] | None = None,
        with_evaluations: bool = True,
        data: Path = data,
        **changed: Any,
    ) -> Path:
        task = load_task("tnews")
        splits = {split: read_split(task, split, data) for split in ("train", "dev")}
        rows = splits["dev"]
        sure = probability or [0.75] * len(labels)
        gold = [task.labels[number] for number in rows.labels]
        known = gold_probability or [p if g == label else 0.1 for p, g, label in zip(sure, gold, labels, strict=True)]
        folder = tmp_path / name
        predictions = [
            Prediction(id=i, label=label, probability=p, gold=g, gold_probability=k)
            for i, label, p, g, k in zip(rows.ids, labels, sure, gold, known, strict=True)
        ]
        write_predictions(predictions_path(folder, "dev"), predictions)
        correct = sum(p.is_right for p in predictions)
        scores = {"rows": len(rows), "macro_f1": 0.4, "loss": 1.5, "top_label": "104", "top_share": 0.5}
        scores |= {"majority_label": "104", "majority_share": 1 / 3}
        half = len(rows) // 2
        evaluations = [
            {
                **scores,
                "step": step,
                "epoch": 1.0,
                "train_loss": 2 / step,
                "correct": half,
                "accuracy": half / len(rows),
            }
            for step in (10, 20)
        ]
        values: dict[str, Any] = {
            "kind": "finetune",
            "run_id": run_id or f"finetune-tnews-{model}-{name}-s{seed}",
            "status": "completed",
            "started_at": "2026-01-01T00:00:00Z",
            "asked": {},
            "effective": effective or {"learning_rate": 1e-4},
            "seed": seed,
            "task": task.facts,
            "data": describe(task, data, {split: each.facts for split, each in splits.items()}),
            "model": ModelFacts(name=model, parameters=7, sha256="a" * 64, layers=2, hidden_size=8),
            "code": {"commit": "0123456789abcdef"},
            "packages": {},
            "hardware": {},
            "results": {
                "dev": {**scores, "correct": correct, "accuracy": correct / len(rows), **(dev or {})},
                "best_step": 20,
                "total_steps": 20,
                "evaluations": evaluations if with_evaluations else [],
            },
        }
        write_record(folder, parse_record({**values, **changed}))
        return folder

    return make


@pytest.fixture
def other_data(tmp_path: Path) -> Path:
    """Data of another revision, with as many rows."""
    folder = tmp_path / "other"
    write_data(folder, [*TITLES[:-1], ("109", "另一个标题")])
    return folder
