"""Measured models beside their published counterparts, with noise and obstacles."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from scipy import stats

from clue_bench.doors.records import FileFacts, RunRecord
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.against_published import (
    NOISE_NOTE,
    ComparedScore,
    PublishedComparison,
    compare_with_published,
    read_counterparts,
)
from clue_bench.leaderboards.leaderboard import build
from clue_bench.leaderboards.published.facts import read_published
from clue_bench.leaderboards.runs import measured_tables

MakeRecord = Callable[..., RunRecord]
SCORES = "model,params,task,split,score,source,note\n"
COUNTERPARTS = "recipe,parameters,model,split,source,note\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of published scores, where "tiny" has counterparts on dev and on test."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "scores.csv").write_text(
        SCORES
        + "Tiny,7M,AFQMC,dev,70.00,a README,\n"
        + "Tiny,7M,TNEWS,dev,54.00,a README,\n"
        + "Tiny,7M,TNEWS(+keywords),dev,63.90,a README,\n"
        + "Tiny,7M,AVG(10),dev,60.00,a README,\n"
        + 'Tiny,7M,AFQMC,"test(1.0, leaderboard)",69.52,a leaderboard,\n'
        + "Tiny,7M,AFQMC,dev?,69.00,an issue,\n",
        encoding="utf-8",
    )
    lines = (
        "tiny,7450000,Tiny,dev,a README,best of 12 settings",
        'tiny,7450000,Tiny,"test(1.0, leaderboard)",a leaderboard,',
    )
    write_counterparts(tmp_path, *lines)
    return tmp_path


def write_counterparts(folder: Path, *lines: str) -> None:
    (folder / "tables" / "counterparts.csv").write_text(COUNTERPARTS + "\n".join(lines) + "\n", encoding="utf-8")


def compared(folder: Path, *records: RunRecord) -> PublishedComparison:
    return compare_with_published(measured_tables(records), folder)


def on_dev(folder: Path, *records: RunRecord) -> ComparedScore:
    """Return the comparison with the score on dev."""
    (row,) = (row for row in compared(folder, *records).rows if row.score.split == "dev")
    return row


@pytest.mark.parametrize(
    ("correct", "difference", "verdict"),
    [(7000, "0.00", "inside noise"), (6874, "-1.26", "inside noise"), (6870, "-1.30", "not decidable: one seed")],
)
def test_a_difference_is_held_against_the_noise_of_both_scores(
    make_record: MakeRecord, folder: Path, correct: int, difference: str, verdict: str
) -> None:
    row = on_dev(folder, make_record(correct=correct))
    # One seed: 1.96 × √(2 × .70 × .30 / 10,000), about 1.28.
    assert (row.difference, row.verdict) == (Decimal(difference), verdict)
    assert row.noise in (Decimal("1.27"), Decimal("1.28"), Decimal("1.29"))
    assert any("one seed here: the noise is that of sampling alone" in remark for remark in row.remarks)
    assert row.about == "tiny and Tiny, by recipe or release and size: best of 12 settings. Source: a README."


def test_the_sd_over_seeds_counts_for_the_mean_and_for_the_one_published_run(
    make_record: MakeRecord, folder: Path
) -> None:
    row = on_dev(folder, make_record(correct=6900, seed=1), make_record(correct=7100, seed=2))
    seeds = 2 * (1 + 1 / 2)  # sd is √2 points
    variance = seeds + 0.46**2 + 0.21
    t = stats.t(variance**2 / seeds**2).ppf(0.975)  # one degree of freedom of the seeds, and Satterthwaite's of all
    assert float(row.noise or 0) == pytest.approx(t * variance**0.5, rel=0.01)
    assert not any("one seed" in remark for remark in row.remarks)


def test_several_seeds_far_from_the_published_score_are_outside_noise(make_record: MakeRecord, folder: Path) -> None:
    records = [make_record(correct=correct, seed=correct) for correct in (6500, 6510, 6490)]
    assert on_dev(folder, *records).verdict == "outside noise"


def test_test_scores_a_split_that_is_not_named_and_other_data_get_no_verdict(
    make_record: MakeRecord, folder: Path
) -> None:
    write_counterparts(
        folder, 'tiny,7450000,Tiny,"test(1.0, leaderboard)",a leaderboard,', "tiny,7450000,Tiny,dev?,an issue,"
    )
    test, unnamed = compared(folder, make_record()).rows
    assert test.verdict == unnamed.verdict == "not comparable"
    assert test.obstacles == ("dev here, test(1.0, leaderboard) there",)
    assert unnamed.obstacles == ("the source does not say on which split",)
    assert test.noise is not None
    made = make_record(revision="different-0a1b2c3d")
    files = {
        "train": FileFacts(rows=60, md5="1" * 32, expected_rows=100, expected_md5="0" * 32),
        "dev": FileFacts(rows=100, md5="0" * 32, expected_rows=100, expected_md5="0" * 32),
        "test": FileFacts(rows=100, md5="1" * 32, expected_rows=100, expected_md5="0" * 32),
    }
    made = made.model_copy(update={"data": made.data.model_copy(update={"files": files})})
    row = compared(folder, made).rows[0]
    assert row.obstacles[-1] == "the data of AFQMC here is not the official: train 60 of 100 rows, test (another md5)"


def test_scores_that_read_keywords_are_shown_and_never_comparable(make_record: MakeRecord, folder: Path) -> None:
    plain, keywords = compared(folder, make_record("tnews", 5400)).rows
    assert (plain.score.task, plain.verdict) == ("TNEWS", "inside noise")
    assert (keywords.score.task, keywords.verdict) == ("TNEWS(+keywords)", "not comparable")
    assert any("keywords" in obstacle for obstacle in keywords.obstacles)


def test_a_model_without_a_counterpart_is_named_and_a_floor_is_not(make_record: MakeRecord, folder: Path) -> None:
    found = compared(
        folder,
        make_record(model="mine", sha256="b" * 64),
        make_record(model="floor-tfidf", sha256="c" * 64, is_floor=True),
        make_record(model="else", sha256="d" * 64, data="own", revision="own-1"),
    )
    assert (found.rows, found.without) == ((), ("mine",))
    assert found.section == "Without a published counterpart: mine."


def test_a_hub_model_is_known_by_its_name_whoever_published_it(make_record: MakeRecord, folder: Path) -> None:
    assert len(compared(folder, make_record(model="somebody/tiny")).rows) == 2


def test_how_little_a_model_was_pretrained_is_said(make_record: MakeRecord, folder: Path) -> None:
    made = make_record()
    made = made.model_copy(update={"model": made.model.model_copy(update={"pretraining_tokens": 65_536_000})})
    assert on_dev(folder, made).about.startswith(
        "tiny (here 66 million tokens of pretraining) and Tiny, by recipe or release and size: "
    )
    assert "- tiny (here 66 million tokens of pretraining) and Tiny, by recipe or release and size: best of 12" in (
        compared(folder, made).section
    )


def test_a_model_that_only_answers_the_majority_class_says_so(make_record: MakeRecord, folder: Path) -> None:
    row = on_dev(folder, make_record(correct=6899, flags=["majority_class"]))
    assert any("always answering the most frequent class" in remark for remark in row.remarks)


def test_a_counterpart_without_any_published_score_is_an_error(folder: Path) -> None:
    write_counterparts(folder, "tiny,7450000,Tiny,test,a README,")
    with pytest.raises(ClueBenchError, match="Tiny, test, a README"):
        read_counterparts(folder, read_published(folder))


def test_every_counterpart_that_ships_has_scores(published_folder: Path) -> None:
    lines = read_counterparts(published_folder, read_published(published_folder))
    assert {line.recipe for line in lines} >= {"roberta-tiny-2l128", "roberta-tiny-clue", "roberta-word-base"}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("clue/roberta_chinese_clue_tiny", 7_449_936),
        ("clue-roberta_chinese_clue_tiny", 7_449_936),
        ("uer-roberta-tiny-word-chinese-cluecorpussmall", 13_279_104),
        ("albert-base", 10_547_968),
    ],
)
def test_released_models_and_recipes_have_the_counterparts_that_ship(
    make_record: MakeRecord, published_folder: Path, name: str, parameters: int
) -> None:
    made = make_record("iflytek", 5000, model=name, parameters=parameters)
    found = compare_with_published(measured_tables([made]), published_folder)
    assert found.rows
    assert not found.without
    assert all(", by recipe or release and size: " in row.about for row in found.rows)


@pytest.mark.parametrize(
    ("model", "origin", "parameters", "is_matched"),
    [
        ("roberta-word-tiny", None, 13_279_104, True),
        ("roberta-word-tiny", None, 3_183_488, False),
        ("mine", "roberta-word-tiny", 13_279_104, True),
        ("mine", None, 13_279_104, False),
        ("roberta-word-tiny", "mine", 13_279_104, False),
        ("roberta-word-tiny-from-bert", None, 13_279_104, False),
    ],
)
def test_a_counterpart_is_found_by_what_the_model_is_not_by_its_name(
    make_record: MakeRecord, published_folder: Path, model: str, origin: str | None, parameters: int, is_matched: bool
) -> None:
    made = make_record("tnews", 5000, model=model, parameters=parameters)
    made = made.model_copy(update={"model": made.model.model_copy(update={"origin": origin})})
    found = compare_with_published(measured_tables([made]), published_folder)
    assert bool(found.rows) == is_matched
    assert bool(found.without) != is_matched
    if parameters == 3_183_488:
        assert found.without == ("roberta-word-tiny (named like a published model, but of another size)",)


def test_the_section_is_in_markdown_and_json_with_every_obstacle_numbered(
    make_record: MakeRecord, published_folder: Path
) -> None:
    records = [
        make_record(task, 7000, model="roberta-tiny-clue", parameters=7_449_936, seed=seed)
        for task in ("afqmc",)
        for seed in (1, 2)
    ]
    board = build(records, published_folder)
    assert "## Measured against published\n\n| 模型 | Published as |" in board.markdown
    line = next(line for line in board.markdown.splitlines() if "69.52%, test(1.0, leaderboard)" in line)
    assert line.startswith("| roberta-tiny-clue | RoBERTa-tiny-clue | AFQMC | 70.00% |")
    assert line.endswith("| not comparable¹ |")
    assert "¹ dev here, test(1.0, leaderboard) there." in board.markdown
    assert NOISE_NOTE in board.markdown
    value = board.to_json()["against_published"]
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert [(row["difference"], row["verdict"]) for row in value["rows"]] == [(0.48, "not comparable")]
    assert value["rows"][0]["published"]["split"] == "test(1.0, leaderboard)"
