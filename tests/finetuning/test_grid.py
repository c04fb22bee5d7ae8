"""Search grids: what is tried, and when the best point says too little."""

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.grid import beyond, default_grid, edges, no_choice, parse_grid, points

DEFAULTS = {"learning_rate": 1e-4, "epochs": 5, "batch_size": 32, "dropout": 0.1}


def test_the_default_grid_is_learning_rate_batch_epochs_and_dropout_around_the_defaults():
    grid = default_grid(DEFAULTS)
    assert grid == {
        "learning_rate": [3e-5, 1e-4, 3e-4],
        "batch_size": [32, 64],
        "epochs": [5, 8],
        "dropout": [0.0, 0.1],
    }
    assert DEFAULTS in points(grid)


def test_points_are_every_combination_once():
    found = points({"a": [1, 2], "b": ["x", "y", "z"]})
    assert len(found) == 6
    assert found[0] == {"a": 1, "b": "x"}
    assert len({tuple(point.items()) for point in found}) == 6


def test_values_are_read_as_those_of_set():
    assert parse_grid(["learning_rate=1e-4,3e-4", "precision=bf16,fp32", "epochs=3"]) == {
        "learning_rate": [1e-4, 3e-4],
        "precision": ["bf16", "fp32"],
        "epochs": [3],
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["epochs"], "expected key=value,value"),
        (["epochs="], "expected key=value,value"),
        (["=3"], "expected key=value,value"),
        (["epochs=3", "epochs=5"], "given twice"),
        (["epochs=3,3"], "a value is repeated"),
    ],
)
def test_a_grid_that_says_nothing_is_refused(texts, message):
    with pytest.raises(ClueBenchError, match=message):
        parse_grid(texts)


@pytest.mark.parametrize(
    ("best", "named"),
    [
        ({"learning_rate": 1e-4, "dropout": 0.0}, []),
        ({"learning_rate": 3e-4, "dropout": 0.0}, ["learning_rate, 3e-4, is the largest"]),
        ({"learning_rate": 3e-5, "dropout": 0.1}, ["learning_rate, 3e-5, is the smallest", "dropout, 0.1"]),
    ],
)
def test_a_best_point_on_the_edge_is_named_but_nothing_lies_below_no_dropout(best, named):
    grid = {"learning_rate": [3e-5, 1e-4, 3e-4], "dropout": [0.0, 0.1]}
    sentences = edges(grid, best)
    assert len(sentences) == len(named)
    for sentence, part in zip(sentences, named, strict=True):
        assert part in sentence


def test_a_grid_of_one_value_has_no_edge():
    assert edges({"learning_rate": [1e-4]}, {"learning_rate": 1e-4}) == []


def test_words_have_no_edge():
    assert edges({"precision": ["bf16", "fp32"]}, {"precision": "fp32"}) == []


def test_the_next_search_goes_past_the_edge():
    grid = {"learning_rate": [3e-5, 1e-4, 3e-4], "epochs": [3, 5]}
    assert beyond(grid, {"learning_rate": 3e-4, "epochs": 3}) == "--grid learning_rate=3e-4,9e-4 --grid epochs=1,3"


@pytest.mark.parametrize(
    ("scores", "tried", "at_majority", "said"),
    [
        ([0.69, 0.69, 0.69], 3, True, "all 3 settings end at the majority class"),
        ([0.69, 0.7], 2, True, ""),
        ([0.69], 3, True, "of 3 settings 2 failed, and the other ends at the majority class"),
        ([0.75], 3, False, "only 1 of 3 settings has a score"),
        ([0.7, 0.7], 2, False, "have the same"),
        ([0.69, 0.7], 2, False, ""),
        ([0.69], 1, True, ""),
        ([], 2, False, ""),
    ],
)
def test_a_search_that_leaves_no_choice_says_why_and_nothing_of_edges(scores, tried, at_majority, said):
    found = no_choice(scores, tried=tried, at_majority=at_majority)
    assert (said in found) if said else not found
