"""Sampling errors of published scores: what another test set of the same size would change, from the rows alone.

Input: a percentage and what it was scored on. Output: binomial errors (1 sigma) in percentage points, not rounded;
None where the number of rows is not known.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache

from clue_bench.cards import builtin_folder
from clue_bench.tasks.task import load_task

TEST_1_0 = "test(1.0, leaderboard)"
"""Split of CLUE's leaderboard before TNEWS and CLUEWSC2020 got a second test set."""


@cache
def scored_rows(task: str, split: str) -> int | None:
    """Return how many rows a published score counts: those that the built-in card of `task` says; None if unknown."""
    card = builtin_folder("tasks") / f"{task.lower()}.toml"
    if split != TEST_1_0 or not card.is_file():
        return None
    splits = load_task(str(card)).splits
    return splits["test1.0" if "test1.0" in splits else "test"].rows


def sampling_error(percent: Decimal, rows: int | None) -> Decimal | None:
    """Return the binomial standard error of an accuracy in percent, in percentage points."""
    return None if rows is None else (percent * (100 - percent) / rows).sqrt()


def error_of_mean(errors: Sequence[Decimal | None]) -> Decimal | None:
    """Return the standard error of the mean of independent scores; None if one of theirs is not known."""
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return None
    return sum((error**2 for error in known), Decimal(0)).sqrt() / len(known)


def error_of_difference(first: Decimal, second: Decimal) -> Decimal:
    """Return the standard error of the difference of two unpaired scores."""
    return (first**2 + second**2).sqrt()
