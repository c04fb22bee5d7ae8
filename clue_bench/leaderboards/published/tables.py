"""Make the published tables, with layouts as data and cells from the files of scores and facts.

Input: the folder of published scores with `layouts.toml`. Output: `PublishedTable`s, in the layouts' order. The
displayed value may differ from the printed one only if a footnote says so: a table with a silent difference cannot be
made. A column has one task, and a table one split: scores on TNEWS with keywords, which are 9 to 10 points easier, or
on dev cannot slip into a table of CLUE's test scores.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import pydantic

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.published.facts import Facts, PublishedScore, Quotation, read_facts, read_published
from clue_bench.leaderboards.scores import (
    COLUMN_ORDER,
    SCORE,
    error_of_mean,
    half_up,
    percent_text,
    sampling_error,
    scored_rows,
)
from clue_bench.tables import MISSING, Cell, Column, Link, Row, Table, escape, make_table, raised

LAYOUTS = "layouts.toml"
SIZE = "参数"
PERCENT = r"([0-9.]+)%"
PLAIN = r"([0-9.]+)(?:/[0-9.]+)?$"  # as "74.22/91.88", exact match and F1, of which the first counts
QUOTED = "Quoted, not measured by clue-bench."
ERRORS = "Sampling error (1σ, binomial, percentage points, from the number of test rows):"
ENGLISH = {
    "模型": "model",
    SIZE: "parameters",
    "参数量": "parameters",
    "词汇表": "vocabulary",
    "词汇表大小": "vocabulary size",
    "训练设备": "trained on",
    "训练速度": "training speed",
    "模型简称": "model",
    "存储大小": "size on disk",
    "语料": "corpus",
    "直接下载": "download",
}
"""Chinese heading of a table → English below it."""

_FIX = "restore leaderboards/published"


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class Footnote(_Strict):
    """A footnote, its cells (row, column), and what they show instead of what is printed."""

    cells: list[list[str]]
    text: str
    shown: str | None = None


class Layout(_Strict):
    """One published table as data; the head of `layouts.toml` explains the keys."""

    name: str
    title: str
    chinese: str
    columns: list[str]
    source: str = ""
    notes: list[str] = []
    scores: dict[str, str] = {}
    left_out: list[str] = []
    facts: str = ""
    printed: list[str] = []
    links: dict[str, list[str]] = {}
    mean: str = ""
    plain: bool = False
    numbers: dict[str, str] = {}
    rows: dict[str, list[str]] = {}
    best: bool = False
    remarks: list[str] = []
    footnotes: list[Footnote] = []

    def holds(self, score: PublishedScore) -> bool:
        """Return whether the source prints `score` in this table."""
        is_here = not self.notes or score.note.split(";")[0] in self.notes
        return bool(self.scores) and score.source == self.source and score.task != "-" and is_here


@dataclass(frozen=True)
class PublishedCell:
    """One cell. `text` is displayed, `printed` is the source's text; `notes` explain differences and contradictions.

    `value` is the number shown, `sampling_error` its binomial error in percentage points; `source` and `remark` are
    those of the quotation.
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
class PublishedTable:
    """One published table: `name` for files and links, `title` for readers; the first cell of a row names it."""

    name: str
    title: str
    chinese: str
    header: tuple[str, ...]
    rows: tuple[tuple[PublishedCell, ...], ...]
    split: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for cell in (cell for row in self.rows for cell in row):
            assert cell.text == cell.printed or cell.notes, f"{self.name}: {cell.text} differs without a footnote"

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Return the footnotes in the order of the cells; they are numbered from 1."""
        return tuple(dict.fromkeys(note for row in self.rows for cell in row for note in cell.notes))

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the distinct sources of all cells, in their order."""
        return tuple(dict.fromkeys(cell.source for row in self.rows for cell in row if cell.source))

    @property
    def address(self) -> str:
        """Return the table's name in permalinks."""
        return f"published-{self.name}"

    @cached_property
    def row_names(self) -> tuple[str, ...]:
        """Return a unique name per row: its first cell, or several cells where the first is not unique."""
        for length in range(1, len(self.header) + 1):
            names = tuple(" ".join(cell.text for cell in row[:length]) for row in self.rows)
            if len(set(names)) == len(names):
                return names
        return tuple(str(place) for place in range(1, len(self.rows) + 1))

    @property
    def table(self) -> Table:
        """Return the table with links, marks of footnotes, and addresses of the cells that quote something."""
        columns = tuple(self._column(place) for place in range(len(self.header)))
        rows = tuple(self._row(row, name) for row, name in zip(self.rows, self.row_names, strict=True))
        notes = [f"{number} {note}" for number, note in enumerate(self.notes, start=1)]
        return Table(f"Published: {self.title}", columns, rows, (*notes, *self.remarks), self.address)

    def section(self) -> str:
        """Return the table as Markdown with its split, sources, footnotes, remarks and sampling errors."""
        split = f"Split: {escape(self.split)}. " if self.split else ""
        parts = [self.table.to_markdown(), f"{split}Source: {escape('; '.join(self.sources))}. {QUOTED}"]
        parts += [f"{raised(number)} {escape(note)}" for number, note in enumerate(self.notes, start=1)]
        parts += map(escape, self.remarks)
        if any(cell.sampling_error is not None for row in self.rows for cell in row):
            parts += [ERRORS, self._errors().to_markdown()]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
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

    def cell_address(self, row_name: str, place: int) -> str:
        """Return the permalink name of the cell at `place` of a row."""
        return f"{self.address}/{row_name}/{self.header[place]}"

    def _column(self, place: int) -> Column:
        name = self.header[place]
        is_number = place > 0 and any(row[place].value is not None for row in self.rows)
        tags = {"task": name} if name in (SCORE, *COLUMN_ORDER) else {}
        return Column(name, ENGLISH.get(name, ""), is_number, tags)

    def _row(self, row: Sequence[PublishedCell], name: str) -> Row:
        cells = []
        for place, cell in enumerate(row):
            address = self.cell_address(name, place) if place and cell.source and not cell.links else ""
            mark = " ".join(str(self.notes.index(note) + 1) for note in cell.notes)
            cells.append(Cell(cell.text, cell.value, mark, cell.is_best, cell.links, address=address))
        texts = [row[0].text, *(cell.text for cell in row[1:] if cell.value is None)]
        return Row(tuple(cells), search=" ".join([*texts, *dict.fromkeys(c.source for c in row if c.source)]))

    def _errors(self) -> Table:
        """Return the sampling errors as a separate table, so that the published layout stays as it is."""
        places = [p for p in range(1, len(self.header)) if any(row[p].sampling_error is not None for row in self.rows)]
        rows = [[row[0].text, *(error_text(row[place].sampling_error) for place in places)] for row in self.rows]
        return make_table("", [self.header[place] for place in (0, *places)], rows)


def published_tables(folder: Path) -> tuple[PublishedTable, ...]:
    """Return every published table from `folder`.

    Raises ClueBenchError that names file and line of a row that breaks a rule, or a table that lacks or repeats a cell.
    """
    scores, facts = read_published(folder), read_facts(folder / "tables")
    return tuple(make_published_table(layout, scores, facts) for layout in read_layouts(folder))


def read_layouts(folder: Path) -> list[Layout]:
    """Read the layouts of the published tables. Raises ClueBenchError that names the file and its mistake."""
    path = folder / LAYOUTS
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return pydantic.TypeAdapter(dict[str, list[Layout]]).validate_python(values)["tables"]
    except (OSError, ValueError, KeyError) as error:
        raise ClueBenchError(f"{path}: {error}", _FIX) from error


def make_published_table(layout: Layout, scores: Sequence[PublishedScore], facts: Facts) -> PublishedTable:
    """Make the table of `layout`.

    Raises ClueBenchError if `scores` lack it, quote a cell twice, mix two splits, or hold a task without a column, or
    if a fact or the cell of a footnote is missing.
    """
    quoted = [score for score in scores if layout.holds(score)]
    split = _one_split(quoted, layout) if layout.scores else ""
    by_model = _by_model(quoted, layout) if layout.scores else {row: {} for row in facts.tables[layout.facts]}
    rows = {}
    for model, tasks in by_model.items():
        cells = {column: _cell(column, model, tasks, layout, facts) for column in layout.columns}
        if layout.mean:
            parts = [cells[column].sampling_error for column in layout.scores if column != layout.mean]
            cells[layout.mean] = replace(cells[layout.mean], sampling_error=error_of_mean(parts))
        rows[model] = cells
    for note in layout.footnotes:
        for row, column in note.cells:
            if column not in rows.get(row, {}):
                raise ClueBenchError(f"{LAYOUTS}, {layout.title}: no cell {column} of {row}", "fix the footnote")
            cell = rows[row][column]
            text = cell.text if note.shown is None else note.shown
            rows[row][column] = _numbered(replace(cell, text=text, notes=(*cell.notes, note.text)), column, layout)
    if layout.best:
        _mark_best(rows, layout)
    body = tuple(tuple(cells.values()) for cells in rows.values())
    header, remarks = tuple(layout.columns), tuple(layout.remarks)
    return PublishedTable(layout.name, layout.title, layout.chinese, header, body, split, remarks)


def printed_size(params: str) -> str:
    """Return the size as the source prints it, without "(sic)" and "(… computed)", which are our remarks."""
    return re.sub(r" ?\(.*\)$", "", params)


def error_text(error: Decimal | None) -> str:
    """Return `± 0.71`, or a dash."""
    return MISSING if error is None else f"± {half_up(error)}"


def _cell(column: str, row: str, tasks: Mapping[str, PublishedScore], layout: Layout, facts: Facts) -> PublishedCell:
    """Return one cell as it is printed."""
    if column in layout.scores:
        score = tasks[layout.scores[column]]
        number = Decimal(score.score.split("/")[0])
        error = sampling_error(number, scored_rows(score.task, score.split))
        found = _quoted(score.score if layout.plain else percent_text(number), score)
        return _numbered(replace(found, sampling_error=error), column, layout)
    if column in layout.links:
        links = tuple(Link(text, facts.cell(layout.facts, row, text).printed) for text in layout.links[column])
        text = " ".join(layout.links[column])
        source = facts.cell(layout.facts, row, layout.links[column][0]).source
        return PublishedCell(text, text, links=links, source=source)
    place = layout.columns.index(column)
    if column in layout.printed:
        cell = facts.cell(layout.facts, row, column)
        found = replace(_quoted(cell.printed, cell), remark="" if place == 0 else cell.note)
        return _linked(found, facts) if place == 0 else _numbered(found, column, layout)
    first = next(iter(tasks.values()), None)
    if column == SIZE and first is not None:
        return _numbered(_quoted(printed_size(first.params), first), column, layout)
    named = layout.rows.get(row, [row])
    if place >= len(named):
        raise ClueBenchError(f"{LAYOUTS}, {layout.title}: nothing says what {column} of {row} is", "fill in its row")
    if len(named) > 1 and first is not None:
        return _quoted(named[place], first)
    return _linked(PublishedCell(named[place], named[place]), facts, row)


def _quoted(text: str, quotation: Quotation) -> PublishedCell:
    return PublishedCell(text, text, source=quotation.source, remark=quotation.note)


def _linked(cell: PublishedCell, facts: Facts, model: str = "") -> PublishedCell:
    link = facts.link(model or cell.text)
    return replace(cell, links=(Link(cell.text, link),) * bool(link))


def _numbered(cell: PublishedCell, column: str, layout: Layout) -> PublishedCell:
    """Return the cell with its displayed number, if its column has numbers."""
    of_scores = PLAIN if layout.plain else PERCENT
    pattern = of_scores if column in layout.scores else layout.numbers.get(column)
    found = re.match(pattern, cell.text) if pattern else None
    return cell if found is None else replace(cell, value=Decimal(found[1]))


def _one_split(quoted: Sequence[PublishedScore], layout: Layout) -> str:
    splits = sorted({score.split for score in quoted})
    if len(splits) != 1:
        raise ClueBenchError(
            f"published table of {layout.title}, {layout.source}: expected one split, found {splits or 'no row'}",
            _FIX,
        )
    return splits[0]


def _by_model(quoted: Sequence[PublishedScore], layout: Layout) -> dict[str, dict[str, PublishedScore]]:
    """Return model → task → score. Raises ClueBenchError if a task has no column, is quoted twice, or is missing."""
    table: dict[str, dict[str, PublishedScore]] = {}
    for score in quoted:
        tasks = table.setdefault(score.model, {})
        if score.task not in (*layout.scores.values(), *layout.left_out):
            raise ClueBenchError(f"published table of {layout.title}: no column for {score.task} ({score.model})", _FIX)
        if score.task in tasks:
            raise ClueBenchError(
                f"published table of {layout.title}: two scores for {score.model} on {score.task}", _FIX
            )
        tasks[score.task] = score
    for model, tasks in table.items():
        if missing := [task for task in layout.scores.values() if task not in tasks]:
            raise ClueBenchError(f"published table of {layout.title}: {model} lacks {', '.join(missing)}", _FIX)
    return table


def _mark_best(rows: Mapping[str, dict[str, PublishedCell]], layout: Layout) -> None:
    """Mark the best of each column of scores, including ties."""
    for column in layout.scores:
        best = max(cells[column].value or Decimal(0) for cells in rows.values())
        for cells in rows.values():
            cells[column] = replace(cells[column], is_best=cells[column].value == best)


def _cell_json(cell: PublishedCell, notes: Sequence[str]) -> dict[str, Any]:
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
