"""Published scores and facts, quoted from public sources, a source per line, never mixed with measured ones.

Input: a folder of CSV files of scores, and `tables/` in it with the other facts that the cards print. Output: every
line, in file and line order. A line that breaks a rule is an error that names file and line; none is skipped. Cells
stay text, as the source prints them.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from clue_bench.errors import ClueBenchError

FACTS = ("speed", "models", "vocabulary", "pairs", "links")
"""Names of the files in `tables/` with printed cells."""

# 67.57, 74.22/91.88 (exact match / F1), 56.8 (0.4) (mean and sd), and the one table of training speeds.
_SCORE = (
    r"(?:[0-9]+(?:\.[0-9]+)?(?:/[0-9]+(?:\.[0-9]+)?)?(?: \([0-9]+(?:\.[0-9]+)?\))?"
    r"|1k steps/[0-9]+s(?: \(\+[0-9.]+%\))?|)"
)


class Quotation(pydantic.BaseModel):
    """A line of a file of quoted facts: its source, and conditions or contradictions in `note`."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    source: str = pydantic.Field(min_length=1)
    note: str

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _plain_line(cls, text: Any) -> Any:
        if isinstance(text, str) and (text != text.strip() or "\n" in text or "\r" in text):
            raise ValueError("expected one line without blanks around it")
        return text


AnyQuotation = TypeVar("AnyQuotation", bound=Quotation)


class PublishedScore(Quotation):
    """One quoted score. `score` is the source's text; empty only if `task` is "-": released without any score."""

    model: str = pydantic.Field(min_length=1)
    params: str
    task: str = pydantic.Field(min_length=1)
    split: str = pydantic.Field(min_length=1)
    score: str = pydantic.Field(pattern=f"^{_SCORE}$")

    @pydantic.model_validator(mode="after")
    def _score_where_there_is_a_task(self) -> "PublishedScore":
        if (self.score == "") != (self.task == "-"):
            raise ValueError('expected a score, or task "-" and no score')
        return self


class PrintedCell(Quotation):
    """One cell of a table that is not a score: its row and column, and the printed text."""

    row: str = pydantic.Field(min_length=1)
    column: str = pydantic.Field(min_length=1)
    printed: str = pydantic.Field(min_length=1)


@dataclass(frozen=True)
class Facts:
    """All printed cells that are not scores, by file, row and column."""

    tables: Mapping[str, Mapping[str, Mapping[str, PrintedCell]]]

    def cell(self, table: str, row: str, column: str) -> PrintedCell:
        """Return one cell. Raises ClueBenchError if there is none."""
        found = self.tables[table].get(row, {}).get(column)
        if found is None:
            raise ClueBenchError(f"published table {table}: no cell {column} of {row}", f"restore {table}.csv")
        return found

    def link(self, model: str) -> str:
        """Return a link to a model: its page on the hub, else its authors' repository, else ""."""
        for table, column in (("models", "Hugging Face"), ("links", "link")):
            found = self.tables[table].get(model, {}).get(column)
            if found is not None:
                return found.printed
        return ""


def read_published(folder: Path) -> list[PublishedScore]:
    """Read every score of every CSV file in `folder`, in the order of file names and lines.

    Raises ClueBenchError if there is no CSV file, or for the first row that breaks a rule, with its file and line.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise ClueBenchError(f"{folder}: no CSV file of published scores", "give the folder leaderboards/published")
    return [score for path in paths for score in read_quotations(path, PublishedScore)]


def read_facts(folder: Path) -> Facts:
    """Read the facts in `folder`. Raises ClueBenchError that names file and line, or a cell that is quoted twice."""
    tables: dict[str, dict[str, dict[str, PrintedCell]]] = {}
    for name in FACTS:
        cells = list(read_quotations(folder / f"{name}.csv", PrintedCell))
        for place, times in Counter((cell.row, cell.column) for cell in cells).items():
            if times > 1:
                raise ClueBenchError(f"{folder / name}.csv: two cells for {' × '.join(place)}", "remove one")
        rows = tables[name] = {}
        for cell in cells:
            rows.setdefault(cell.row, {})[cell.column] = cell
    return Facts(tables)


def read_quotations(path: Path, kind: type[AnyQuotation]) -> Iterator[AnyQuotation]:
    """Yield the rows of one CSV file, whose columns are the fields of `kind`, with `source` and `note` last.

    Raises ClueBenchError that names file and line.
    """
    shared = list(Quotation.model_fields)
    header = [name for name in kind.model_fields if name not in shared] + shared
    seen: dict[AnyQuotation, int] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            found = next(lines, [])
            if found != header:
                columns = f"expected the columns {','.join(header)}, found {','.join(found)}"
                raise ClueBenchError(f"{path}: line 1: {columns}", "restore the header")
            for values in lines:
                row = _parse(values, header, kind, f"{path}: line {lines.line_num}")
                if row in seen:
                    raise ClueBenchError(f"{path}: line {lines.line_num} repeats line {seen[row]}", "remove one")
                seen[row] = lines.line_num
                yield row
    except FileNotFoundError as error:
        raise ClueBenchError(f"{path}: no such file", "restore leaderboards/published") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ClueBenchError(f"{path}: not a CSV file in UTF-8: {error}", "fix or restore the file") from error


def _parse(values: list[str], header: list[str], kind: type[AnyQuotation], where: str) -> AnyQuotation:
    """Return one row. Raises ClueBenchError starting with `where`."""
    if len(values) != len(header):
        raise ClueBenchError(f"{where}: expected {len(header)} values, found {len(values)}", "quote values with commas")
    try:
        return kind.model_validate(dict(zip(header, values, strict=True)))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the row"
        message = first["msg"].removeprefix("Value error, ")
        raise ClueBenchError(f"{where}: {key}: {message}", "fix the line, and give every row its source") from error
