"""Scores: their columns, rounding and sampling errors, and how they and their changes are written.

Rounding is half up, on decimals. Binary floats cannot do it: 67.565 is stored as slightly less and prints as 67.56
where the tables print 67.57. Input: exact values (fractions of correct over rows). Output: decimals and their text.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache

from clue_bench.cards import builtin_folder
from clue_bench.tables import MISSING
from clue_bench.tasks.task import load_task

SCORE_COLUMNS = ("AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI")
"""The columns whose mean is Score. The prime marks the harder, filtered data set of CLUE 1.0."""

SCORE = "Score"
SPLIT = "dev"
"""The only split with public labels besides train, so the only one on which a run can score itself."""

READING_COLUMNS = ("CMRC2018", "CHID", "C3")

COLUMN_ORDER = (*SCORE_COLUMNS, "CLUEWSC2020", "CSL", "OCNLI", *READING_COLUMNS, "DRCD")
"""Columns from left to right; all others follow in alphabetical order."""

CLUE_COLUMNS = ("AFQMC", "TNEWS'", "IFLYTEK'", "OCNLI", "CLUEWSC2020", "CSL", *READING_COLUMNS)
"""The nine columns whose mean is the score of CLUE 1.1."""

TEN_COLUMNS = (*CLUE_COLUMNS, "CMNLI")
"""The ten columns whose mean is the average of PaddleNLP's published table."""

TEST_1_0 = "test(1.0, leaderboard)"
"""Split of CLUE's leaderboard before TNEWS and CLUEWSC2020 got a second test set."""

UP, DOWN, EQUAL = "↑", "↓", "="


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
    """Return the mean of the four columns of Score, rounded like them; None unless all are there."""
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


def size_text(parameters: int) -> str:
    """Return a counted size in three significant digits: 312M, 28.4M, 7.45M."""
    millions = Decimal(parameters).scaleb(-6)
    places = max(0, 2 - millions.adjusted())
    return f"{half_up(millions, places=places)}M"


def points_change(new: Decimal, old: Decimal) -> str:
    """Return by how many points `new` is above or below `old`: `(↑0.41)`."""
    return _arrow(Fraction(new) - Fraction(old), "")


def relative_change(new: Decimal, old: Decimal) -> str:
    """Return by what share of `old` the value `new` is above or below it: `(↓62.04%)`. `old` is not zero."""
    return _arrow((Fraction(new) - Fraction(old)) / Fraction(old) * 100, "%")


def speed_change(new_seconds: Decimal, old_seconds: Decimal) -> str:
    """Return the change of speed, given times for the same work: `(↑15.43%)` from 404 s to 350 s."""
    return relative_change(old_seconds, new_seconds)


def _arrow(change: Fraction, unit: str) -> str:
    """Return the change with its arrow; `(=)` where it rounds to nothing."""
    size = half_up(abs(change))
    if not size:
        return f"({EQUAL})"
    return f"({UP if change > 0 else DOWN}{size}{unit})"


@cache
def scored_rows(task: str, split: str) -> int | None:
    """Return the number of rows behind a published score by the built-in card of `task`; None if unknown."""
    card = builtin_folder("tasks") / f"{task.lower()}.toml"
    if split != TEST_1_0 or not card.is_file():
        return None
    splits = load_task(str(card)).splits
    return splits["test1.0" if "test1.0" in splits else "test"].rows


def sampling_error(percent: Decimal, rows: int | None) -> Decimal | None:
    """Return the binomial standard error of an accuracy in percent, in percentage points."""
    return None if rows is None else (percent * (100 - percent) / rows).sqrt()


def error_of_mean(errors: Sequence[Decimal | None]) -> Decimal | None:
    """Return the standard error of the mean of independent scores; None if that of a score is unknown."""
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return None
    return sum((error**2 for error in known), Decimal(0)).sqrt() / len(known)
