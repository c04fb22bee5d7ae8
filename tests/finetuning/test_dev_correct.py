"""A record says which dev rows are right, at every evaluation, and which training repeats, for models and floors."""

import json
from pathlib import Path

import numpy as np
import pytest

from clue_bench.doors.predictions import predictions_path, read_predictions
from clue_bench.doors.records import RunRecord, read_record, record_path
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.baselines import run_floor
from clue_bench.finetuning.run import Plan, prepare, run
from clue_bench.finetuning.settings import make_settings
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """OCNLI-like rows; a label "-" leaves dev, test has no labels."""
    draw, train = np.random.default_rng(0), [""]
    folder = tmp_path / "data" / "ocnli"
    folder.mkdir(parents=True)
    for split, number in {"train": 60, "dev": 45, "test": 9}.items():
        lines = []
        for n in range(number):
            row = {f"sentence{i}": "".join(draw.choice(list("的一是在了有和人这中大为"), 5)) for i in (1, 2)}
            label = "-" if n % 11 == 3 else str(draw.choice(["neutral", "entailment", "contradiction"]))
            lines.append(json.dumps({**row, **({"id": n} if split == "test" else {"label": label})}))
        if split == "dev":  # the last five rows stand in training, the very last with its texts the other way round
            repeated = [json.loads(line) for line in train[4:9]]
            last = repeated[4]
            last["sentence1"], last["sentence2"] = last["sentence2"], last["sentence1"]
            lines[-5:] = [json.dumps({**row, "label": "neutral"}) for row in repeated]
        train = lines
        (folder / f"{split}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder.parent


def check(record: RunRecord, out: Path) -> None:
    predictions = read_predictions(predictions_path(out, "dev"))
    assert len(predictions) == 45 - 4
    found = record.completed_results.dev_correct.unpack()
    assert found == [prediction.is_right for prediction in predictions]
    assert 0 < sum(found) < len(found)
    repeated = record.data.repeated.unpack()
    assert repeated == [False] * 36 + [True] * 4 + [False]
    clean = [right for right, is_repeated in zip(found, repeated, strict=True) if not is_repeated]
    assert record.completed_results.dev_clean.model_dump() == {
        "rows": 37,
        "correct": sum(clean),
        "accuracy": sum(clean) / 37,
    }
    for each in record.completed_results.choices:
        assert each.right is not None
        assert sum(each.right.unpack()) == round(each.accuracy * 41)


def test_a_run_records_which_dev_rows_are_right(data: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    task, start = load_task("ocnli"), open_pretrained(checkpoint_folder)
    rows = read_rows(task, data)
    asked = {"epochs": 1, "batch_size": 16, "precision": "fp32"}
    settings = make_settings(task, start.sizes, asked, train_rows=len(rows["train"]))
    plan = Plan(task=task, start=start, settings=settings, seed=1, rows=rows, data=data)
    for _ in run(plan, prepare(plan), out=tmp_path / "run", asked={}):
        pass
    record = read_record(record_path(tmp_path / "run", plan.run_id))
    check(record, tmp_path / "run")
    best = next(each for each in record.results.evaluations if each.step == record.results.best_step)
    assert best.right == record.results.dev_correct


@pytest.mark.parametrize("kind", ["majority", "tfidf"])
def test_a_floor_records_which_dev_rows_are_right(data: Path, tmp_path: Path, kind: str) -> None:
    task = load_task("ocnli")
    out = tmp_path / "floor"
    record = run_floor(task, read_rows(task, data), data=data, kind=kind, seed=1, out=out, asked={})
    check(record, out)
    assert read_record(record_path(out, record.run_id)) == record
