"""What a score is: its columns, its rounding and how it is written, as the published tables do.

Rounding is half up, on decimals. Binary floats cannot: 67.565 is stored just below itself and prints as 67.56 where the
tables print 67.57. Exact values (fractions of correct over rows) enter; decimals and their text leave.
"""

from collections.abc import Collection, Mapping
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

SCORE_COLUMNS = ("AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI")
"""The columns that Score is the mean of. The prime says: the harder, filtered data set of CLUE 1.0."""

SCORE = "Score"
SPLIT = "dev"
"""The only split whose labels are public, so the only one a run can score itself."""

COLUMN_ORDER = (*SCORE_COLUMNS, "CLUEWSC2020", "CSL", "OCNLI")
"""From left to right; columns that are not in here follow in alphabetical order."""

MISSING = "–"


def half_up(value: Decimal | Fraction, *, places: int = 2) -> Decimal:
    """Return `value` rounded half up to `places` decimals."""
    if isinstance(value, Fraction):
        # 28 digits: a tie such as 0.675650 is exact in them, and nothing else can be rounded onto a tie.
        value = Decimal(value.numerator) / Decimal(value.denominator)
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def percentage(share: Decimal | Fraction) -> Decimal:
    """Return a share of 1 as a percentage with two decimals."""
    return half_up(share * 100)


def score_of(percentages: Mapping[str, Decimal]) -> Decimal | None:
    """Return the mean of the four columns that Score is made of, rounded like them; None unless all are there."""
    return mean_of(percentages, SCORE_COLUMNS)


def mean_of(percentages: Mapping[str, Decimal], columns: Collection[str]) -> Decimal | None:
    """Return the arithmetic mean of the displayed `columns`, rounded like them; None unless all of them are there.

    The mean is taken of the rounded columns, as the published tables do, so that a reader can check it by hand.
    """
    if any(column not in percentages for column in columns):
        return None
    return half_up(Fraction(sum(Fraction(percentages[column]) for column in columns), len(columns)))


def exact(number: float) -> Fraction:
    """Return the value that a JSON file prints for `number`: 0.5757, not the binary value near it."""
    return Fraction(repr(number))


def percent_text(percent: Decimal | None) -> str:
    """Return `67.57%`, or a dash for a missing value."""
    return MISSING if percent is None else f"{percent}%"


def parameters_text(parameters: int) -> str:
    """Return a parameter count as the tables print it: 108M, 7.5M, 4M; in K below a million."""
    if parameters < 1000:
        return str(parameters)
    thousands = half_up(Fraction(parameters, 1000), places=0)
    if thousands < 1000:
        return f"{thousands}K"
    millions = half_up(Fraction(parameters, 1_000_000), places=1)
    if millions < 10 and millions % 1:
        return f"{millions}M"
    return f"{half_up(Fraction(parameters, 1_000_000), places=0)}M"
