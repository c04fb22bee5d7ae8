"""Scores against scikit-learn, the majority flag, and the evaluate interface."""

import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.score import score

classes = st.integers(0, 4)


@given(st.lists(st.tuples(classes, classes), min_size=1, max_size=60))
def test_scores_are_counts_and_scikit_learns_macro_f1(pairs):
    gold, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    scores = score(gold, predicted)
    assert scores.correct == sum(a == b for a, b in pairs)
    assert scores.accuracy == pytest.approx(scores.correct / scores.rows)
    assert scores.macro_f1 == pytest.approx(f1_score(gold, predicted, average="macro", zero_division=0.0))


def test_always_answering_the_majority_class_is_flagged():
    gold = np.array([0] * 69 + [1] * 31)
    scores = score(gold, np.zeros(100, dtype=np.int64))
    assert scores.accuracy == scores.majority_share == 0.69
    assert round(scores.macro_f1, 3) == 0.408
    assert scores.is_constant
    assert scores.hits_majority


def test_a_model_no_better_than_the_majority_class_is_flagged():
    gold = np.array([0] * 69 + [1] * 31)
    predicted = gold.copy()
    predicted[:31] = 1
    scores = score(gold, predicted)
    assert not scores.is_constant
    assert scores.hits_majority


def test_a_model_better_than_the_majority_class_is_not_flagged():
    gold = np.array([0] * 69 + [1] * 31)
    predicted = gold.copy()
    predicted[:10] = 1
    assert not score(gold, predicted).hits_majority


@pytest.mark.parametrize("predicted", [[], [0]])
def test_scoring_nothing_or_unequal_lengths_is_an_error(predicted):
    with pytest.raises(ClueBenchError, match="cannot score"):
        score(np.array([0, 1]) if predicted else np.array([], dtype=np.int64), np.array(predicted, dtype=np.int64))


@pytest.mark.filterwarnings("default")  # evaluate and datasets warn about their own dependencies
def test_evaluate_loads_the_metric_offline_and_gives_the_numbers_of_our_records(tmp_path, monkeypatch):
    evaluate = pytest.importorskip("evaluate")
    from clue_bench.finetuning.metrics import METRIC_PATH

    def refuse(*_args, **_more):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    gold, predicted = np.random.default_rng(0).integers(0, 15, (2, 1000))
    metric = evaluate.load(METRIC_PATH, cache_dir=str(tmp_path))
    for part in (slice(0, 600), slice(600, None)):
        metric.add_batch(predictions=predicted[part], references=gold[part])
    ours = score(gold, predicted)
    assert metric.compute() == {"accuracy": ours.accuracy, "macro_f1": ours.macro_f1}
    assert metric.compute(predictions=[0, 1, 1], references=[0, 1, 0])["macro_f1"] == pytest.approx(2 / 3)
