"""Tasks of a user, from the command line: cards without row counts, unfit floors, edited predictions."""

import json

import pytest
from typer.testing import CliRunner

from clue_bench.cli import app

CARD = """
name = "mine"
title = "Mine"
column = "MINE"
text_fields = ["text"]
label_field = "label"
labels = ["yes", "no"]
label_descriptions = ["是", "不是"]
metric = "accuracy"
max_length = 32

[splits.train]
file = "train.csv"

[splits.dev]
file = "dev.csv"
"""
FAST = ["--steps", "3", "--set", "precision=fp32"]


@pytest.fixture
def task(tmp_path):
    """The arguments that name a task of two CSV files."""
    (tmp_path / "mine.toml").write_text(CARD, encoding="utf-8")
    (tmp_path / "data" / "mine").mkdir(parents=True)
    rows = ["text,label", *(f"我们在学{'不' * (n % 2)}中国,{'no' if n % 2 else 'yes'}" for n in range(24))]
    for split in ("train", "dev"):
        (tmp_path / "data" / "mine" / f"{split}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"card": str(tmp_path / "mine.toml"), "data": str(tmp_path / "data")}


def test_a_card_without_row_counts_is_fine_tuned(task, checkpoint_folder, tmp_path):
    arguments = ["finetune", "--task", task["card"], "--data", task["data"], "--model", str(checkpoint_folder)]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run"), *FAST], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "dev accuracy" in result.stdout


def bench(task, checkpoint_folder, out, *more):
    arguments = ["bench", "--task", task["card"], "--data", task["data"], "--model", str(checkpoint_folder)]
    return CliRunner().invoke(app, [*arguments, "--out", str(out), "--seeds", "1", "--json", *FAST, *more])


def test_a_floor_that_cannot_be_fitted_is_left_out_and_the_models_go_on(task, checkpoint_folder, tmp_path):
    train = tmp_path / "data" / "mine" / "train.csv"
    train.write_text("text,label\n" + "我们在学,yes\n" * 8, encoding="utf-8")
    result = bench(task, checkpoint_folder, tmp_path / "runs")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [summary["model"] for summary in found["floors"]] == ["floor-majority"]
    assert found["rows"][0]["dev"]["floor"] == "floor-majority"


def test_a_run_whose_predictions_were_edited_is_done_again(task, checkpoint_folder, tmp_path):
    first = json.loads(bench(task, checkpoint_folder, tmp_path / "runs").stdout)
    (run,) = first["rows"][0]["runs"]
    predictions = tmp_path / "runs" / run / "predictions" / "dev.jsonl"
    whole = predictions.read_bytes()
    predictions.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    second = json.loads(bench(task, checkpoint_folder, tmp_path / "runs").stdout)
    assert predictions.read_bytes() == whole
    assert second["rows"][0]["dev"]["accuracies"] == first["rows"][0]["dev"]["accuracies"]


def test_edited_predictions_are_not_compared(task, checkpoint_folder, tmp_path):
    found = json.loads(bench(task, checkpoint_folder, tmp_path / "runs").stdout)
    (run,) = found["rows"][0]["runs"]
    folder = tmp_path / "runs" / run
    predictions = folder / "predictions" / "dev.jsonl"
    text = predictions.read_text(encoding="utf-8")
    predictions.write_text(text.replace('"probability": 0.', '"probability": 0.0', 1), encoding="utf-8")
    result = CliRunner().invoke(app, ["compare", str(folder), str(folder)])
    assert result.exit_code == 1
    assert "not the predictions that the run wrote" in str(result.exception)
