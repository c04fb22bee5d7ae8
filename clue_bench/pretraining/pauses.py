"""Decide between two steps whether to save or to stop, the same for all processes.

Input: requests to stop, and the time since the last saved state. Output: a `Pause` after every step. One process asks
itself after every step. Several ask each other, which makes a GPU wait, about once a second: the first process knows
how long a step takes, and says at which step the next question comes.
"""

import time
from typing import NamedTuple

import torch

from clue_bench.pretraining.processes import Processes
from clue_bench.training.stopping import StopRequest

SECONDS_BETWEEN_SAVES = 600.0
SECONDS_BETWEEN_QUESTIONS = 1.0


class Pause(NamedTuple):
    """Whether a state is due because of the time, and whether the run is to stop."""

    save: bool
    stop: bool


class Pauses:
    """The pauses of a run."""

    def __init__(
        self, processes: Processes, device: torch.device, request: StopRequest, *, seconds_between_saves: float
    ) -> None:
        self._processes, self._device, self._request = processes, device, request
        self._seconds_between_saves = seconds_between_saves
        self._saved = self._asked = time.monotonic()
        self._steps, self._since, self._wait = 0, 0, 1  # so far; at the last question; from that to the next

    def after_step(self) -> Pause:
        """Return what to do. All processes call this after every step."""
        self._steps += 1
        if self._processes.size > 1 and self._steps < self._since + self._wait:
            return Pause(save=False, stop=False)
        now = time.monotonic()
        values = [int(self._request.is_made), 0, 1]
        if self._processes.is_first:
            values[1] = int(now - self._saved >= self._seconds_between_saves)
            seconds = (now - self._asked) / (self._steps - self._since)
            values[2] = max(1, int(SECONDS_BETWEEN_QUESTIONS / max(seconds, 1e-3)))
        stop, save, self._wait = self._processes.agreed(values, self._device)
        self._asked, self._since = now, self._steps
        return Pause(save=bool(save), stop=bool(stop))

    def saved(self) -> None:
        """Note that a state has been saved."""
        self._saved = time.monotonic()
