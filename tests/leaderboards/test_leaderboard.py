import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clue_bench.doors.records import RunRecord, read_records, write_record
from clue_bench.doors.results import RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.leaderboard import NOTHING_MEASURED, build, leaderboard_of
from clue_bench.stats.significance import paired_test

MakeRecord = Callable[..., RunRecord]
TASKS = ("afqmc", "tnews", "iflytek", "cmnli")
PUBLISHED = [
    "## Published: small models",
    "## Published: large models",
    "## Published: pair models",
    "## Published: training speed",
    "## Published: released models",
    "## Published: token types of the vocabularies (CLUECorpus2020)",
    "## Published: effect of corpus and vocabulary (CLUECorpus2020)",
    "## Published: CLUE reading comprehension",
    "## Published: PaddleNLP, ten tasks",
    "## Published: CLUE v1, six tasks",
]


@pytest.fixture
def records(make_record: MakeRecord) -> list[RunRecord]:
    return [
        *(
            make_record(task, 5000 + seed, seed=seed)
            for task in ("afqmc", "tnews", "iflytek", "cmnli")
            for seed in (1, 2)
        ),
        make_record("afqmc", 9000, revision="different-0a1b2c3d"),
        make_record("tnews", 9900, data="synthetic", revision="synthetic"),
        make_record("tnews", 1, run_id="dead", status="failed", error="CUDA | out of memory", results={}),
        make_record("tnews", 1, run_id="cut", status="interrupted", results={}),
        make_record(run_id="long", kind="pretrain", status="interrupted", results={}),
    ]


def headings(markdown: str) -> list[str]:
    return [line for line in markdown.splitlines() if line.startswith("#")]


def test_without_records_the_published_tables_stand_alone(published_folder: Path) -> None:
    board = build([], published_folder)
    assert board.markdown.count(NOTHING_MEASURED) == 1
    assert headings(board.markdown) == ["# Leaderboard", "## Measured", *PUBLISHED]
    assert "| 60.65% | 4M | 69.92% | 53.35% | 48.71% | 70.61% |" in board.markdown
    assert board.to_json()["measured"] == []


def test_measured_synthetic_and_published_scores_stand_under_headings_of_their_own(
    records: list[RunRecord], published_folder: Path
) -> None:
    assert headings(build(records, published_folder).markdown) == [
        "# Leaderboard",
        "## Measured on CLUE (dev), table 1",
        "## Measured on CLUE (dev), table 2",
        "## Measured on synthetic data, not CLUE (dev)",
        "## Measured against published",
        *PUBLISHED,
        "## Runs without a result",
    ]


def test_runs_without_a_result_are_counted_and_named(records: list[RunRecord], published_folder: Path) -> None:
    board = build(records, published_folder)
    assert "Fine-tuning runs that are in no table: 1 failed, 1 interrupted." in board.markdown
    assert "- cut (tiny on tnews): interrupted\n" in board.markdown
    assert "- dead (tiny on tnews): failed: CUDA \\| out of memory\n" in board.markdown
    assert [run["run_id"] for run in board.to_json()["unfinished"]] == ["cut", "dead"]
    assert "Records of pretraining runs, which have no score: 1." in board.markdown


def test_only_failed_runs_still_say_that_nothing_was_measured(make_record: MakeRecord, published_folder: Path) -> None:
    board = build([make_record(status="failed", error="no", results={})], published_folder)
    assert NOTHING_MEASURED in board.markdown
    assert "1 failed, 0 interrupted" in board.markdown


def test_the_same_records_in_any_order_give_the_same_bytes(
    records: list[RunRecord], published_folder: Path, tmp_path: Path
) -> None:
    board = build(records, published_folder)
    for record in records:
        write_record(tmp_path, record)
    for again in (reversed(records), read_records(tmp_path)):
        other = build(again, published_folder)
        assert other.markdown == board.markdown
        assert json.dumps(other.to_json()) == json.dumps(board.to_json())


def test_the_json_carries_the_displayed_numbers_and_the_runs_behind_them(
    records: list[RunRecord], published_folder: Path
) -> None:
    value = build(records, published_folder).to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    first = value["measured"][0]
    assert (first["data"], first["split"], first["rows"][0]["score"]) == ("clue", "dev", 50.02)
    assert first["columns"][0] == {
        "name": "AFQMC",
        "task": "afqmc",
        "revision": "official",
        "dev_rows": 10_000,
        "official": True,
    }
    cell = first["rows"][0]["cells"]["AFQMC"]
    assert (cell["accuracy"], cell["sd"], cell["seeds"], len(cell["runs"])) == (50.02, 0.01, [1, 2], 2)
    small = value["published"][0]
    assert (small["name"], small["split"], small["header"][1]) == ("small-models", "test(1.0, leaderboard)", "Score")
    score = small["rows"][2][1]
    assert (score["value"], score["text"], score["printed"], score["sampling_error"]) == (
        63.63,
        "63.63%",
        "63.60%",
        0.34,
    )
    assert [small["notes"][number - 1] for number in score["notes"]] == [
        "RoBERTa-tiny-clue: the source prints 63.60%; the mean of its columns is 63.63%."
    ]


def test_a_run_given_twice_is_an_error(make_record: MakeRecord, published_folder: Path) -> None:
    with pytest.raises(ClueBenchError, match="is given twice"):
        build([make_record(), make_record(status="failed", results={})], published_folder)


def test_the_board_never_loads_torch() -> None:
    code = "import clue_bench.leaderboards.leaderboard, sys; assert 'torch' not in sys.modules, 'torch was loaded'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_reading_says_which_of_several_settings_a_cell_shows(
    make_record: MakeRecord, published_folder: Path
) -> None:
    board = build([make_record()], published_folder)
    assert "Of the settings with the most seeds, the cell shows the one with the best mean" in board.markdown


def test_the_board_of_given_runs_prints_means_intervals_and_tests_against_the_best_floor(
    make_record: MakeRecord,
) -> None:
    seeds = [make_record(correct=correct, seed=seed) for seed, correct in ((1, 7200), (2, 7300))]
    floors = [
        make_record(correct=7000, model="floor-tfidf", sha256="f" * 64, is_floor=True),
        make_record(correct=6900, model="floor-majority", sha256="e" * 64, is_floor=True),
    ]
    board = leaderboard_of([*seeds, *floors])
    assert board.published == ()
    scores, summary = board.tables
    assert [row.cells[0].text for row in scores.rows] == ["tiny", "多数类", "TF-IDF + 线性"]
    (row,) = summary.to_dataframe().to_dict("records")
    assert (row["seeds"], row["mean ± sd"], row["over the best floor"]) == (2, 72.5, "+2.50 (TF-IDF + 线性)")
    assert "72.50 % ± 0.71" in str(board)
    assert "71.62 … 73.37" in str(board)  # Wilson, 10,000 rows
    assert board._repr_html_().count("<table>") == 2
    assert board.to_dataframe()["is_floor"].tolist() == [False, True, True]


def test_the_board_of_no_runs_says_so() -> None:
    assert str(leaderboard_of([])) == NOTHING_MEASURED


def test_what_a_run_came_to_is_plain_json_with_the_test_against_the_best_floor(make_record: MakeRecord) -> None:
    def made(correct: int, **facts: object) -> RunRecord:
        record = make_record(correct=correct, rows=1000, **facts)
        packed = RowBits.pack(number < correct for number in range(1000))
        return record.model_copy(
            update={"results": record.completed_results.model_copy(update={"dev_correct": packed})}
        )

    seeds = [made(correct, seed=seed, wall_seconds=10.0) for seed, correct in ((1, 720), (2, 730), (3, 740))]
    best = made(700, model="floor-tfidf", sha256="f" * 64, is_floor=True, run_id="best")
    floors = [best, made(690, model="floor-majority", sha256="e" * 64, is_floor=True)]
    found = json.loads(json.dumps(leaderboard_of([*seeds, *floors]).by_run, allow_nan=False))
    assert set(found) == {record.run_id for record in (*seeds, *floors)}
    of_model = found[seeds[0].run_id]
    assert of_model == found[seeds[2].run_id]
    assert (of_model["accuracies"], of_model["seconds"]) == ([0.72, 0.73, 0.74], 30.0)
    assert (of_model["mean"], of_model["deviation"]) == (pytest.approx(0.73), pytest.approx(0.01))
    assert (of_model["floor"], of_model["over_floor"]) == ("floor-tfidf", pytest.approx(0.03))
    right = np.array([[number < correct for number in range(1000)] for correct in (720, 730, 740)])
    expected = paired_test(right, np.arange(1000) < 700, is_fixed=(False, True))
    assert of_model["test"] == {**expected._asdict(), "interval": expected.interval._asdict()}
    assert expected.name == "Welch"
    assert (found["best"]["floor"], found["best"]["over_floor"], found["best"]["test"]) == (None, None, None)
