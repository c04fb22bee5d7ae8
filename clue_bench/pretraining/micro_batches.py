"""Choose how many rows go through the network at once, where a recipe says `micro_batch = "auto"`.

Input: the rows of a step in this process, and what tries a size. Output: a size; half of it, where memory has run out.
Results do not depend on it but for rounding: a step's batch, masks and draws are those of its rows.
"""

from collections.abc import Callable
from typing import Literal

import torch

from clue_bench.pretraining.processes import Processes
from clue_bench.training import hardware

TOKENS = {"cpu": 8_192, "cuda": 65_536}
"""Positions that are enough: more of them make no step faster, they only take memory (64 rows of 128 in our cards)."""


class MicroBatches:
    """How many rows of a stage's steps go through the network at once; the same in every process."""

    def __init__(
        self,
        asked: int | Literal["auto"],
        processes: Processes,
        *,
        global_batch: int,
        length: int,
        device: torch.device,
        try_out: Callable[[int], None],
        more_bytes: int,
    ) -> None:
        """Take the size that is `asked`, or choose one: `try_out` computes a gradient beside `more_bytes`."""
        self._processes, self._global_batch, self._device = processes, global_batch, device
        self.may_halve = asked == "auto"

        def fits(size: int) -> bool:
            return device.type == "cpu" or hardware.fits_on_gpu(lambda: try_out(size), more_bytes=more_bytes)

        if asked == "auto":
            size = choose(self._rows, length, device=device.type, fits=fits)
            self.size = self._least(size)
        else:
            self.size = asked

    @property
    def _rows(self) -> int:
        share = self._processes.share(self._global_batch)
        return int(share.stop - share.start)

    def halve(self) -> bool:
        """Take half as many from now on, in all processes; return whether that is possible."""
        if not self.may_halve or self.size == 1:
            return False
        hardware.give_back_memory()
        self.size = self._least(evenly(self._rows, self.size // 2))
        return True

    def _least(self, size: int) -> int:
        """Return the least size of any process: their shares may differ by a row."""
        return -self._processes.agreed([-size], self._device)[0]


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
