"""What several seeds of one setting come to, and whether that is more than the floor.

Input: the folders of runs that differ in their seed only, and those of the floors of the same task. Output: a
`Summary`: mean, deviation, interval, and the paired comparison with the best floor.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_bench.analysis.comparison import Comparison, compare_runs
from clue_bench.analysis.finished import FinishedRun, read_run
from clue_bench.stats.significance import ConfidenceInterval


@dataclass(frozen=True)
class Summary:
    """Dev accuracy of one model on one task; shares of 1. `over_floor` is None where no floor was run."""

    model: str
    task: str
    column: str
    revision: str
    accuracies: tuple[float, ...]  # one per seed
    interval: ConfidenceInterval
    macro_f1: float
    majority_share: float
    flags: tuple[str, ...]
    seconds: float  # of all runs
    floor: str | None = None
    over_floor: Comparison | None = None

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over seeds, None for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def misses_floor(self) -> bool:
        """Whether the mean is not above the best floor's accuracy."""
        return self.over_floor is not None and self.over_floor.difference.difference <= 0

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "model": self.model,
            "task": self.task,
            "data_revision": self.revision,
            "seeds": len(self.accuracies),
            "accuracies": list(self.accuracies),
            "mean": self.mean,
            "deviation": self.deviation,
            "interval": self.interval._asdict(),
            "macro_f1": self.macro_f1,
            "majority_share": self.majority_share,
            "flags": list(self.flags),
            "seconds": self.seconds,
            "floor": self.floor,
            "over_floor": None if self.over_floor is None else self.over_floor.as_json(),
        }


def summarise(runs: list[Path], floors: list[Path]) -> Summary:
    """Return what `runs`, seeds of one setting, come to on dev, beside the best of `floors` (a folder each).

    Raises ClueBenchError if a run is not complete, or the runs were not on the same rows or with the same settings.
    """
    read = [read_run(folder, "dev") for folder in runs]
    first = read[0].record
    best = max(floors, key=_accuracy, default=None)
    compared = compare_runs(runs, [runs[0] if best is None else best])  # without a floor: for its checks and interval
    return Summary(
        model=first.model.name,
        task=read[0].task.name,
        column=read[0].task.column,
        revision=first.data.revision,
        accuracies=tuple(float(run.correct.mean()) for run in read),
        interval=compared.a.interval,
        macro_f1=statistics.fmean(run.record.results["dev"]["macro_f1"] for run in read),
        majority_share=first.results["dev"]["majority_share"],
        flags=tuple(sorted({flag for run in read for flag in run.record.flags})),
        seconds=sum(run.record.wall_seconds for run in read),
        floor=None if best is None else _name(best),
        over_floor=None if best is None else compared,
    )


def _accuracy(folder: Path) -> float:
    run: FinishedRun = read_run(folder, "dev")
    return float(run.correct.mean())


def _name(folder: Path) -> str:
    return read_run(folder, "dev").record.model.name
