"""Measured speeds, as speed.md, JSON and page show them: what a short, failed or lonely session cannot say."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_bench.doors.records import SpeedRecord, TaskFacts
from clue_bench.leaderboards.files import BoardFiles, board_files
from clue_bench.leaderboards.speed.columns import COLUMNS, FEW_MARK, NOTES
from clue_bench.leaderboards.speed.tables import CONDITIONS, speed_tables
from clue_bench.stats.timing import summarise

MakeRow = Callable[..., SpeedRecord]


@pytest.fixture
def make_row(speed_record: SpeedRecord) -> MakeRow:
    """Return a function that gives a record of the session: a model at a place, with so many repetitions."""

    def make(name: str, *, position: int = 0, repetitions: int = 7, middle: float = 404.0, **facts: Any) -> SpeedRecord:
        interval = summarise([middle + 0.01 * number for number in range(repetitions)]).model_dump()
        results = speed_record.completed_results.model_dump(mode="json")
        results |= {"position": position, "is_baseline": position == 0}
        for part, fields in (
            ("training", ("seconds_per_1000_steps", "useful_tokens_per_second", "mfu")),
            ("prediction", ("rows_per_second",)),
        ):
            results[part] |= dict.fromkeys(fields, interval)
        results["prediction"]["latencies"] = [
            {"batch": batch, "calls": calls, "p50_ms": interval, "p95_ms": interval}
            for batch, calls in ((1, 50), (32, 20))
        ]
        fields = {
            "run_id": f"speed-{name}-{len(facts)}",
            "model": speed_record.model.model_copy(update={"name": name}),
            "task": TaskFacts(name="afqmc", title="AFQMC", column="AFQMC", metric="accuracy"),
            "asked": {"session": results["session"]},
            "results": results,
        }
        if facts.get("status", "completed") != "completed":
            fields["results"] = {}
        return SpeedRecord.model_validate({**dict(speed_record), **fields, **facts})

    return make


@pytest.fixture
def board(published_folder: Path) -> Callable[..., BoardFiles]:
    return lambda *records: board_files(list(records), published_folder)


def cells(files: BoardFiles, model: str) -> list[str]:
    """The cells of a model's row in the first table of speed.md."""
    line = next(line for line in files.texts["speed.md"].splitlines() if line.startswith(f"| {model} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def page_tables(files: BoardFiles) -> list[dict[str, Any]]:
    """The tables of speeds in the JSON of the page."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*)</script>', files.texts["index.html"])
    return [table for table in json.loads(data)["tables"] if table["name"].startswith("speed-")]


def told(files: BoardFiles, row: int = 0) -> dict[str, Any]:
    return json.loads(files.texts["leaderboard.json"])["speed"]["tables"][0]["rows"][row]["cells"]


@pytest.mark.parametrize(("mine", "other"), [(1, 1), (5, 5), (5, 7), (7, 5)])
def test_too_few_repetitions_point_no_arrow_and_say_so(
    make_row: MakeRow, board: Callable[..., BoardFiles], mine: int, other: int
) -> None:
    slow = make_row("slow", repetitions=other)
    fast = make_row("fast", position=1, repetitions=mine, middle=202.0)
    files = board(slow, fast)
    assert cells(files, "fast")[4] == f"1k steps/202s{FEW_MARK}"
    assert f"\n{FEW_MARK} {NOTES[FEW_MARK]}" in files.texts["speed.md"]
    assert NOTES[FEW_MARK] in files.texts["index.html"]
    enough = board(make_row("slow"), make_row("fast", position=1, middle=202.0))
    assert cells(enough, "fast")[4].startswith("1k steps/202s(↑100.0")
    assert FEW_MARK not in enough.texts["speed.md"]


def test_one_repetition_has_no_interval(make_row: MakeRow, board: Callable[..., BoardFiles]) -> None:
    files = board(make_row("lonely", repetitions=1))
    assert "Intervals of" not in files.texts["speed.md"]
    assert "No interval: one repetition." in files.texts["speed.md"]
    assert told(files)["训练速度"]["interval"] is None
    assert (
        "Intervals of 50.0 %, order statistics over 2 repetitions:"
        in board(make_row("a", repetitions=2)).texts["speed.md"]
    )


@pytest.mark.parametrize(("repetitions", "is_few"), [(1, True), (5, True), (6, False)])
def test_fewer_than_six_repetitions_are_few(make_row: MakeRow, repetitions: int, is_few: bool) -> None:
    results = make_row("tiny", repetitions=repetitions).completed_results
    assert results.has_few_repetitions is is_few


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"status": "failed", "error": "out of memory", "hardware": {}}, "huge: failed: out of memory."),
        ({"status": "interrupted", "error": None}, "huge: interrupted."),
    ],
)
def test_a_session_without_any_number_says_what_became_of_it(
    make_row: MakeRow, board: Callable[..., BoardFiles], facts: dict[str, Any], line: str
) -> None:
    files = board(make_row("huge", **facts))
    for name in ("speed.md", "index.html"):
        assert line in files.texts[name], name
    assert json.loads(files.texts["leaderboard.json"])["speed"]["tables"][0]["not_measured"] == [line]
    (row,) = (row for table in page_tables(files) for row in table["rows"] if row["search"] == "huge")
    assert facts["status"] in row["cells"][0]["text"]
    assert line in board(make_row("tiny"), make_row("huge", position=1, **facts)).texts["speed.md"]


def test_a_model_that_failed_stands_in_one_table(make_row: MakeRow) -> None:
    elsewhere = {"hardware": {"processor": "another"}}
    failed = make_row("huge", status="failed", error="boom", hardware={})
    tables = speed_tables([make_row("one"), make_row("two", **elsewhere), failed])
    assert len(tables) == 2
    assert sum(len(table.failed) for table in tables) == 1
    there = make_row("huge", status="failed", error="boom", **elsewhere)
    tables = speed_tables([make_row("one"), make_row("two", **elsewhere), there])
    assert {table.machine["processor"]: len(table.failed) for table in tables} == {"some processor": 0, "another": 1}


def test_headings_are_chinese_and_english(make_row: MakeRow, board: Callable[..., BoardFiles]) -> None:
    files = board(make_row("tiny"))
    for chinese, english in [*((column.name, column.english) for column in COLUMNS), *CONDITIONS.items()]:
        assert re.search("[A-Za-z]", chinese + english), chinese
        assert f"| {f'{chinese} {english}'.strip()} |" in files.texts["speed.md"]
    headings = [(column["name"], column.get("note")) for column in page_tables(files)[0]["columns"]]
    assert headings == [("模型", "model"), *((column.name, column.english) for column in COLUMNS)]


def test_latencies_say_over_how_many_calls(make_row: MakeRow, board: Callable[..., BoardFiles]) -> None:
    files = board(make_row("tiny"))
    said = "p50 and p95 over 50 calls of 1 row, 20 calls of 32 rows in each repetition"
    assert said in files.texts["speed.md"]
    assert said in files.texts["index.html"]


def test_one_session_on_two_machines_has_two_addresses(make_row: MakeRow, board: Callable[..., BoardFiles]) -> None:
    files = board(make_row("tiny"), make_row("tiny", hardware={"processor": "another"}))
    tables = page_tables(files)
    assert len({table["name"] for table in tables}) == len(tables) == 2
    addresses = [c["address"] for t in tables for row in t["rows"] for c in row["cells"] if "address" in c]
    assert len(set(addresses)) == len(addresses)
