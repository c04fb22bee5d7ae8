"""What choosing the best of several dev scores adds to the one that is shown.

Input: a cell, which knows the number N of dev scores that it was chosen from: the sum over settings of the evaluations
of a run. Output: about how much that choice adds, E[max of N standard normals] × σ, with σ² = sd over seeds² + sampling
error².

It is an estimate, and as a rule too high: the largest of N is larger the less they have in common, and evaluations of
one run share the rows and most of the weights. With one seed, σ is not known, and there is none.
"""

import math
from decimal import Decimal
from functools import cache

from clue_bench.leaderboards.measured.cells import Cell
from clue_bench.leaderboards.scores import MISSING, half_up

FORMULA = "E[max of N standard normals] × √(sd over seeds² + sampling error²)"
OPTIMISM_NOTE = (
    "Optimism (≈): about what choosing the best of N dev scores, the sum over settings of the scores of a run, adds "
    f"to a cell, in points: {FORMULA}. Scores of one run have much in common, so the true figure is smaller as a rule; "
    "with one seed, there is no sd and no figure."
)

_REACH, _STEPS = 12.0, 6000  # the integrand is below 1e-30 beyond; the error of the midpoint rule is below 1e-6


def expected_optimism(cell: Cell) -> Decimal | None:
    """Return about how much choosing adds to a cell, in percentage points; 0 for a single score, None for one seed."""
    if cell.dev_scores == 1:
        return Decimal("0.00")
    if cell.deviation is None:
        return None
    noise = (cell.deviation**2 + cell.sampling_error**2).sqrt()
    return half_up(Decimal(expected_maximum(cell.dev_scores)) * noise)


def optimism_text(cell: Cell) -> str:
    """Return `15 scores (≈ 1.22)`, `60 scores of 4 settings (≈ 1.71)`; a dash where nothing was chosen."""
    if cell.dev_scores == 1:
        return MISSING
    optimism = expected_optimism(cell)
    settings = f" of {cell.num_settings} settings" * (cell.num_settings > 1)
    return f"{cell.dev_scores} scores{settings} ({'one seed' if optimism is None else f'≈ {optimism}'})"


@cache
def expected_maximum(number: int) -> float:
    """Return the expected maximum of `number` independent standard normals: the integral of 1 − Φⁿ(x) − Φⁿ(−x)."""
    width = _REACH / _STEPS
    points = ((step + 0.5) * width for step in range(_STEPS))
    above = ((0.5 * math.erfc(-x / math.sqrt(2)), 0.5 * math.erfc(x / math.sqrt(2))) for x in points)
    return width * sum(-math.expm1(number * math.log1p(-tail)) - tail**number for _, tail in above)
