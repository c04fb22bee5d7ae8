"""Quoted tables: the published tables as cells that know what is printed, and how they are written.

Input: cells made by the layouts. Output: `QuotedTable`s, as Markdown and as plain values. What is shown may differ
from what is printed only where a footnote says so: a table with a silent difference cannot be made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from clue_bench.leaderboards.markdown import escape, markdown_table
from clue_bench.leaderboards.scores import MISSING, half_up

QUOTED = "Quoted, not measured by clue-bench."
ERRORS = "Sampling error (1σ, binomial, percentage points, from the number of test rows):"

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Link(NamedTuple):
    """A shown text and where it leads."""

    text: str
    url: str


class Difference(NamedTuple):
    """A cell that shows something else than is printed."""

    row: str
    column: str
    printed: str
    shown: str


@dataclass(frozen=True)
class QuotedCell:
    """One cell. `text` is shown, `printed` what the source prints; `notes` say why they differ, or who says otherwise.

    `value` is the number shown, `sampling_error` its binomial error, both as displayed (percentage points); `source`
    and `remark` are those of the quotation.
    """

    text: str
    printed: str
    notes: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    is_best: bool = False
    value: Decimal | None = None
    sampling_error: Decimal | None = None
    source: str = ""
    remark: str = ""


@dataclass(frozen=True)
class QuotedTable:
    """One published table: `name` for files and links, `title` for readers; the first cell of a row names it."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[QuotedCell, ...], ...]
    split: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.header), f"{self.name}: {len(row)} cells under {len(self.header)} columns"
            for cell in row:
                assert cell.text == cell.printed or cell.notes, f"{self.name}: {cell.text} differs without a footnote"

    @property
    def notes(self) -> tuple[str, ...]:
        """The footnotes, in the order of the cells; the number of one is its place from 1."""
        return tuple(dict.fromkeys(note for row in self.rows for cell in row for note in cell.notes))

    @property
    def sources(self) -> tuple[str, ...]:
        """The distinct sources of all cells, in their order."""
        return tuple(dict.fromkeys(cell.source for row in self.rows for cell in row if cell.source))

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Every cell that shows something else than is printed."""
        return tuple(
            Difference(row[0].text, column, cell.printed, cell.text)
            for row in self.rows
            for column, cell in zip(self.header, row, strict=True)
            if cell.text != cell.printed
        )

    def as_json(self) -> dict[str, Any]:
        """Return the table as plain values, footnotes by number."""
        return {
            "name": self.name,
            "title": self.title,
            "split": self.split or None,
            "sources": list(self.sources),
            "header": list(self.header),
            "rows": [[_cell_json(cell, self.notes) for cell in row] for row in self.rows],
            "notes": list(self.notes),
            "remarks": list(self.remarks),
        }


def quoted_section(table: QuotedTable) -> str:
    """Return a quoted table with its split, its sources, its sampling errors, its remarks and its footnotes."""
    body = [[_markdown_cell(cell, table.notes) for cell in row] for row in table.rows]
    split = f"Split: {escape(table.split)}. " if table.split else ""
    parts = [markdown_table([*map(escape, table.header)], body)]
    parts.append(f"{split}Source: {escape('; '.join(table.sources))}. {QUOTED}")
    parts += [f"{footnote_mark(number)} {escape(note)}" for number, note in enumerate(table.notes, start=1)]
    parts += map(escape, table.remarks)
    if any(cell.sampling_error is not None for row in table.rows for cell in row):
        parts += [ERRORS, _error_table(table)]
    return "\n\n".join(parts)


def _error_table(table: QuotedTable) -> str:
    """Return the sampling errors in a table of their own, so that the published layout stays what it is."""
    places = [0] + [
        place
        for place in range(1, len(table.header))
        if any(row[place].sampling_error is not None for row in table.rows)
    ]
    body = [
        [escape(row[0].text), *(_error_text(row[place].sampling_error) for place in places[1:])] for row in table.rows
    ]
    return markdown_table([escape(table.header[place]) for place in places], body)


def _error_text(error: Decimal | None) -> str:
    return MISSING if error is None else f"± {half_up(error)}"


def _markdown_cell(cell: QuotedCell, notes: Sequence[str]) -> str:
    """Return one cell: linked, bold if it is the best, its footnotes' numbers behind it."""
    text = " ".join(f"[{escape(text)}]({url})" for text, url in cell.links) if cell.links else escape(cell.text)
    marks = " ".join(footnote_mark(notes.index(note) + 1) for note in cell.notes)
    return (f"**{text}**" if cell.is_best else text) + marks


def footnote_mark(number: int) -> str:
    """Return the number of a footnote, raised."""
    return str(number).translate(_SUPERSCRIPT)


def _cell_json(cell: QuotedCell, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "text": cell.text,
        "printed": cell.printed,
        "value": None if cell.value is None else float(cell.value),
        "sampling_error": None if cell.sampling_error is None else float(half_up(cell.sampling_error)),
        "is_best": cell.is_best,
        "notes": [notes.index(note) + 1 for note in cell.notes],
        "links": [link._asdict() for link in cell.links],
        "source": cell.source,
        "remark": cell.remark,
    }
