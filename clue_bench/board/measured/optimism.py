"""What choosing the best of several dev scores adds to the one that is shown.

Enters: a cell. Leaves: the number N of dev scores that it was chosen from, settings times the evaluations of a run, and
a bound on the expected optimism: E[max of N standard normals] × σ, with σ² = sd over seeds² + sampling error².

It is a bound: the noise of the chosen one is at most the largest of N, and the largest of N is larger the less they
have in common. Evaluations of one run share the rows and most of the weights, so the true optimism is smaller.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from clue_bench.board.measured.cells import Cell
from clue_bench.board.scores import MISSING, half_up

FORMULA = "E[max of N standard normals] × √(sd over seeds² + sampling error²)"
OPTIMISM_NOTE = (
    f"Optimism (≤): what choosing the best of N dev scores, settings × scores of a run, adds to a cell, in points, at "
    f"most: {FORMULA}. Scores of one run have much in common, so the true figure is smaller; with one seed, no sd goes "
    "in."
)

_REACH, _STEPS = 12.0, 6000  # the integrand is below 1e-30 beyond; the error of the midpoint rule is below 1e-6


@dataclass(frozen=True)
class Optimism:
    """`points` is the bound in percentage points, 0 for a single score; it lacks the seeds' part unless `has_seeds`."""

    num_settings: int
    dev_scores: int  # of each setting and seed
    points: Decimal
    has_seeds: bool

    @property
    def num_scores(self) -> int:
        """How many scores the one that is shown was chosen from."""
        return self.num_settings * self.dev_scores

    @property
    def text(self) -> str:
        """`15 scores (≤ 1.22)`, `4 settings × 15 scores (≤ 1.71)`; a dash where nothing was chosen."""
        if self.num_scores == 1:
            return MISSING
        settings = f"{self.num_settings} settings" * (self.num_settings > 1)
        scores = f"{self.dev_scores} scores" * (self.dev_scores > 1)
        return f"{' × '.join(filter(None, (settings, scores)))} (≤ {self.points})"


def optimism_of(cell: Cell) -> Optimism:
    """Return the expected optimism of a cell."""
    num_scores = cell.num_settings * cell.dev_scores
    seeds = cell.deviation
    noise = ((seeds or Decimal(0)) ** 2 + cell.sampling_error**2).sqrt()
    return Optimism(
        cell.num_settings, cell.dev_scores, half_up(Decimal(expected_maximum(num_scores)) * noise), seeds is not None
    )


@cache
def expected_maximum(number: int) -> float:
    """Return the expected maximum of `number` independent standard normals: the integral of 1 − Φⁿ(x) − Φⁿ(−x)."""
    width = _REACH / _STEPS
    points = ((step + 0.5) * width for step in range(_STEPS))
    above = ((0.5 * math.erfc(-x / math.sqrt(2)), 0.5 * math.erfc(x / math.sqrt(2))) for x in points)
    return width * sum(-math.expm1(number * math.log1p(-tail)) - tail**number for _, tail in above)
