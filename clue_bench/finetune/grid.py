"""Which settings a search tries, and what its outcome allows to say.

Enters: a model's default settings, `--grid` texts. Leaves: every point of a grid, the best one, and warnings where that
lies on the grid's edge, so that the search has found a bound of its own making rather than an optimum.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from clue_bench.catalog import parse_overrides
from clue_bench.errors import ClueBenchError

Grid = dict[str, list[Any]]
Point = dict[str, Any]

_NATURAL_BOUNDS = {"dropout": 0.0, "label_smoothing": 0.0, "epochs": 1, "batch_size": 1}
"""Values that nothing lies below: no warning there."""


def default_grid(defaults: Mapping[str, Any]) -> Grid:
    """Return the grid around a model's default settings: learning rate × batch × epochs × dropout, 24 points.

    Learning rates are a third of the default, the default and its triple, since small models peak far above the
    published grids, which end at 5e-5; dropout with and without, as in PaddleNLP's grid.
    """
    rate, epochs, batch = defaults["learning_rate"], defaults["epochs"], defaults["batch_size"]
    return {
        "learning_rate": [_one_digit(rate / 3), rate, _one_digit(rate * 3)],
        "batch_size": [batch, 2 * batch],
        "epochs": [epochs, math.ceil(epochs * 1.6)],
        "dropout": sorted({0.0, defaults["dropout"]}),
    }


def parse_grid(texts: Sequence[str]) -> Grid:
    """Turn `key=value,value,…` texts into a grid; values are read as TOML, as those of --set.

    Raises ClueBenchError for a text without values, a key that comes twice, or a value that does.
    """
    grid: Grid = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key or not values.strip():
            raise ClueBenchError(
                f"--grid {text}: expected key=value,value", "for example --grid learning_rate=1e-4,3e-4"
            )
        if key in grid:
            raise ClueBenchError(f"--grid {key} is given twice", "give its values in one --grid, separated by commas")
        found = [parse_overrides([f"{key}={value}"])[key] for value in values.split(",")]
        if len(set(map(repr, found))) != len(found):
            raise ClueBenchError(f"--grid {text}: a value comes twice", "keep one of them")
        grid[key] = found
    return grid


def points(grid: Grid) -> list[Point]:
    """Return every combination of the grid's values, the last key changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def edges(grid: Grid, best: Point) -> list[str]:
    """Return a sentence for every key whose best value is the smallest or largest of at least two tried."""
    sentences = []
    for key, values in grid.items():
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) < 2 or len(numbers) < len(values):
            continue
        value = best[key]
        if value == max(numbers):
            sentences.append(f"the best {key}, {value:g}, is the largest of the grid")
        elif value == min(numbers) and value != _NATURAL_BOUNDS.get(key):
            sentences.append(f"the best {key}, {value:g}, is the smallest of the grid")
    return sentences


def beyond(grid: Grid, best: Point) -> str:
    """Return the --grid options of a search that goes on past the edges that `best` lies on."""
    options = []
    for key, values in grid.items():
        value = best[key]
        if not edges({key: values}, best):
            continue
        further = value * 3 if value == max(values) else value / 3
        further = _one_digit(further) if isinstance(value, float) else max(1, round(further))
        options.append(f"--grid {key}={','.join(f'{number:g}' for number in sorted([value, further]))}")
    return " ".join(options)


def _one_digit(value: float) -> float:
    """Return `value` rounded to one significant digit: 3e-05, not 3.3333e-05."""
    return float(f"{value:.0e}")
