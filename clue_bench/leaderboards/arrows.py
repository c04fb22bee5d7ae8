"""Changes with arrows, as the cards print them: `(↑0.41)`, `(↓62.04%)`, `(↑15.43%)`.

Input: a number and the one that it is held against, as shown, so that a reader can check the arrow by hand. Output:
the text behind the number. Rounding is half up, on exact fractions.
"""

from decimal import Decimal
from fractions import Fraction

from clue_bench.leaderboards.scores import half_up

UP, DOWN, EQUAL = "↑", "↓", "="


def points_change(new: Decimal, old: Decimal) -> str:
    """Return by how many points `new` is over or under `old`: `(↑0.41)`."""
    return _arrow(Fraction(new) - Fraction(old), "")


def relative_change(new: Decimal, old: Decimal) -> str:
    """Return by what share of `old` `new` is over or under it: `(↓62.04%)`. `old` is not zero."""
    return _arrow((Fraction(new) - Fraction(old)) / Fraction(old) * 100, "%")


def speed_change(new_seconds: Decimal, old_seconds: Decimal) -> str:
    """Return by what share the speed rose or fell, of times for the same work: `(↑15.43%)` from 404 s to 350 s."""
    return relative_change(old_seconds, new_seconds)


def _arrow(change: Fraction, unit: str) -> str:
    """Return the change with its arrow; `(=)` where it rounds to nothing."""
    size = half_up(abs(change))
    if not size:
        return f"({EQUAL})"
    return f"({UP if change > 0 else DOWN}{size}{unit})"
