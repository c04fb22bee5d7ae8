"""Lay out a table of text for a terminal: nothing is cut, and what does not fit side by side goes elsewhere.

Input: the columns, cells of text, the width of the terminal. Output: lines. A table that is too wide is made narrower
in this order, as far as needed: a column with the same text in every row becomes a line above the table; columns of
detail are left out, and named; columns that may stand below get a line under each row; long text is wrapped; the
columns that are left continue below, with the first one repeated. Chinese characters take two columns.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

GAP = "  "  # between two columns
INDENT = "  "  # of what stands below a row
MIN_WRAPPED = 20  # columns of a terminal that a wrapped cell has at least
SAME = "same in every row:"
SEPARATOR = " · "
# What stays together in a line: a word, a number with its %, or a Chinese character with the marks behind it.
PARTS = re.compile(
    r"\s+|(?:[\u2e80-\u9fff\uff00-\uffef]|[^\s\u2e80-\u9fff\uff00-\uffef]+(?: %)?)[，。：；、）？！”』》]*"
)

Rows = Sequence[Sequence[str]]


class Head(NamedTuple):
    """The head of a column. `is_below`: its cells may stand under their row; `is_detail`: they may be left out."""

    name: str
    is_number: bool = False
    is_below: bool = False
    is_detail: bool = False


class Layout(NamedTuple):
    """The lines of a table, and the names of the columns that are left out."""

    text: str
    left_out: tuple[str, ...] = ()


def lay_out(heads: Sequence[Head], rows: Rows, width: int | None, *, same: str = SAME) -> Layout:
    """Return the table in lines of at most `width` columns; None for no limit. `same` heads what all rows share."""
    places = list(range(len(heads)))
    if not places:
        return Layout("")
    if width is None or _needed(heads, rows, places) <= width:
        return Layout("\n".join(_lines(heads, rows, places, None)))
    shared = [place for place in places[1:] if len(rows) > 1 and len({row[place] for row in rows}) == 1]
    places = [place for place in places if place not in shared]
    left_out: list[int] = []
    if _needed(heads, rows, places) > width:
        left_out = [place for place in places[1:] if heads[place].is_detail]
        places = [place for place in places if place not in left_out]
    below: list[int] = []
    if _needed(heads, rows, places) > width:
        below = [place for place in places[1:] if heads[place].is_below]
        places = [place for place in places if place not in below]
    parts = []
    if facts := [f"{heads[place].name} {rows[0][place]}" for place in shared if rows[0][place].strip(" –")]:
        parts.append("\n".join(wrap(f"{same}{' ' * same.isascii()}{SEPARATOR.join(facts)}", width)))
    blocks = _blocks(_widths(heads, rows, places, width), places, width)
    under = [_below(heads, row, below, width) for row in rows]
    parts += [
        "\n".join(_lines(heads, rows, block, width, under if number == len(blocks) - 1 else None))
        for number, block in enumerate(blocks)
    ]
    return Layout("\n\n".join(parts), tuple(heads[place].name for place in left_out))


def text_width(text: str) -> int:
    """Return how many columns of a terminal `text` takes: Chinese characters two, combining ones none."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def wrap(text: str, width: int) -> list[str]:
    """Return `text` in lines at most `width` columns wide, broken at blanks, Chinese characters, or marks."""
    if text_width(text) <= width:
        return [text]
    lines, line = [], ""
    for part in PARTS.findall(text):
        if text_width(line + part) <= width:
            line += part
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = part.lstrip()
        while text_width(line) > width:
            cut = next(n for n in range(len(line), 0, -1) if text_width(line[:n]) <= width)
            marks = [found.end() for found in re.finditer(r"[-/_,=]", line[:cut])]
            cut = marks[-1] if marks and marks[-1] > cut // 2 else cut
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line] if line else lines


def _widths(heads: Sequence[Head], rows: Rows, places: Sequence[int], width: int | None) -> dict[int, int]:
    """Return how wide each column becomes; a cell that is wider is wrapped. The widest text gives way."""
    widths = {place: max(map(text_width, (heads[place].name, *(row[place] for row in rows)))) for place in places}
    if width is None:
        return widths
    excess = sum(widths.values()) + len(GAP) * (len(places) - 1) - width
    texts = [place for place in places if place == places[0] or not heads[place].is_number]
    for _ in range(excess):
        widest = max(texts, key=lambda place: widths[place])
        widths[widest] -= widths[widest] > MIN_WRAPPED
    return widths


def _needed(heads: Sequence[Head], rows: Rows, places: Sequence[int]) -> int:
    return sum(_widths(heads, rows, places, None).values()) + len(GAP) * (len(places) - 1)


def _blocks(widths: dict[int, int], places: Sequence[int], width: int) -> list[list[int]]:
    """Return blocks of columns that fit side by side; the first column is repeated in every block."""
    first = places[0]
    blocks, taken = [[first]], widths[first]
    for place in places[1:]:
        if len(blocks[-1]) > 1 and taken + len(GAP) + widths[place] > width:
            blocks.append([first])
            taken = widths[first]
        blocks[-1].append(place)
        taken += len(GAP) + widths[place]
    return blocks


def _lines(
    heads: Sequence[Head],
    rows: Rows,
    block: Sequence[int],
    width: int | None,
    under: Sequence[Sequence[str]] | None = None,
) -> Iterable[str]:
    """Yield the lines of the columns `block`; a cell that is wider than its column takes several."""
    widths = _widths(heads, rows, block, width)
    names = [head.name for head in heads]
    for number, texts in enumerate([names, *rows]):
        wrapped = {place: wrap(texts[place], widths[place]) for place in block}
        for line in range(max(map(len, wrapped.values()))):
            shown = ((place, part[line] if line < len(part) else "") for place, part in wrapped.items())
            yield GAP.join(
                _padded(text, widths[place], right=place != block[0] and heads[place].is_number)
                for place, text in shown
            ).rstrip()
        if number and under is not None:
            yield from under[number - 1]


def _below(heads: Sequence[Head], row: Sequence[str], places: Sequence[int], width: int) -> list[str]:
    """Return the lines under a row: its cells in the columns `places`, each with its name, without the empty ones."""
    lines: list[str] = []
    for fact in (f"{heads[place].name} {row[place]}" for place in places if row[place].strip(" –")):
        if lines and text_width(lines[-1] + SEPARATOR + fact) <= width:
            lines[-1] += SEPARATOR + fact
        else:
            lines += [INDENT + part for part in wrap(fact, width - len(INDENT))]
    return lines


def _padded(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - text_width(text))
    return blanks + text if right else text + blanks
