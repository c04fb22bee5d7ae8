"""Whether a model knows when it is right.

Input: the probability that a model gave to the label it predicted (its confidence), and whether that was right, both
(rows,). Output: the expected calibration error with its bins, and the risk-coverage curve with the area under it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.stats.significance import Bools, Floats

NUM_BINS = 15  # as in Guo et al. 2017, "On Calibration of Modern Neural Networks"


class Bin(NamedTuple):
    """Rows with a confidence in (low, high]; the means are None where there are none."""

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: float | None


class RiskCoverage(NamedTuple):
    """`risks[k - 1]` is the share of wrong ones among the k most confident rows."""

    risks: Floats
    best_risks: Floats  # if confidence put every right row before every wrong one

    @property
    def area(self) -> float:
        """AURC: the mean of the risks (Geifman and El-Yaniv 2017). Lower is better."""
        return float(self.risks.mean())

    @property
    def best_area(self) -> float:
        """AURC of the best order that this accuracy allows."""
        return float(self.best_risks.mean())

    def accuracy_at(self, coverage: float) -> float:
        """Return the accuracy on the most confident share `coverage` of the rows, at least one row."""
        rows = max(1, round(coverage * len(self.risks)))
        return 1.0 - float(self.risks[rows - 1])


def reliability_bins(confidence: Floats, correct: Bools, *, num_bins: int = NUM_BINS) -> list[Bin]:
    """Return bins of equal width over (0, 1]; a confidence of 0 falls into the first."""
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    # Closed on the right, so that 1.0 is in the last one.
    places: npt.NDArray[np.int64] = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, num_bins - 1)
    bins = []
    for number in range(num_bins):
        inside = places == number
        rows = int(inside.sum())
        means = (float(confidence[inside].mean()), float(correct[inside].mean())) if rows else (None, None)
        bins.append(Bin(float(edges[number]), float(edges[number + 1]), rows, *means))
    return bins


def expected_calibration_error(bins: list[Bin]) -> float:
    """Return the mean distance of accuracy and confidence over bins, each weighted by its rows (ECE)."""
    distances = [
        (each.rows, abs(each.accuracy - each.confidence))
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    ]
    return sum(rows * distance for rows, distance in distances) / sum(rows for rows, _ in distances)


def risk_coverage(confidence: Floats, correct: Bools) -> RiskCoverage:
    """Return the risk at every coverage, the most confident row first.

    Rows of the same confidence have no order: each counts as wrong by the share of wrong ones among them, which is the
    expectation over all orders, so the order of the file does not matter.
    """
    levels, places, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(places, weights=~correct, minlength=len(levels))
    taken = np.arange(1, len(confidence) + 1)
    risks = np.cumsum(np.repeat(wrong / counts, counts)) / taken
    num_right = int(correct.sum())
    best = np.maximum(0, taken - num_right) / taken
    return RiskCoverage(risks, best)
