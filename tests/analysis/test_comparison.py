"""Which runs may be compared, and what is said of them."""

import json

import numpy as np
import pytest

from clue_bench.analysis.comparison import compare_runs
from clue_bench.doors.predictions import predictions_path, read_predictions, write_predictions
from clue_bench.doors.records import read_record, record_paths, write_record
from clue_bench.doors.results import RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.language import translated, using
from clue_bench.stats.significance import mcnemar, paired_test

GOLD = ["108", "103", "104", "116", "104", "109"]
WRONG = ["100"] * 6


def test_two_runs_are_compared_row_by_row(make_run):
    a, b = make_run(GOLD, name="a"), make_run([*GOLD[:3], "100", "100", "100"], name="b", model="other")
    found = compare_runs([a], [b])
    right = np.array([True] * 6), np.array([True] * 3 + [False] * 3)
    assert found.discordance == mcnemar(*right) == (3, 0, 0.25)
    assert found.test == paired_test(*right, is_fixed=(True, True))
    assert (found.test.name, found.test.p_value) == ("McNemar", 0.25)
    assert (found.a.accuracy, found.b.accuracy) == (1.0, 0.5)
    assert found.verdict.startswith("not separated: the difference of +50.00 points")


def test_a_difference_beyond_the_error_is_named_in_either_direction(make_run):
    a, b = make_run(WRONG, name="a"), make_run(GOLD, name="b")
    assert compare_runs([a], [b]).verdict.startswith("B is better than A by 100.00 points")
    assert compare_runs([b], [a]).verdict.startswith("A is better than B by 100.00 points")


def test_equal_runs_are_not_separated(make_run):
    found = compare_runs([make_run(GOLD, name="a")], [make_run(GOLD, name="b")])
    assert not found.is_separated
    assert "lies inside the error" in found.verdict


def test_seeds_of_a_setting_are_averaged_and_not_put_through_mcnemar(make_run):
    seeds = [make_run(labels, name=f"a{n}", seed=n) for n, labels in enumerate((GOLD, WRONG), 1)]
    other = make_run(WRONG, name="b")
    found = compare_runs(seeds, [other])
    assert found.a.accuracy == 0.5
    assert found.discordance is None
    assert "on the other side as A's do" in found.covers
    assert found.test.difference == 0.5
    values = json.loads(json.dumps(found.to_json()))
    assert values["a"]["seeds"] == [1, 2]
    assert values["mcnemar_p"] is None


def test_two_seeds_that_disagree_are_not_separated(make_run):
    # 6 and 5 rows of 6 against 3 and 1: the two seeds say nearly nothing.
    sides = {
        side: [make_run([*GOLD[:right], *WRONG[right:]], name=f"{side}{n}", seed=n) for n, right in enumerate(rights)]
        for side, rights in {"a": (6, 5), "b": (3, 1)}.items()
    }
    found = compare_runs(sides["a"], sides["b"])
    assert not found.is_separated
    assert found.test.p_value > 0.05
    assert "Welch p = " in found.verdict
    assert found.to_json()["welch_p"] == found.test.p_value
    single = compare_runs(sides["a"][:1], sides["b"][:1])
    assert single.test.name == "McNemar"
    assert single.to_json()["welch_p"] is None


def test_runs_on_another_data_revision_are_refused(make_run, other_data):
    a, b = make_run(GOLD, name="a"), make_run(GOLD, name="b", data=other_data)
    with pytest.raises(ClueBenchError, match="cannot be compared: data revision different-"):
        compare_runs([a], [b])


def test_runs_on_another_task_are_refused(make_run):
    from clue_bench.tasks.task import load_task

    a, b = make_run(GOLD, name="a"), make_run(GOLD, name="b", task=load_task("iflytek").facts)
    with pytest.raises(ClueBenchError, match="tnews and iflytek"):
        compare_runs([a], [b])


def test_predictions_of_other_rows_are_refused_although_the_records_agree(make_run):
    a, b = make_run(GOLD, name="a"), make_run(GOLD, name="b")
    path = predictions_path(b, "dev")
    first, second, *rest = read_predictions(path)
    write_predictions(path, [second, first, *rest])
    with pytest.raises(ClueBenchError, match=r"row 1 of dev.* id 0, .*'108'.* id 1, .*'103'"):
        compare_runs([a], [b])


def test_settings_that_differ_stand_beside_the_verdict(make_run):
    a, b = make_run(GOLD, name="a"), make_run(WRONG, name="b", effective={"learning_rate": 1e-3, "steps": 40})
    found = compare_runs([a], [b])
    assert "settings, A / B  learning_rate 1e-4 / 0.001, steps – / 40" in found.evidence.to_text()
    assert found.to_json()["differing_settings"]["learning_rate"] == (1e-4, 1e-3)
    assert not compare_runs([a], [make_run(GOLD, name="c", seed=2)]).differing


def test_a_side_that_mixes_settings_is_refused(make_run):
    a = make_run(GOLD, name="a")
    faster = make_run(GOLD, name="b", seed=2, effective={"learning_rate": 1e-3})
    other = make_run(GOLD, name="c", seed=2, model="other")
    with pytest.raises(ClueBenchError, match=r"side A mixes settings: learning_rate is 0\.0001"):
        compare_runs([a, faster], [other])
    with pytest.raises(ClueBenchError, match="side A mixes settings: model is tiny"):
        compare_runs([a, other], [a])


def test_a_seed_given_twice_is_refused(make_run):
    a = make_run(GOLD, name="a")
    with pytest.raises(ClueBenchError, match=r"side B.* seed .*1, 1"):
        compare_runs([a], [a, a])


def test_a_comparison_prints_well_and_has_a_frame(make_run):
    found = compare_runs([make_run(GOLD, name="a")], [make_run(WRONG, name="b")])
    assert "McNemar" in str(found)
    assert found.verdict in str(found)
    assert found._repr_html_().count("<table>") == 2
    assert found.to_dataframe()["dev accuracy"].tolist() == [1.0, 0.0]


def test_rows_that_training_repeats_are_not_in_the_test(make_run):
    # A has the first three rows right, which stand in training; B the others.
    folders = [make_run([*GOLD[:3], *WRONG[3:]], name="a"), make_run([*WRONG[:3], *GOLD[3:]], name="b")]
    for folder in folders:
        (path,) = record_paths(folder)
        record = read_record(path)
        bits = RowBits.pack([True] * 3 + [False] * 3)
        write_record(folder, record.model_copy(update={"data": record.data.model_copy(update={"repeated": bits})}))
    found = compare_runs([folders[0]], [folders[1]])
    assert (found.a.accuracy, found.b.accuracy) == (0.5, 0.5)
    assert found.test.difference == -1.0
    assert (found.discordance.only_a, found.discordance.only_b, found.num_repeated) == (0, 3, 3)
    assert "3 rows; 3 are in training" in str(found)
    assert found.to_dataframe()["on clean rows"].tolist() == [0.0, 1.0]


def test_questions_on_one_passage_are_compared_by_passages(make_run):
    runs = [make_run(GOLD, name="a"), make_run([*GOLD[:3], "100", "100", "100"], name="b", model="other")]
    for folder in runs:
        (path,) = record_paths(folder)
        record = read_record(path)
        passages = RowBits.pack([True, False, False, True, False, False])
        data = record.data.model_copy(update={"passages": passages})
        write_record(folder, record.model_copy(update={"data": data}))
    found = compare_runs([runs[0]], [runs[1]])
    assert found.num_passages == 2
    assert "another draw of dev passages" in found.covers
    assert "t-test over 2 passages" in str(found)
    with using("zh"):
        for text in (found.covers, f"p {found.test.p_value:.4f}, t-test over 2 passages, two-sided"):
            assert "passages" not in translated(text)
    assert "McNemar" not in str(found)
    assert found.test.interval.high > 0.99  # two passages, of which one differs, say nothing
    assert not found.is_separated
    values = found.to_json()
    assert (values["passages"], values["mcnemar_p"], values["welch_p"]) == (2, None, found.test.p_value)
