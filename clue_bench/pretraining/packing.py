"""Which texts share a row: best fit, longest first.

Input: the sizes of texts. Output: an order of the texts, and where each row begins in it. Rows are nearly full as long
as short texts are left to fill the gaps.

The classic algorithm takes texts one by one; here all texts of one size are placed at once, so the work grows with the
number of sizes (at most the length of a row, squared), not with the number of texts.

Legend: T texts, R rows.
"""

from dataclasses import dataclass

import numpy as np

from clue_bench.training.counter_rng import Int64s


@dataclass
class _Bins:
    """`count` rows that all hold texts of the sizes `sizes`."""

    sizes: tuple[int, ...]
    count: int


def pack(sizes_T: Int64s, *, length: int, most: int) -> tuple[Int64s, Int64s]:
    """Return the texts row by row, (T,), and the place of each row's first text with T at the end, (R + 1,).

    No row holds more than `length` tokens or `most` texts. The same sizes give the same rows.
    """
    counts = np.bincount(sizes_T, minlength=length + 1)
    rows = _fill(counts, length, most)
    # Texts of each size, in order; every row takes the next one of each of its sizes.
    by_size = np.argsort(sizes_T, kind="stable")
    taken = np.cumsum([0, *counts])[:-1]
    parts, lengths = [], []
    for bins in rows:
        columns = []
        for size in bins.sizes:
            columns.append(by_size[taken[size] : taken[size] + bins.count])
            taken[size] += bins.count
        parts.append(np.stack(columns, axis=1).ravel())
        lengths += [len(bins.sizes)] * bins.count
    order = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return order, np.cumsum([0, *lengths], dtype=np.int64)


def _fill(counts: Int64s, length: int, most: int) -> list[_Bins]:
    """Return bins that hold `counts[s]` texts of each size s."""
    by_room: list[list[_Bins]] = [[] for _ in range(length + 1)]  # rows that have so much room left
    full: list[_Bins] = []
    for size in range(length, 0, -1):
        left, room = int(counts[size]), size
        while left:
            while room < length and not by_room[room]:
                room += 1
            if room < length:
                bins = by_room[room].pop()
                used = min(left, bins.count)
                if used < bins.count:
                    by_room[room].append(_Bins(bins.sizes, bins.count - used))
            else:  # no row has room: open as many as this size fills
                bins, used = _Bins((), 0), -(-left // min(length // size, most))
            grown = _Bins((*bins.sizes, size), used)
            (full if len(grown.sizes) == most else by_room[room - size]).append(grown)
            left, room = left - used, size
    return full + [bins for group in by_room for bins in group]
