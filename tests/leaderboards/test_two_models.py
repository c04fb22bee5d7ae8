"""Two models on every task that both have, from records alone."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from clue_bench.cli import main
from clue_bench.doors.records import read_records
from clue_bench.errors import ClueBenchError
from clue_bench.layout import text_width
from clue_bench.leaderboards.runs import at_best
from clue_bench.leaderboards.two_models import compare_two_models

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"
TINY, BARE, FLOOR = "roberta-tiny-2l128", "roberta-tiny-2l128-untrained", "floor-tfidf"


@pytest.fixture(scope="module")
def records():
    return [each for each in read_records(RECORDS) if each.kind == "finetune" and not each.data.passages]


@pytest.fixture(scope="module")
def compared(records):
    return compare_two_models(records, BARE, FLOOR)


def correct(records, task, model):
    found = [r for r in records if r.kind == "finetune" and r.task.name == task and r.model.name == model]
    clean = ~np.array(found[0].data.repeated.unpack())
    return np.array([at_best(r).dev_correct.unpack() for r in sorted(found, key=lambda r: r.seed)])[:, clean]


def test_every_task_that_both_have_is_a_row(compared):
    assert [task.a.column.task for task in compared.tasks] == [
        "afqmc", "tnews", "iflytek", "cmnli", "cluewsc2020", "csl", "ocnli",
    ]  # fmt: skip
    assert compared.only == ()
    assert {len(task.a.seeds) for task in compared.tasks} == {3}


def test_differences_and_means_are_those_of_the_rows(compared, records):
    differences = {}
    for task in compared.tasks:
        a, b = (correct(records, task.a.column.task, model).mean() for model in (BARE, FLOOR))
        assert task.difference == pytest.approx(a - b)
        assert task.interval.low < a - b < task.interval.high
        differences[task.a.column.task] = a - b
    a, b = compared.mean
    assert a - b == pytest.approx(np.mean(list(differences.values())))


def test_p_values_are_corrected_for_the_number_of_tasks(records):
    floors = compare_two_models(records, "floor-majority", "floor-tfidf")
    raw = []
    for task in floors.tasks:  # one run against one: McNemar's test, a binomial one on the rows that only one has right
        a, b = (correct(records, task.a.column.task, name)[0] for name in ("floor-majority", "floor-tfidf"))
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        raw.append(stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0)
    order = np.argsort(raw)
    expected = np.empty(len(raw))
    expected[order] = np.maximum.accumulate(
        [min(1.0, (len(raw) - place) * raw[index]) for place, index in enumerate(order)]
    )
    assert [task.p_value for task in floors.tasks] == pytest.approx(expected.tolist())


def test_a_verdict_counts_only_what_the_test_separates(compared):
    better = [task.better for task in compared.tasks]
    assert all((task.p_value < 0.05) == (word in ("A", "B")) for task, word in zip(compared.tasks, better, strict=True))
    assert f"A is better on {better.count('A')}, B on {better.count('B')} of 7 tasks" in compared.verdict


def test_it_fits_80_columns_and_nothing_is_cut(compared):
    text = compared.in_full(80)
    assert max(map(text_width, text.splitlines())) <= 80
    assert BARE in text
    assert "TF-IDF" in text
    assert "training does not repeat" in text
    assert all(task.a.column.name in text for task in compared.tasks)


def test_a_record_without_its_rows_gives_the_difference_and_no_test(records):
    found = compare_two_models(records, TINY, "roberta-tiny-clue")
    assert {task.better for task in found.tasks} == {"no test"}
    assert "no test on 2" in found.verdict
    assert "OCNLI" in " ".join(found.only)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (TINY, "roberta-tiny-2l127", "did you mean"),
        (TINY, TINY, "the same model"),
        ("albert-base-3l128", "roberta-tiny-clue", "no task in common"),
    ],
)
def test_what_cannot_be_compared_is_named(records, a, b, message):
    with pytest.raises(ClueBenchError, match=message):
        compare_two_models(records, a, b)


def test_a_name_that_two_models_share_needs_the_hash(records):
    twin = next(r for r in records if r.model.name == TINY)
    facts = twin.model.model_copy(update={"sha256": "f" * 64})
    changed = twin.model_copy(update={"model": facts, "run_id": twin.run_id + "-twin"})
    with pytest.raises(ClueBenchError, match="2 models") as caught:
        compare_two_models([*records, changed], TINY, BARE)
    assert f"{TINY} (fffffff)" in caught.value.hint
    assert compare_two_models([*records, changed], f"{TINY} (fffffff)", BARE).tasks


@pytest.mark.parametrize("models", [[TINY], [TINY, BARE, TINY]])
def test_the_command_takes_two_models_or_says_so(models, capfd, monkeypatch):
    typed = [word for model in models for word in ("--model", model)]
    monkeypatch.setattr(sys, "argv", ["clue-bench", "compare", "--records", str(RECORDS), *typed])
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 2
    assert "two --model" in " ".join(capfd.readouterr().err.split())


def test_the_command_prints_one_json_object(capfd, monkeypatch):
    typed = ["--model", TINY, "--model", BARE, "--json"]
    monkeypatch.setattr(sys, "argv", ["clue-bench", "compare", "--records", str(RECORDS), *typed])
    with pytest.raises(SystemExit):
        main()
    values = json.loads(capfd.readouterr().out)
    assert (values["a"]["model"], len(values["tasks"])) == (TINY, 7)
