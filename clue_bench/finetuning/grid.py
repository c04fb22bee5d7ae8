"""The settings that a search tries, and what its outcome means.

Input: a model's default settings, `--grid` texts. Output: every point of a grid, and warnings where the best one lies
on the grid's edge, where the search has found the bound of its own grid rather than an optimum.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from clue_bench.cards import parse_overrides
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import typed

Grid = dict[str, list[Any]]
Point = dict[str, Any]

Keep = Literal["best", "all", "none"]
"""Whose weights stay on the disk: the best run's, everyone's, no one's."""

_COUNTED = ("epochs", "batch_size", "steps", "evaluations_per_epoch", "max_evaluations")
"""Settings that cannot be less than 1. No setting can be less than 0."""

_SHARES = ("dropout", "class_balance", "label_smoothing", "ema_decay", "warmup_share", "layer_decay")
"""Settings that cannot be more than 1."""


def default_grid(defaults: Mapping[str, Any]) -> Grid:
    """Return the grid around a model's default settings: learning rate × batch × epochs × dropout, 24 points.

    Learning rates are a third of the default, the default and three times the default, since small models peak far
    above the published grids, which end at 5e-5; dropout is on or off, as in PaddleNLP's grid. Epochs are not varied
    if `steps` ends the runs, nor dropout if R-Drop needs it.
    """
    rate, epochs, batch = defaults["learning_rate"], defaults["epochs"], defaults["batch_size"]
    return {
        "learning_rate": [_one_digit(rate / 3), rate, _one_digit(rate * 3)],
        "batch_size": [batch, 2 * batch],
        "epochs": [epochs] if defaults.get("steps") else [epochs, math.ceil(epochs * 1.6)],
        "dropout": sorted({defaults["dropout"] if defaults.get("r_drop_alpha") else 0.0, defaults["dropout"] or 0.1}),
    }


def parse_grid(texts: Sequence[str]) -> Grid:
    """Turn `key=value,value,…` texts into a grid; values are read as TOML, like those of --set.

    Raises ClueBenchError for a text without values, or a repeated key or value.
    """
    grid: Grid = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key or not values.strip():
            raise ClueBenchError(
                f"--grid {text}: expected key=value,value", "write it as in --grid learning_rate=1e-4,3e-4"
            )
        if key in grid:
            raise ClueBenchError(f"--grid {key} is given twice", "give its values in one --grid, separated by commas")
        found = [parse_overrides([f"{key}={value}"])[key] for value in values.split(",")]
        if any(value in found[:number] for number, value in enumerate(found)):
            raise ClueBenchError(f"--grid {text}: a value is repeated", "keep one of them")
        grid[key] = found
    return grid


def points(grid: Grid) -> list[Point]:
    """Return every combination of the grid's values, the last key changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def edges(grid: Grid, best: Point, *, most: Mapping[str, float] | None = None) -> list[str]:
    """Return a sentence for every key whose best value is the smallest or largest of at least two tried.

    No sentence if no value lies beyond: at 0, one epoch, a share of 1, or the limit in `most`.
    """
    sentences = []
    for key in grid:
        side = _edge(grid[key], best[key])
        if side and not _is_bound(key, best[key], side, most or {}):
            sentences.append(f"the best {key}, {typed(best[key])}, is the {side} of the grid")
    return sentences


def no_choice(scores: Sequence[float], *, tried: int, at_majority: bool) -> str:
    """Return why the best of `tried` settings, of which `scores` are left, is no choice; "" if it is one.

    They all score the same, mostly that of the majority class, or a single one has a score.
    """
    if tried < 2 or not scores:
        return ""
    failed = tried - len(scores)
    others = "the other ends" if len(scores) == 1 else "the others end"
    which = f"all {tried} settings end" if not failed else f"of {tried} settings {failed} failed, and {others}"
    if max(scores) > min(scores):
        return ""
    if at_majority:
        return (
            f"{which} at the majority class, so none of them is better: train longer, from another model, or on more "
            "rows; clue-bench floor shows what the task gives without pretraining"
        )
    if len(scores) == 1:
        return f"only 1 of {tried} settings has a score, since the others failed: there was nothing to choose from"
    return f"all {len(scores)} settings that have a score have the same: the first one stands for them"


def beyond(grid: Grid, best: Point, *, most: Mapping[str, float] | None = None) -> str:
    """Return the --grid options of a search past the edges that `best` lies on, all other settings as in `best`."""
    options = []
    for key, values in grid.items():
        value, tried = best[key], [best[key]]
        if edges({key: values}, best, most=most):
            tried = sorted([value, _further(key, value, values, most or {})])
        options.append(f"--grid {key}={','.join(typed(number) for number in tried)}")
    return " ".join(options)


def _edge(values: Sequence[Any], value: Any) -> str:
    """Return where `value` lies in `values`: "largest", "smallest", or "" if inside, or if they are not numbers."""
    if len(values) < 2 or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        return ""
    return "largest" if value == max(values) else "smallest" if value == min(values) else ""


def _is_bound(key: str, value: float, side: str, most: Mapping[str, float]) -> bool:
    if side == "largest":
        return value >= most.get(key, 1.0 if key in _SHARES else math.inf)
    return value == 0 or (key in _COUNTED and value == 1)


def _further(key: str, value: float, values: Sequence[float], most: Mapping[str, float]) -> float:
    """Return the next value past the edge: three times, a third, or halfway to 1 for a share that would exceed it."""
    further = 3 * value if value == max(values) else value / 3
    if key in _SHARES and further >= 1:
        return (1 + value) / 2
    further = min(further, most.get(key, math.inf))
    return _one_digit(further) if isinstance(value, float) else max(1, round(further))


def _one_digit(value: float) -> float:
    """Return `value` rounded to one significant digit: 3e-5, not 3.3333e-5."""
    return float(f"{value:.0e}")
