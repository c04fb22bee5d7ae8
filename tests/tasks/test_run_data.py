"""The rows that a run read are found again by the bytes of all their files."""

import json
from pathlib import Path

import pytest

from clue_bench.tasks.rows import read_split
from clue_bench.tasks.run_data import data_of_run
from clue_bench.tasks.task import load_task
from tests.samples import write_run

QUESTION = [["他去了南京。"], [{"question": "去了哪里？", "choice": ["北京", "南京"], "answer": "南京"}], "1"]


def write_questions(data: Path, num: int) -> None:
    """Write dev of C3, which has two files."""
    for name in ("d-dev.json", "m-dev.json"):
        (data / "c3").mkdir(parents=True, exist_ok=True)
        (data / "c3" / name).write_text(json.dumps([QUESTION] * num, ensure_ascii=False), encoding="utf-8")


def test_of_two_folders_the_one_with_the_files_that_the_run_read_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, (read, other) = load_task("c3"), (tmp_path / "data", tmp_path / "work" / "data")
    write_questions(read, 2)
    write_questions(other, 3)
    run = tmp_path / "work" / "run"
    write_run(run, "c3", {"dev": [0]}, files={"dev": read_split(task, "dev", read).facts})
    monkeypatch.chdir(tmp_path / "work")
    assert data_of_run(task, "dev", run).resolve() == other  # the record names no folder, so this is the usual one
    write_run(run, "c3", {"dev": [0]}, files={"dev": read_split(task, "dev", read).facts}, asked={"data": "data"})
    assert data_of_run(task, "dev", run).resolve() == read
    (other / "c3" / "m-dev.json").unlink()
    assert data_of_run(task, "dev", run).resolve() == read
