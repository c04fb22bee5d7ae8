"""Confusions counted by hand, and the part of them that is shown."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from clue_bench.analysis.confusion import class_scores, confused_pairs, confusion_matrix, most_confused_block
from clue_bench.analysis.examine import macro_f1

GOLD = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 2, 1, 0, 2])


def test_pairs_are_counted_in_one_direction_the_most_frequent_first():
    pairs = confused_pairs(confusion_matrix(GOLD, PREDICTED, num_classes=4))
    assert [pair[:3] for pair in pairs] == [(0, 1, 2), (1, 0, 1), (0, 2, 1)]
    assert [pair.share for pair in pairs] == [0.5, 0.5, 0.25]


def test_few_classes_are_all_shown():
    counts = confusion_matrix(GOLD, PREDICTED, num_classes=4)
    block = most_confused_block(counts, most=4)
    assert block.classes == [0, 1, 2, 3]
    assert not block.others
    assert block.errors == 4


def test_of_many_classes_the_most_confused_are_shown_and_the_rest_is_counted():
    counts = np.diag([10] * 30)
    counts[7, 21] = 6
    counts[21, 7] = 5
    counts[3, 4] = 4
    counts[7, 0] = 1
    block = most_confused_block(counts, most=4)
    assert block.classes == [7, 21, 3, 4]
    assert block.others
    assert block.errors == 15
    assert block.counts.tolist() == [[10, 6, 0, 0, 1], [5, 10, 0, 0, 0], [0, 0, 10, 4, 0], [0, 0, 0, 10, 0]]
    assert block.counts.sum() == counts[block.classes].sum()


def test_a_block_is_full_although_a_pair_does_not_fit():
    counts = np.diag([1] * 8)
    counts[0, 1] = 9
    counts[2, 3] = 8
    counts[2, 0] = 7
    assert most_confused_block(counts, most=3).classes == [0, 1, 2]


def test_without_errors_a_block_of_classes_is_still_shown():
    block = most_confused_block(np.diag([2] * 25), most=20)
    assert len(block.classes) == 20
    assert block.errors == 0


def test_scores_per_class_name_support_and_predictions():
    scores = class_scores(GOLD, PREDICTED, num_classes=4)
    assert scores[0] == (0, pytest.approx(1 / 2), pytest.approx(1 / 4), pytest.approx(1 / 3), 4, 2)
    assert scores[3] == (3, 0.0, 0.0, 0.0, 0, 0)
    assert macro_f1(scores) == pytest.approx(f1_score(GOLD, PREDICTED, average="macro", zero_division=0.0))
