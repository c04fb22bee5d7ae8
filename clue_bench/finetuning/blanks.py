"""Blanks of a text with candidates for them: what a model reads of each, and which candidate goes where.

Input: rows of the text before a blank, the text behind it, and its candidates. Output: token ids of a window around the
blank for every candidate; from the candidates' scores, one for each blank.

    a sequence    [CLS] candidate [SEP] window [SEP], all in one segment, as in CLUE's baseline of CHID. The blank is
                  [unused1], as there, or one [MASK] where the vocabulary has none; other blanks are four [MASK]s
    a window      as many tokens on both sides as there is room for, more on one where the other ends sooner
    assignment    every candidate goes to one blank of a line at most. "optimal" is the assignment that is the most
                  probable as a whole, "greedy" takes the most probable pair first, as the published baselines do.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

BLANK = "[unused1]"

Assignment = Literal["optimal", "greedy"]
Int64s = npt.NDArray[np.int64]


class Lines(NamedTuple):
    """Which line each row (rows,) belongs to, and how candidates are assigned over it."""

    line: Int64s
    assignment: Assignment


def windows_of(tokens: Sequence[list[int]], mark: list[int], *, room: int) -> Iterator[list[list[int]]]:
    """Yield the two texts of each candidate's sequence; `tokens` are those before and behind the blank, then theirs.

    `room` is for the candidate and its window, in tokens.
    """
    before, behind, *candidates = tokens
    for candidate in candidates:
        kept = candidate[: max(room - len(mark), 0)]
        left = room - len(mark) - len(kept)
        num_before = min(len(before), max(left // 2, left - len(behind)))
        yield [kept, [*before[len(before) - num_before :], *mark, *behind[: left - num_before]]]


def assigned(logits: npt.NDArray[np.floating], lines: Lines) -> Int64s:
    """Return the candidate of every row (rows,), from logits (rows, candidates): no candidate twice in a line.

    Where a line has more blanks than candidates, what is left over gets its most probable one.
    """
    values = logits.astype(np.float64)
    shares = values - np.logaddexp.reduce(values, axis=1, keepdims=True)
    chosen: Int64s = values.argmax(axis=1)
    order = np.argsort(lines.line, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(lines.line[order])) + 1):
        if len(rows) > 1:
            places, candidates = (_greedy if lines.assignment == "greedy" else _optimal)(shares[rows])
            chosen[rows[places]] = candidates
    return chosen


def _optimal(shares: npt.NDArray[np.float64]) -> tuple[Int64s, Int64s]:
    from scipy.optimize import linear_sum_assignment

    places, candidates = linear_sum_assignment(shares, maximize=True)
    return places, candidates


def _greedy(shares: npt.NDArray[np.float64]) -> tuple[Int64s, Int64s]:
    left = shares.copy()
    pairs = []
    for _ in range(min(shares.shape)):
        place, candidate = np.unravel_index(int(left.argmax()), left.shape)
        pairs.append((int(place), int(candidate)))
        left[place], left[:, candidate] = -np.inf, -np.inf
    found = np.array(pairs, dtype=np.int64)
    return found[:, 0], found[:, 1]
