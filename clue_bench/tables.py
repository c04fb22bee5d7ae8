"""One kind of table for terminals, notebooks, Markdown, HTML, CSV, JSON and pandas.

Input: columns, and rows of cells or of plain values (`make_table`). Output: text, plain values or a frame. A cell has
what is shown and, apart from it, what it is sorted by and exported as; marks, links and the best of a column are facts
of the cell, and every renderer writes them in its own way. Nothing is escaped before it is rendered. pandas is imported
by `to_dataframe` alone, and `layout` makes the lines of a terminal.
"""

import csv
import html
import io
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from clue_bench.language import in_english, is_chinese, kept, translated, worded
from clue_bench.layout import SAME, Head, Layout, lay_out, wrap
from clue_bench.layout import text_width as text_width

if TYPE_CHECKING:
    import pandas as pd

MISSING = "–"
MODEL = ("模型", "model")  # heads a column with the floors among its names, which have English ones

Value = str | bool | int | float | Decimal | None

# An underscore inside a word is plain text in Markdown; at a word's edge it starts emphasis.
_SPECIAL = re.compile(r"[\\|*`<>\[\]~&#]|(?<![^\W_])_|_(?![^\W_])")
_PERCENT = re.compile(r"(?<=\d)%")  # as published tables write it; in a terminal all numbers are written one way
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Link(NamedTuple):
    """A shown text and where it leads."""

    text: str
    url: str


@dataclass(frozen=True)
class Cell:
    """One cell: `text` is shown with `mark` after it; `value` is the key for sorting, None if there is none.

    Digits of a mark are numbers of footnotes. `tooltip` explains the cell in a sentence, `below` stands under it in
    small print, and `address` is what a link to this cell names. `is_words`: a text of ours, which the language in use
    may word otherwise; all others are names and texts of users or data, which stay what they are.
    """

    text: str
    value: Value = None
    mark: str = ""
    is_best: bool = False
    links: tuple[Link, ...] = ()
    tooltip: str = ""
    below: str = ""
    address: str = ""
    is_words: bool = False

    @property
    def whole(self) -> str:
        """Return the text with its mark, footnotes raised."""
        return self.text + self.mark.translate(_RAISED)


@dataclass(frozen=True)
class Column:
    """One column. `note` is shown under the name, e.g. a translation; `tags` are for filters.

    In a terminal that is too narrow for the table, a column that `is_below` has a line under each row, and one that
    `is_detail` is left out, and named. Cells of a column that `is_words` are texts of ours, and so are those of numbers
    and of a first column without a name; others may be names or labels. The name of one that `is_name` is the user's.
    """

    name: str
    note: str = ""
    is_number: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    is_below: bool = False
    is_detail: bool = False
    is_words: bool = False
    is_name: bool = False


@dataclass(frozen=True)
class Row:
    """One row. Its first cell names it; a `tag` sets it apart from the others; `search` is what a text filter reads."""

    cells: tuple[Cell, ...]
    tag: str = ""
    search: str = ""


@dataclass(frozen=True)
class Table:
    """One table. `name` is for files and links; `notes` are shown below it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row.cells) == len(self.columns), f"{self.title}: {len(row.cells)} cells in a row"

    def __str__(self) -> str:
        """Return the table for the terminal at hand, with its title and notes."""
        return self.in_full(terminal_width())

    def _repr_html_(self) -> str:
        return self.to_html()

    def in_full(self, width: int | None) -> str:
        """Return the table with its title and notes for a terminal `width` columns wide; None for no limit."""
        layout = self._laid_out(width)
        notes = [*self.notes]
        if layout.left_out:
            left_out = ", ".join(layout.left_out)
            notes.append(f"Not shown in {width} columns: {left_out}. Add --wide, or read to_dataframe().")
        lines = list(map(translated, (self.title, *notes)))
        lines = lines if width is None else ["\n".join(wrap(line, width)) for line in lines]
        return "\n\n".join([*([lines[0]] if self.title else []), *([layout.text] if layout.text else []), *lines[1:]])

    def to_text(self, width: int | None = None) -> str:
        """Return lines for a terminal `width` columns wide, without title and notes; None for no limit.

        Nothing is cut: `layout` says where what does not fit goes. What is of ours is in the language in use.
        """
        return self._laid_out(width).text

    def _laid_out(self, width: int | None) -> Layout:
        heads = [
            Head(c.name if c.is_name else worded(c.name), c.is_number, c.is_below, c.is_detail) for c in self.columns
        ]
        rows = [list(map(_shown, row.cells, self.columns, range(len(row.cells)))) for row in self.rows]
        for shown, row in zip(rows, self.rows, strict=True):
            shown[:1] = [f"{shown[0]} ({worded(row.tag)})" if row.tag else shown[0]]
        rows = [[_PERCENT.sub(" %", cell) for cell in row] for row in rows]
        return lay_out(heads, rows, width, same=translated(SAME))

    def to_markdown(self) -> str:
        """Return the table as Markdown, without title and notes; columns are centred, the best is bold."""
        rows = [[_markdown_name(row), *map(_markdown, row.cells[1:])] for row in self.rows]
        return markdown_table([escape(column.name) for column in self.columns], rows)

    def to_html(self) -> str:
        """Return a table element, its title as caption, and its notes as paragraphs; everything is escaped."""
        head = "".join(
            f'<th scope="col" style="text-align: {_side(column)}"{kept() * column.is_name}>{_html(column.name)}'
            + (f"<br><small>{_html(column.note)}</small>".replace("\n", "<br>") if column.note else "")
            + "</th>"
            for column in self.columns
        )
        body = "\n".join(f"<tr>{''.join(self._html_cells(row))}</tr>" for row in self.rows)
        caption = f"<caption>{_html(self.title)}</caption>" if self.title else ""
        notes = "".join(f"\n<p>{_html(note)}</p>" for note in self.notes)
        return f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>{notes}"

    def to_csv(self) -> str:
        """Return the values as CSV (RFC 4180, LF), text that a spreadsheet would run with an apostrophe in front."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows(map(_csv_value, values) for values in self.values())
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Return plain values: title, columns, rows and notes. What a cell or a column does not have is left out."""
        return {
            "name": self.name,
            "title": self.title,
            "columns": [_plain(column) for column in self.columns],
            "rows": [{**_plain(row), "cells": [_plain(cell) for cell in row.cells]} for row in self.rows],
            "notes": list(self.notes),
        }

    def to_dataframe(self) -> "pd.DataFrame":
        """Return the values as a pandas frame; numbers are floats and integers, what is missing is None."""
        import pandas as pd

        rows = [[float(value) if isinstance(value, Decimal) else value for value in row] for row in self.values()]
        return pd.DataFrame(rows, columns=[column.name for column in self.columns])

    def values(self) -> list[list[Value]]:
        """Return what each cell is exported as: its value, or its text in a column of text."""
        return [
            [
                cell.text if cell.value is None and not column.is_number and cell.text != MISSING else cell.value
                for column, cell in zip(self.columns, row.cells, strict=True)
            ]
            for row in self.rows
        ]

    def _html_cells(self, row: Row) -> Iterable[str]:
        for place, (column, cell) in enumerate(zip(self.columns, row.cells, strict=True)):
            text = " ".join(map(_html_link, cell.links)) if cell.links else _html(cell.text)
            text = f"<bdi>{text}</bdi>" if is_chinese() and not _is_ours(cell, column, place) else text
            text = f"<strong>{text}</strong>" if cell.is_best else text
            text += f"<sup>{_html(cell.mark)}</sup>" * bool(cell.mark)
            text += f"<br><small>{_html(cell.below)}</small>" * bool(cell.below)
            if not place and row.tag:
                text = f"<em>{text}</em> <small>{_html(row.tag)}</small>"
            title = f' title="{_html(cell.tooltip)}"' if cell.tooltip else ""
            name, scope = ("td", "") if place else ("th", ' scope="row"')
            yield f'<{name}{scope} style="text-align: {_side(column)}"{title}>{text}</{name}>'


class Shown:
    """Base of results: they print as their `tables` in a terminal, and show them in a notebook."""

    @property
    def tables(self) -> "Sequence[Table | Shown]":
        """Return the tables that are shown to people."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.in_full(terminal_width())

    def in_full(self, width: int | None) -> str:
        """Return every table for a terminal `width` columns wide; None for no limit."""
        return "\n\n".join(table.in_full(width) for table in self.tables)

    def __repr__(self) -> str:
        """Return what is printed: subclasses are data classes with `repr=False`, or consoles would show every field."""
        return str(self)

    def _repr_html_(self) -> str:
        return "\n".join(table._repr_html_() for table in self.tables)


def make_table(
    title: str,
    columns: Iterable[str | Column],
    rows: Iterable[Iterable[object]],
    *,
    notes: Iterable[str] = (),
    name: str = "",
) -> Table:
    """Return a table of plain values: text, numbers, None for nothing, or cells; names of columns, or columns.

    A column that is given by its name is one of numbers if every value in it is a number or missing.
    """
    cells = [[make_cell(value) for value in row] for row in rows]
    made = []
    for place, column in enumerate(columns):
        values = [row[place].value for row in cells]
        is_number = any(value is not None for value in values) and not any(isinstance(v, str | bool) for v in values)
        is_number = is_number and all(row[place].value is not None or row[place].text == MISSING for row in cells)
        made.append(column if isinstance(column, Column) else Column(column, is_number=is_number))
    return Table(title, tuple(made), tuple(Row(tuple(row)) for row in cells), tuple(notes), name)


def make_facts(columns: tuple[str, str], rows: Iterable[tuple[object, object]]) -> Table:
    """Return a table of facts: what each is called, in words of ours, and its value; a name heads the values."""
    return make_table("", (Column(columns[0], is_words=True), Column(columns[1], is_name=True)), rows)


def our_words(text: str) -> Cell:
    """Return a cell with a text of ours."""
    return Cell(text, is_words=True)


def make_cell(value: object) -> Cell:
    """Return the cell that shows a plain value; a cell stays what it is."""
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell(MISSING)
    if isinstance(value, bool):
        return Cell("true" if value else "false", value)
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    if isinstance(value, float):
        return Cell(f"{value:.4g}", value)
    return Cell(str(value), value if isinstance(value, Decimal) else None)


def escape(text: str) -> str:
    """Return `text` as one line that Markdown shows as it is, in a table cell too."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def raised(number: int) -> str:
    """Return the number of a footnote, raised."""
    return str(number).translate(_RAISED)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with centred columns; the cells are escaped already."""
    lines = ["| " + " | ".join(header) + " |", "|" + ":-:|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def terminal_width() -> int | None:
    """Return how many columns the terminal on stdout has; None where stdout is a file, a pipe or a notebook."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _is_ours(cell: Cell, column: Column, place: int) -> bool:
    """Return whether a cell is a text of ours, and no name, label or text of users or data."""
    return cell.is_words or column.is_words or column.is_number or not (place or column.name)


def _shown(cell: Cell, column: Column, place: int) -> str:
    """Return a cell's text, in the language in use if it is one of ours."""
    if _is_ours(cell, column, place):
        return worded(cell.whole)
    return in_english(cell.whole) if column.name in MODEL else cell.whole


def _markdown_name(row: Row) -> str:
    name = _markdown(row.cells[0])
    return f"*{name} ({escape(row.tag)})*" if row.tag else name


def _markdown(cell: Cell) -> str:
    text = " ".join(f"[{escape(text)}]({url})" for text, url in cell.links) if cell.links else escape(cell.text)
    return (f"**{text}**" if cell.is_best else text) + escape(cell.mark.translate(_RAISED))


def _html(text: str) -> str:
    return html.escape(text, quote=True)


def _html_link(link: Link) -> str:
    """Return a link to the web; any other address stays text."""
    if not link.url.startswith(("https://", "http://")):
        return _html(link.text)
    return f'<a href="{_html(link.url)}" rel="noreferrer">{_html(link.text)}</a>'


def _side(column: Column) -> str:
    return "right; white-space: nowrap" if column.is_number else "left"


def _csv_value(value: Value) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _plain(part: Cell | Column | Row) -> dict[str, Any]:
    """Return what is not empty as plain values, without the cells of a row and what is for the language alone."""
    found: dict[str, Any] = {}
    for each in fields(part):
        value = getattr(part, each.name)
        if each.name in ("cells", "is_words", "is_name") or value is None or (each.name != "value" and not value):
            continue
        if isinstance(value, Decimal):
            value = float(value)
        elif isinstance(value, tuple):
            value = [link._asdict() for link in value]
        elif isinstance(value, Mapping):
            value = dict(value)
        found[each.name] = value
    return found
