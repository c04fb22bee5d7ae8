"""Summarise repeated measurements, with an interval for their median.

Input: one number per repetition. Output: a `MedianInterval`: their median, and an interval for it that assumes
nothing of how the numbers are distributed. It measures nothing itself.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
import pydantic

COVERAGE = 0.95
NOISY = 0.10
"""Width of an interval, as a share of its median, above which a measurement counts as noisy."""

Positive = Annotated[float, pydantic.Field(gt=0.0)]


class MedianInterval(pydantic.BaseModel):
    """The median of `values`, one per repetition, and an interval that holds the true median with `coverage`."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    median: Positive
    low: Positive
    high: Positive
    coverage: float = pydantic.Field(ge=0.0, lt=1.0)
    values: list[Positive] = pydantic.Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _agrees_with_values(self) -> Self:
        for name, number in zip(("median", "low", "high", "coverage"), _order_statistics(self.values), strict=True):
            if not math.isclose(getattr(self, name), number, rel_tol=1e-6, abs_tol=1e-12):
                raise ValueError(f"{name} is {getattr(self, name)}, but the values give {number}")
        return self

    @property
    def relative_width(self) -> float:
        """Return the width as a share of the median."""
        return (self.high - self.low) / self.median

    @property
    def has_few_values(self) -> bool:
        """Return whether there are too few repetitions for an interval that holds the true median with COVERAGE."""
        return self.coverage < COVERAGE

    @property
    def is_noisy(self) -> bool:
        """Return whether the interval is wider than NOISY."""
        return self.relative_width > NOISY

    def overlaps(self, other: "MedianInterval") -> bool:
        """Return whether some number lies in both intervals: then their difference may be noise."""
        return self.low <= other.high and other.low <= self.high


def summarise(values: Sequence[float]) -> MedianInterval:
    """Return median and interval of one number per repetition. Raises ValueError unless all are positive numbers."""
    median, low, high, coverage = _order_statistics(values)
    return MedianInterval(
        median=median, low=low, high=high, coverage=coverage, values=[float(value) for value in values]
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile of `values`, linear between neighbours."""
    return float(np.percentile(np.asarray(values, dtype=np.float64), percent))


def passes(seconds_of_one: float, *, least_seconds: float) -> int:
    """Return how often to do something that takes `seconds_of_one` so that it takes at least `least_seconds`."""
    return max(1, math.ceil(least_seconds / seconds_of_one))


def _order_statistics(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return median, low, high and coverage.

    Each of n values lies above the true median with chance 1/2. So the k-th smallest and the k-th largest hold it
    between them unless fewer than k of n fair coins show heads, or tails. k is the largest that keeps COVERAGE; with
    fewer than six values even the smallest and the largest do not, and the coverage says so.
    """
    ordered = sorted(float(value) for value in values)
    num = len(ordered)
    if not num:
        raise ValueError("nothing was measured")

    def coverage(k: int) -> float:
        return 1 - sum(math.comb(num, heads) for heads in range(k)) / float(2 ** (num - 1))

    k = max((k for k in range(1, (num + 1) // 2 + 1) if coverage(k) >= COVERAGE), default=1)
    return float(np.median(ordered)), ordered[k - 1], ordered[num - k], max(coverage(k), 0.0)
