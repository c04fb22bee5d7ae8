"""Measured tables: the layout of the published small-model table, and what qualifies a number in sight of it."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from clue_bench.doors.records import RunRecord
from clue_bench.doors.results import RowBits
from clue_bench.leaderboards.cells import MeasuredTable
from clue_bench.leaderboards.leaderboard import leaderboard_of
from clue_bench.leaderboards.measured import conditions_table, measured_section, score_table, summary_table
from clue_bench.leaderboards.notes import MAJORITY_NOTE, differing_conditions
from clue_bench.leaderboards.runs import measured_tables
from clue_bench.tables import escape

MakeRecord = Callable[..., RunRecord]

LARGE_MODELS = """\
| 模型 | Score | 参数 | AFQMC | TNEWS' | IFLYTEK' | CMNLI |
|:-:|:-:|:-:|:-:|:-:|:-:|:-:|
| RoBERTa-large-clue | **69.68%** | 290M | 74.41% | 58.38% | **63.58%** | **82.36%** |
| RoBERTa-wwm-large | 69.46% | 325M | **74.44%** | **58.41%** | 62.77% | 82.20% |
| BERT-base (baseline) | 67.57% | 108M | 73.70% | 56.58% | 60.29% | 79.69% |"""

MEASURED = """\
| 模型 | Score | 参数 | AFQMC | TNEWS' | IFLYTEK' | CMNLI |
|:-:|:-:|:-:|:-:|:-:|:-:|:-:|
| BERT-base (baseline) | **67.57%** | 108M | **73.70%** | **56.58%** | **60.29%** | **79.69%** |
| RoBERTa-tiny-clue | 63.63% | 7.5M | 69.52% | 54.57% | 57.31% | 73.10% |
| ALBERT-tiny | 60.65% | 4M | 69.92% | 53.35% | 48.71% | 70.61% |"""

TASKS = ("afqmc", "tnews", "iflytek", "cmnli")


def sections(*records: RunRecord) -> list[str]:
    return [measured_section(table) for table in measured_tables(records)]


def table_rows(section: str) -> list[str]:
    """Return the rows of the first table of a section."""
    return section.split("\n\n")[0].splitlines()[2:]


def conditions(section: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in section.split("Conditions:\n\n")[1].splitlines()[2:]]


def scored(make_record: MakeRecord, model: str, parameters: int, percents: str) -> list[RunRecord]:
    """Return a record per task, in percent of 10,000 rows."""
    facts = {"model": model, "sha256": model[-4] * 64, "parameters": parameters}
    return [make_record(t, round(100 * float(p)), **facts) for t, p in zip(TASKS, percents.split(), strict=True)]


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (
            [
                ("BERT-base (baseline)", 108_000_000, "73.70 56.58 60.29 79.69"),
                ("RoBERTa-wwm-large", 325_000_000, "74.44 58.41 62.77 82.20"),
                ("RoBERTa-large-clue", 290_000_000, "74.41 58.38 63.58 82.36"),
            ],
            LARGE_MODELS,
        ),
        (
            [
                ("ALBERT-tiny", 4_000_000, "69.92 53.35 48.71 70.61"),
                ("BERT-base (baseline)", 108_000_000, "73.70 56.58 60.29 79.69"),
                ("RoBERTa-tiny-clue", 7_451_000, "69.52 54.57 57.31 73.10"),
            ],
            MEASURED,
        ),
    ],
)
def test_records_with_the_published_accuracies_give_the_published_table(
    make_record: MakeRecord, models: list[tuple[str, int, str]], expected: str
) -> None:
    (section,) = sections(*(record for model in models for record in scored(make_record, *model)))
    assert section.split("\n\n")[0] == expected


@pytest.mark.parametrize(
    ("tasks", "accuracy", "f1"),
    [
        ({"afqmc": "50.00%"}, "Accuracy", "Macro-F1"),
        ({"cmrc2018": "50.00%"}, "Exact match", "F1"),
        ({"c3": "–"}, "Accuracy", ""),
        ({"c3": "–", "cmrc2018": "50.00%"}, "Accuracy or exact match", "F1"),
    ],
)
def test_scores_are_called_what_they_are(
    make_record: MakeRecord, tasks: dict[str, str], accuracy: str, f1: str
) -> None:
    records = [make_record(task) for task in tasks]
    (table,) = measured_tables(records)
    frame = conditions_table(table).to_dataframe()
    assert f"{accuracy} (mean ± sd)" in frame
    assert [name for name in frame if "F1" in name] == [f1] * bool(f1)
    assert not f1 or dict(zip(frame["Task"].str.lower(), frame[f1].fillna("–"), strict=True)) == tasks
    assert [name for name in summary_table(table).to_dataframe() if "F1" in name] == [f1.replace("M", "m")] * bool(f1)
    by_kind = {"afqmc": {"macro_f1"}, "cmrc2018": {"f1"}}
    for values in leaderboard_of(records).by_run.values():
        assert {key for key in values if "f1" in key} == by_kind.get(values["task"], set())


def test_ties_are_all_bold(make_record: MakeRecord) -> None:
    records = [
        *scored(make_record, "ties", 1_000_000, "70.00 50.00 50.00 60.00"),
        *scored(make_record, "tiet", 1_000_000, "70.00 51.00 50.00 59.00"),
    ]
    assert table_rows(sections(*records)[0]) == [
        "| ties | **57.50%** | 1M | **70.00%** | 50.00% | **50.00%** | **60.00%** |",
        "| tiet | **57.50%** | 1M | **70.00%** | **51.00%** | **50.00%** | 59.00% |",
    ]


def test_one_table_has_text_frame_and_json_of_the_same_cells(make_record: MakeRecord) -> None:
    (table,) = measured_tables(scored(make_record, "tiny", 7_000_000, "69.92 53.35 48.71 70.61"))
    made = score_table(table)
    words = made.to_text().splitlines()[1].replace(" %", "%").split()
    assert words == ["tiny", "60.65%", "7M", "69.92%", "53.35%", "48.71%", "70.61%"]
    assert made.to_dataframe().iloc[0].tolist() == ["tiny", 60.65, 7_000_000, 69.92, 53.35, 48.71, 70.61]
    assert made.to_json()["rows"][0]["cells"][3]["address"] == "clue-1/tiny/AFQMC"


def test_a_missing_column_is_a_dash_and_leaves_no_score(make_record: MakeRecord) -> None:
    (section,) = sections(make_record("afqmc", 7000), make_record("cmnli", 6000))
    assert table_rows(section) == ["| tiny | – | 7.5M | **70.00%** | – | – | **60.00%** |"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", r"a\|b"),
        ("*bold* <b> `x` [y]", r"\*bold\* \<b\> \`x\` \[y\]"),
        ("two\nlines", "two lines"),
        ("chinese_roberta_L-2_H-128", "chinese_roberta_L-2_H-128"),
        ("_edge_", r"\_edge\_"),
        ("back\\slash|", r"back\\slash\|"),
    ],
)
def test_names_are_escaped_and_cannot_break_the_table(name: str, shown: str) -> None:
    assert escape(name) == shown


def test_a_cell_is_the_mean_over_seeds_with_their_sample_deviation(make_record: MakeRecord) -> None:
    (section,) = sections(*(make_record(correct=correct, seed=seed) for seed, correct in enumerate((7000, 7100, 7300))))
    assert "**71.33%**" in table_rows(section)[0]
    (line,) = conditions(section)
    assert line[3:6] == ["3", "71.33% ± 1.53", "± 0.45"]  # sd of 70, 71, 73; sqrt(.7133 × .2867 / 10,000)


def test_the_mean_over_seeds_is_rounded_half_up_from_exact_fractions(make_record: MakeRecord) -> None:
    # 6756/10000 and 6757/10000: the mean is 67.565 %, which a float formats as 67.56.
    (section,) = sections(make_record(correct=6756, seed=1), make_record(correct=6757, seed=2))
    assert "**67.57%**" in table_rows(section)[0]


def test_a_single_seed_has_no_deviation(make_record: MakeRecord) -> None:
    assert conditions(sections(make_record(correct=7000))[0])[0][3:5] == ["1", "70.00%"]


def test_of_a_seed_that_was_run_twice_the_first_run_counts_for_accuracy_and_rows_alike(make_record: MakeRecord) -> None:
    right = {"b": np.arange(1000) < 700, "a": np.arange(1000) < 720, "c": np.arange(1000) < 750}
    records = []
    for seed, (name, correct) in zip((1, 1, 2), right.items(), strict=True):
        made = make_record(correct=int(correct.sum()), rows=1000, seed=seed, run_id=name)
        results = made.completed_results.model_copy(update={"dev_correct": RowBits.pack(correct)})
        records.append(made.model_copy(update={"results": results}))
    (table,) = measured_tables(records)
    cell = table.models[0].cells["AFQMC"]
    assert (cell.runs, cell.repeats, cell.seeds) == (("a", "c"), ("b",), (1, 2))
    assert cell.accuracy == Fraction(1470, 2000)
    assert cell.correct is not None
    assert cell.correct.mean() == float(cell.accuracy)
    assert conditions(measured_section(table))[0][3:5] == ["2 (1 repeat left out)", "73.50% ± 2.12"]


def test_of_the_settings_with_the_most_seeds_the_best_mean_is_shown_and_the_number_of_all_stated(
    make_record: MakeRecord,
) -> None:
    (section,) = sections(
        make_record(correct=7000, learning_rate=1e-4, seed=1),
        make_record(correct=7200, learning_rate=1e-4, seed=2),
        make_record(correct=7050, learning_rate=3e-5, seed=1),
        make_record(correct=7060, learning_rate=3e-5, seed=2),
        make_record(correct=7150, learning_rate=3e-4, seed=1),  # one lucky seed is no mean over two
        make_record(correct=6000, learning_rate=2e-5, seed=1),
    )
    (line,) = conditions(section)
    assert line[4] == "71.00% ± 1.41"
    assert line[9] == "4 scores of 4 settings"


def test_conditions_state_what_a_reader_needs(make_record: MakeRecord) -> None:
    code = {"version": "0.1.0", "commit": "fedcba9876543210", "dirty": True}
    (section,) = sections(make_record("tnews", 5000, code=code, flags=["truncated"]))
    assert conditions(section) == [
        [
            *("tiny", "TNEWS'", "dev, official", "1", "50.00%", "± 0.50", "50.00%", "68.99%", "no floor run", "–"),
            *("200 of 600", "fedcba9+dirty", "truncated", "–", "–", "1e-4, 600 updates"),
        ]
    ]


def test_code_without_a_commit_is_named_by_its_version(make_record: MakeRecord) -> None:
    assert conditions(sections(make_record(code={"version": "0.1.0"}))[0])[0][11] == "v0.1.0"


def test_a_majority_run_is_marked_and_explained_in_words(make_record: MakeRecord) -> None:
    (section,) = sections(
        make_record(correct=6899, model="stuck", sha256="b" * 64, flags=["majority_class"]),
        make_record(correct=7000, model="good"),
    )
    assert table_rows(section) == [
        "| good | – | 7.5M | **70.00%** | – | – | – |",
        "| stuck | – | 7.5M | 68.99%† | – | – | – |",
    ]
    assert MAJORITY_NOTE in section.split("\n\n")
    assert "predicts (nearly) only the majority class, or is no better than doing so" in section


def test_without_a_majority_run_there_is_no_such_footnote(make_record: MakeRecord) -> None:
    assert "†" not in sections(make_record())[0]


def test_one_of_several_seeds_at_the_majority_is_enough_for_the_mark(make_record: MakeRecord) -> None:
    (section,) = sections(make_record(seed=1, flags=["majority_class"]), make_record(seed=2))
    assert "**73.70%**†" in table_rows(section)[0]
    assert conditions(section)[0][12] == "majority_class (1 of 2)"


def test_revisions_never_share_a_column_and_the_official_one_comes_first(make_record: MakeRecord) -> None:
    records = [
        make_record("afqmc", 9000, revision="different-0a1b2c3d"),
        make_record("afqmc", 7000),
        make_record("tnews", 5000, revision="different-99999999"),
        make_record("afqmc", 9100, revision="different-00000000"),
    ]
    first, second, third = sections(*records)
    assert table_rows(first) == ["| tiny | – | 7.5M | **70.00%** | **50.00%** | – | – |"]
    assert table_rows(second) == ["| tiny | – | 7.5M | **91.00%** | – | – | – |"]
    assert table_rows(third) == ["| tiny | – | 7.5M | **90.00%** | – | – | – |"]
    assert "AFQMC official (10,000 rows), TNEWS' different-99999999 (10,000 rows)." in first
    assert "Not comparable with published scores, since the data is not official: TNEWS'." in first
    assert "Not comparable with published scores, since the data is not official: AFQMC." in second


def test_different_numbers_of_dev_rows_never_share_a_column(make_record: MakeRecord) -> None:
    full, part = sections(make_record(correct=70, rows=100, seed=1), make_record(correct=700, rows=1000, seed=2))
    assert "(1,000 rows)" in full
    assert "(100 rows)" in part


def test_two_tasks_never_share_a_column(make_record: MakeRecord) -> None:
    mine = make_record("afqmc", 9000, run_id="mine")
    assert mine.task is not None
    mine = mine.model_copy(update={"task": mine.task.model_copy(update={"name": "my-afqmc"})})
    assert len(sections(make_record("afqmc", 7000), mine)) == 2


@pytest.mark.parametrize(("data", "revision"), [("synthetic", "synthetic"), ("clue", "synthetic"), ("synthetic", "v2")])
def test_synthetic_data_never_stands_beside_clue(make_record: MakeRecord, data: str, revision: str) -> None:
    records = [make_record("tnews", 9900, data=data, revision=revision), make_record("afqmc", 7000)]
    clue, synthetic = sections(*records)
    assert table_rows(clue) == ["| tiny | – | 7.5M | **70.00%** | – | – | – |"]
    assert "synthetic" not in clue
    assert table_rows(synthetic) == ["| tiny | – | 7.5M | – | **99.00%** | – | – |"]
    assert "The data is synthetic, not CLUE: no column is comparable with published scores." in synthetic


def test_two_sets_of_weights_under_one_name_are_two_rows_told_apart_by_hash(make_record: MakeRecord) -> None:
    (section,) = sections(make_record(correct=7000, sha256="a" * 64), make_record(correct=7100, sha256="b" * 64))
    assert table_rows(section) == [
        r"| tiny (aaaaaaa) | – | 7.5M | 70.00% | – | – | – |",
        r"| tiny (bbbbbbb) | – | 7.5M | **71.00%** | – | – | – |",
    ]


def test_tasks_outside_the_four_stand_behind_them_and_leave_the_score_alone(make_record: MakeRecord) -> None:
    tasks = ("mine", "ocnli", "csl", "cluewsc2020", *TASKS)
    (section,) = sections(*(make_record(task, 9000 if task not in TASKS else 5000) for task in tasks))
    assert section.split("\n\n")[0] == (
        "| 模型 | Score | 参数 | AFQMC | TNEWS' | IFLYTEK' | CMNLI | CLUEWSC2020 | CSL | OCNLI | MINE |\n"
        "|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|\n"
        "| tiny | **50.00%** | 7.5M | **50.00%** | **50.00%** | **50.00%** | **50.00%** "
        "| **90.00%** | **90.00%** | **90.00%** | **90.00%** |"
    )
    assert [line[1] for line in conditions(section)] == [
        *("AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI", "CLUEWSC2020", "CSL", "OCNLI", "MINE")
    ]


def test_a_table_of_tasks_outside_the_four_has_no_score(make_record: MakeRecord) -> None:
    (section,) = sections(make_record("ocnli", 6500))
    assert section.startswith("| 模型 | 参数 | OCNLI |\n|:-:|:-:|:-:|\n| tiny | 7.5M | **65.00%** |\n")


NINE = ("afqmc", "tnews", "iflytek", "ocnli", "cluewsc2020", "csl", "cmrc2018", "chid", "c3")
DEV_ROWS = {"c3": 3_816}  # all of them; others may be any number


def half_right(make_record: MakeRecord, task: str, **facts: str) -> RunRecord:
    rows = DEV_ROWS.get(task, 10_000)
    return make_record(task, rows // 2, rows=rows, **facts)


def test_the_score_of_clue_names_what_models_lack_together(make_record: MakeRecord) -> None:
    whole = [half_right(make_record, task, model="whole", sha256="b" * 64) for task in NINE]
    few = [
        half_right(make_record, task, model=name, sha256=sha * 64)
        for task in ("c3", "csl")
        for name, sha in ("xc", "yd")
    ]
    most = [half_right(make_record, task, model="most", sha256="e" * 64) for task in NINE if task != "chid"]
    (section,) = sections(*whole, *few, *most)
    notes = [part for part in section.split("\n\n") if "columns" in part]
    assert notes == [
        "Score of CLUE 1.1, the mean of nine columns: whole 50.00%. "
        "Lacking: CHID (most); AFQMC, TNEWS', IFLYTEK', OCNLI, CLUEWSC2020, CMRC2018, CHID (x, y).",
        "Mean of PaddleNLP's ten columns, these and CMNLI: of no model. "
        "Lacking: CMNLI (whole); CHID, CMNLI (most); "
        "AFQMC, TNEWS', IFLYTEK', OCNLI, CLUEWSC2020, CMRC2018, CHID, CMNLI (x, y).",
    ]


def test_the_score_of_clue_is_of_clue_and_of_reading_tasks(make_record: MakeRecord) -> None:
    for record in (
        make_record("csl", 1_500, rows=3_000),
        half_right(make_record, "c3", data="synthetic"),
        make_record("c3", 35, rows=71),  # a part of it
        make_record("chid", 5_000),  # nobody knows how many blanks the real one has
    ):
        (section,) = sections(record)
        assert "nine columns" not in section
    (alone,) = sections(half_right(make_record, "c3"))
    assert "the mean of nine columns: of no model. Lacking: AFQMC, " in alone
    assert "PaddleNLP's ten" not in alone


def test_the_mean_of_paddlenlps_ten_columns_needs_all_of_them(make_record: MakeRecord) -> None:
    (section,) = sections(*(half_right(make_record, task, model="whole") for task in (*NINE, "cmnli")))
    assert "these and CMNLI: whole 50.00%." in section


def test_models_without_a_score_come_last(make_record: MakeRecord) -> None:
    whole = [make_record(task, 5000, model="whole", sha256="b" * 64) for task in TASKS]
    (section,) = sections(make_record("afqmc", 9000, model="partial"), *whole)
    assert [line.split(" | ")[0] for line in table_rows(section)] == ["| whole", "| partial"]


OTHER = {"model": "other", "sha256": "b" * 64}


def one_table(*records: RunRecord) -> MeasuredTable:
    (one,) = measured_tables(records)
    return one


def test_rows_made_alike_differ_in_nothing(make_record: MakeRecord) -> None:
    assert differing_conditions(one_table(make_record(), make_record(**OTHER))) == []


def test_seeds_search_size_and_commit_are_named_with_who_has_which(make_record: MakeRecord) -> None:
    code = {"version": "0.1.0", "commit": "fedcba9876543210", "dirty": True}
    found = one_table(
        make_record(seed=1),
        make_record(seed=2),
        make_record(**OTHER, code=code, learning_rate=1e-4),
        make_record(**OTHER, code=code, learning_rate=3e-5),
    )
    assert differing_conditions(found) == [
        "Not strictly comparable, since the rows differ in more than the model: seeds: 1 (other), 2 (tiny); settings "
        "tried: 2 (other), 1 (tiny); dev scores to choose from: 2 (other), 1 (tiny); commit: fedcba9+dirty (other), "
        "0123456 (tiny)."
    ]
    assert differing_conditions(found)[0] in measured_section(found)


def test_other_settings_of_fine_tuning_are_named(make_record: MakeRecord) -> None:
    plain = {"learning_rate": 3e-4, "batch_size": 32, "dropout": 0.0, "r_drop_alpha": 0.0}
    mine = make_record(effective=plain)
    other = make_record(**OTHER, effective=plain | {"dropout": 0.1, "r_drop_alpha": 1.0, "class_balance": 0.5})
    (sentence,) = differing_conditions(one_table(mine, other))
    assert sentence.endswith(
        "the model: class balance: 0.5 (other), 0 (tiny); dropout: 0.1 (other), 0 (tiny); "
        "r drop alpha: 1 (other), 0 (tiny)."
    )
    found = {model.label: model.cells["AFQMC"].settings_text for model in one_table(mine, other).models}
    assert found["tiny"] == "3e-4, 600 updates of 32 rows, dropout 0"
    assert found["other"] == "3e-4, 600 updates of 32 rows, dropout 0.1, class_balance 0.5, r_drop_alpha 1"


def test_only_cells_of_one_column_are_held_against_each_other(make_record: MakeRecord) -> None:
    def of(name: str, sha256: str, **rates: float) -> list[RunRecord]:
        named = {"model": name, "sha256": sha256}
        return [make_record(task, 5000, **named, learning_rate=rate) for task, rate in rates.items()]

    rows = [*of("tiny", "a" * 64, afqmc=3e-4, tnews=1e-3), *of("one", "b" * 64, afqmc=3e-4)]
    assert differing_conditions(one_table(*rows, *of("two", "c" * 64, tnews=1e-3))) == []
    (sentence,) = differing_conditions(one_table(*rows, *of("two", "c" * 64, tnews=3e-4)))
    assert sentence.endswith("the model: learning rate: 0.001 (tiny), 3e-4 (two).")


def test_settings_that_two_models_have_on_other_tasks_differ(make_record: MakeRecord) -> None:
    def of(name: str, sha256: str, afqmc: int, tnews: int) -> list[RunRecord]:
        named = {"model": name, "sha256": sha256}
        return [
            make_record(t, 5000, **named, effective={"max_length": n}) for t, n in (("afqmc", afqmc), ("tnews", tnews))
        ]

    (sentence,) = differing_conditions(one_table(*of("one", "a" * 64, 1, 3), *of("other", "b" * 64, 3, 1)))
    assert sentence.endswith("the model: max length: 1 / 3 (one), 3 / 1 (other).")


def test_another_precision_or_machine_is_named(make_record: MakeRecord) -> None:
    here = make_record(effective={"precision": "fp32"}, hardware={"processor": "a CPU"})
    there = make_record(**OTHER, effective={"precision": "bf16"}, hardware={"processor": "another CPU", "gpu": "a GPU"})
    (sentence,) = differing_conditions(one_table(here, there))
    assert sentence.endswith(
        "more than the model: precision: bf16 (other), fp32 (tiny); machine: a GPU (other), a CPU (tiny)."
    )


def test_columns_that_one_model_lacks_make_no_difference(make_record: MakeRecord) -> None:
    more = [make_record("tnews", 5000, **OTHER, seed=seed) for seed in (1, 2)]
    assert differing_conditions(one_table(make_record(), make_record(**OTHER), *more)) == []


def test_floors_are_made_otherwise_and_do_not_count(make_record: MakeRecord) -> None:
    floor = make_record(model="floor-tfidf", sha256="c" * 64, is_floor=True, code={"version": "0.2"})
    assert differing_conditions(one_table(make_record(), floor)) == []
