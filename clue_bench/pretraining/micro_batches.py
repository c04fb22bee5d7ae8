"""Choose how many rows go through the network at once, where a recipe says `micro_batch = "auto"`.

Input: the rows of a step in this process, and what tries a size. Output: a size. Results do not depend on it but for
rounding: a step's batch, masks and draws are those of its rows.
"""

from collections.abc import Callable

TOKENS = {"cpu": 8_192, "cuda": 65_536}
"""Positions that are enough: more of them make no step faster, they only take memory (64 rows of 128 in our cards)."""


def choose(rows: int, length: int, *, device: str, fits: Callable[[int], bool]) -> int:
    """Return the largest size up to enough positions that `fits`: the first try, half of it, and so on, at least 1."""
    size = evenly(rows, TOKENS[device] // length)
    while size > 1 and not fits(size):
        size = evenly(rows, size // 2)
    return size


def evenly(rows: int, most: int) -> int:
    """Return the size, `most` or less, that cuts `rows` into as few and as equal parts as possible."""
    parts = -(-rows // max(1, most))
    return -(-rows // parts)
