from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_bench.cards import builtin_folder
from clue_bench.doors.records import DataFacts, ModelFacts, RunRecord, TaskFacts, parse_record

COLUMNS = {"afqmc": "AFQMC", "tnews": "TNEWS'", "iflytek": "IFLYTEK'", "cmnli": "CMNLI"}

MakeRecord = Callable[..., RunRecord]


@pytest.fixture(scope="session")
def published_folder() -> Path:
    return builtin_folder("leaderboards/published")


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Return a function that makes a completed fine-tuning record; `correct` is out of `rows`."""

    def make(
        task: str = "afqmc",
        correct: int = 7370,
        *,
        rows: int = 10_000,
        model: str = "tiny",
        sha256: str = "a" * 64,
        parameters: int = 7_450_000,
        is_floor: bool = False,
        seed: int = 1,
        learning_rate: float = 1e-4,
        data: str = "clue",
        revision: str = "official",
        run_id: str = "",
        results: dict[str, Any] | None = None,
        **facts: Any,
    ) -> RunRecord:
        dev = {
            "rows": rows,
            "correct": correct,
            "accuracy": correct / rows,
            "macro_f1": 0.5,
            "loss": 0.7,
            "top_label": "0",
            "top_share": 0.7,
            "majority_share": 0.6899,
            "majority_label": "0",
        }
        fields = {
            "kind": "finetune",
            "run_id": run_id or f"{task}-{model}-{sha256[:2]}-{learning_rate}-{data}-{revision}-{rows}-{seed}",
            "status": "completed",
            "started_at": "2026-01-01T00:00:00Z",
            "asked": {"task": task},
            "effective": {"learning_rate": learning_rate, "epochs": 3, "seed": seed},
            "seed": seed,
            "task": TaskFacts(name=task, title=task, column=COLUMNS.get(task, task.upper()), metric="accuracy"),
            "data": DataFacts(name=data, revision=revision),
            "model": ModelFacts(
                name=model, parameters=parameters, sha256=sha256, layers=4, hidden_size=312, is_floor=is_floor
            ),
            "code": {"version": "0.1.0", "commit": "0123456789abcdef", "dirty": False},
            "packages": {},
            "hardware": {},
            "results": {"dev": dev, "best_step": 200, "total_steps": 600} if results is None else results,
        }
        return parse_record({**fields, **facts})

    return make
