"""What the steps since the last report add up to, kept with the training state, so that no step is reported twice."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clue_bench.pretraining.processes import Processes
from clue_bench.pretraining.step import StepSums, Sums


@dataclass(frozen=True)
class SinceReport:
    """The sums of this process over some steps; `seconds` are those of training."""

    sums: Sums
    skipped: Tensor  # updates, on the device
    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def nothing(cls, device: torch.device) -> "SinceReport":
        """Return sums over no step."""
        return cls(Sums.zero(device), torch.zeros((), dtype=torch.int64, device=device))

    def plus(self, step: StepSums, seconds: float) -> "SinceReport":
        """Return the same with one more step, which took `seconds`."""
        sums, skipped = self.sums.plus(step.sums), self.skipped + step.skipped
        return SinceReport(sums, skipped, self.steps + 1, self.seconds + seconds)

    def state(self, processes: Processes) -> dict[str, Any]:
        """Return what a training state keeps: sums of all processes, which all of them ask for at once."""
        sums = [processes.summed(tensor.clone()) for tensor in self.sums]
        return {"sums": sums, "skipped": int(self.skipped), "steps": self.steps, "seconds": self.seconds}

    def loaded(self, state: dict[str, Any], processes: Processes) -> "SinceReport":
        """Return what `state` kept. The first process takes the sums of all of them, the others begin with none."""
        skipped = self.skipped + state["skipped"]  # the same in every process
        if processes.is_first:
            return SinceReport(Sums(*state["sums"]), skipped, state["steps"], state["seconds"])
        return replace(self, steps=state["steps"], skipped=skipped)
