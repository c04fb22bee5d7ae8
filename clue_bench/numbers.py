"""Numbers as people read them, written one way everywhere: 8,000; 50.76 %; 1 m 47 s; 3e-4; 1 row, 2 rows.

Input: plain numbers, and what they count. Output: text. What a person may type back is written as it is typed
(`typed`), all else for reading. Tables of the published layout (`leaderboards`) print percentages as their sources do,
without the blank.
"""

from typing import Any

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def count(number: float) -> str:
    """Return a whole number with separators: 8,000."""
    return f"{number:,.0f}"


def percent(share: float, digits: int = 2) -> str:
    """Return a share of 1 in per cent: 50.76 %."""
    return f"{100 * share:.{digits}f} %"


def points(difference: float) -> str:
    """Return a difference of two shares of 1 in percentage points, with its sign: +1.79."""
    return f"{100 * difference:+.2f}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units: 18 ms, 1.32 s, 47 s, 1 m 47 s, 2 h 5 m, 3 d 4 h."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} m {whole % MINUTE} s"
    minutes = round(seconds / MINUTE)
    if minutes < DAY // MINUTE:
        return f"{minutes // 60} h {minutes % 60} m"
    hours = round(seconds / HOUR)
    return f"{hours // 24} d {hours % 24} h"


def scaled(number: float) -> str:
    """Return a large number in three digits: 1.23 M, 45.6 G."""
    for prefix in ("", " k", " M", " G"):
        if number < 999.5:
            return f"{number:.3g}{prefix}"
        number /= 1000
    return f"{number:,.4g} T"


def times(ratio: float) -> str:
    """Return how many times as much: 2.8 ×, 12 ×."""
    return f"{ratio:.2f} ×" if ratio < 1.995 else f"{ratio:.1f} ×" if ratio < 9.95 else f"{ratio:,.0f} ×"


def counted(number: float, noun: str, several: str = "") -> str:
    """Return a number of things: 1 shard, 8,000 shards; `several` is the plural if it is no "s" behind the noun."""
    return f"{count(number)} {noun if number == 1 else several or noun + 's'}"


def article(noun: str) -> str:
    """Return `noun` with "a" or "an"."""
    return f"{'an' if noun[:1] in tuple('AEIOaeio') else 'a'} {noun}"


def typed(value: Any) -> str:
    """Return a setting as --set takes it: 3e-4, 0.1, 32, true, mlm; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:g}"
        if 0 < abs(value) < 1e-3 and "e" not in text:
            text = f"{value:.6e}"
            digits, _, exponent = text.partition("e")
            text = f"{digits.rstrip('0').rstrip('.')}e{exponent}"
        return text.replace("e-0", "e-").replace("e+0", "e")
    return str(value)
