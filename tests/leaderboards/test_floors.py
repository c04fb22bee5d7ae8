"""Floors: rows of the same table, and what does not beat them is marked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clue_bench.doors.records import RunRecord, read_record, write_record
from clue_bench.leaderboards.cells import MeasuredTable
from clue_bench.leaderboards.leaderboard import build
from clue_bench.leaderboards.measured import FLOORS_NOTE, measured_section
from clue_bench.leaderboards.notes import FLOOR_NOTE
from clue_bench.leaderboards.runs import measured_tables

MakeRecord = Callable[..., RunRecord]
TASKS = ("afqmc", "tnews", "iflytek", "cmnli")


@pytest.fixture
def floor(make_record: MakeRecord) -> MakeRecord:
    """Return a function that makes the record of a floor, which has no steps."""

    def make(task: str = "afqmc", correct: int = 7000, *, kind: str = "tfidf", **facts: object) -> RunRecord:
        made = make_record(
            task, correct, **{"model": f"floor-{kind}", "sha256": kind[0] * 64, "is_floor": True, **facts}
        )
        results = made.completed_results.model_copy(update={"best_step": 0, "total_steps": 0})
        return made.model_copy(update={"results": results})

    return make


def table(*records: RunRecord) -> MeasuredTable:
    (one,) = measured_tables(records)
    return one


def rows(section: str) -> list[str]:
    return section.split("\n\n")[0].splitlines()[2:]


def over_floor(section: str) -> list[str]:
    return [line.split(" | ")[8] for line in section.split("Conditions:\n\n")[1].splitlines()[2:]]


@pytest.mark.parametrize(
    ("correct", "shown", "over"),
    [
        (7001, "**70.01%**", "+0.01 (TF-IDF + 线性)"),
        (7000, "**70.00%**▽", "+0.00▽ (TF-IDF + 线性)"),
        (6850, "68.50%▽", "-1.50▽ (TF-IDF + 线性)"),
    ],
)
def test_a_model_must_be_strictly_better_than_the_floor(
    make_record: MakeRecord, floor: MakeRecord, correct: int, shown: str, over: str
) -> None:
    section = measured_section(table(make_record("afqmc", correct), floor("afqmc", 7000)))
    assert rows(section)[0] == f"| tiny | – | 7.5M | {shown} | – | – | – |"
    assert over_floor(section) == [over, "floor"]
    assert (FLOOR_NOTE in section.split("\n\n")) == ("▽" in shown)


def test_it_is_the_better_floor_that_counts(make_record: MakeRecord, floor: MakeRecord) -> None:
    floors = [floor("afqmc", 6828), floor("afqmc", 6900, kind="majority", parameters=0)]
    section = measured_section(table(make_record("afqmc", 6850), *floors))
    assert rows(section)[0] == "| tiny | – | 7.5M | 68.50%▽ | – | – | – |"
    assert over_floor(section) == ["-0.50▽ (多数类)", "floor", "floor"]


def test_the_mean_over_seeds_is_what_beats_the_floor(make_record: MakeRecord, floor: MakeRecord) -> None:
    seeds = [make_record("afqmc", correct, seed=seed) for seed, correct in ((1, 7200), (2, 6800))]
    assert "▽" in rows(measured_section(table(*seeds, floor("afqmc", 7000))))[0]
    assert "▽" not in rows(measured_section(table(*seeds, floor("afqmc", 6999))))[0]


def test_less_than_a_hundredth_of_a_point_is_enough(make_record: MakeRecord, floor: MakeRecord) -> None:
    records = [make_record("afqmc", 70_001, rows=100_000), floor("afqmc", 70_000, rows=100_000)]
    assert "▽" not in measured_section(table(*records))


def test_floors_stand_last_in_italics_with_a_score_and_the_coefficients_of_each_task(
    make_record: MakeRecord, floor: MakeRecord
) -> None:
    floors = [floor(task, 9000, parameters=n) for task, n in zip(TASKS, (210_000, 4, 45_000_000, 4), strict=True)]
    section = measured_section(table(*floors, *(make_record(task, 5000) for task in TASKS)))
    assert rows(section) == [
        "| tiny | 50.00% | 7.5M | 50.00%▽ | 50.00%▽ | 50.00%▽ | 50.00%▽ |",
        "| *TF-IDF + 线性 (无预训练)* | **90.00%** | 4–45M | **90.00%** | **90.00%** | **90.00%** | **90.00%** |",
    ]
    assert FLOORS_NOTE in section.split("\n\n")


def test_a_floor_has_no_steps(floor: MakeRecord) -> None:
    line = measured_section(table(floor())).split("Conditions:\n\n")[1].splitlines()[2]
    assert line.split(" | ")[9:11] == ["–", "–"]


def test_without_a_floor_nothing_is_marked_and_the_conditions_say_so(
    make_record: MakeRecord, floor: MakeRecord
) -> None:
    section = measured_section(table(make_record("afqmc", 1), make_record("tnews", 9000), floor("tnews", 5000)))
    assert "▽" not in section
    assert over_floor(section) == ["no floor run", "+40.00 (TF-IDF + 线性)", "floor"]
    assert FLOORS_NOTE not in measured_section(table(make_record("afqmc", 1)))


@pytest.mark.parametrize("other", [{"revision": "different-0a1b2c3d"}, {"rows": 9_999}, {"data": "synthetic"}])
def test_floors_on_other_rows_do_not_count(
    make_record: MakeRecord, floor: MakeRecord, other: dict[str, object]
) -> None:
    tables = measured_tables([make_record("afqmc", 5000), floor("afqmc", 9000, **other)])
    assert len(tables) == 2
    assert not any("▽" in measured_section(one) for one in tables)


def test_a_majority_model_below_the_floor_carries_both_marks(make_record: MakeRecord, floor: MakeRecord) -> None:
    section = measured_section(table(make_record("afqmc", 6900, flags=["majority_class"]), floor("afqmc", 7000)))
    assert "| 69.00%†▽ |" in rows(section)[0]


def test_the_json_says_how_far_above_the_floor_each_cell_is(
    make_record: MakeRecord, floor: MakeRecord, published_folder: Path
) -> None:
    records = [make_record("afqmc", 6850), make_record("tnews", 5000), floor("afqmc", 7000, parameters=9)]
    first = build(records, published_folder).to_json()["measured"][0]["rows"]
    assert [(row["model"], row["is_floor"], row["parameters"]) for row in first] == [
        ("tiny", False, 7_450_000),
        ("floor-tfidf", True, 9),
    ]
    facts = [(cell["points_over_floor"], cell["misses_floor"]) for row in first for cell in row["cells"].values()]
    assert facts == [(-1.5, True), (None, False), (None, False)]


def test_a_model_that_is_only_called_like_a_floor_is_none(make_record: MakeRecord) -> None:
    section = measured_section(table(make_record("afqmc", 7000, model="floor-tfidf"), make_record("afqmc", 6000)))
    assert "▽" not in section
    assert "*TF-IDF" not in section


def test_a_record_that_does_not_speak_of_floors_is_of_none(make_record: MakeRecord, tmp_path: Path) -> None:
    path = write_record(tmp_path, make_record())
    text = path.read_text(encoding="utf-8")
    assert '"is_floor": false' in text
    older = json.loads(text)
    del older["model"]["is_floor"]
    path.write_text(json.dumps(older), encoding="utf-8")
    assert read_record(path) == make_record()
