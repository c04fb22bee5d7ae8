"""What the cards print besides scores: sizes, speeds, counts, links; and the shapes that sizes can be counted from.

Input: the folder `tables` beside the published scores. Output: a `Printed`. Cells stay text, as the source prints
them: what a table shows is computed from them, and they are what it is held against.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pydantic

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.published.read import Quotation, read_quotations
from clue_bench.leaderboards.scores import half_up
from clue_bench.models.config import ModelConfig, count_parameters

GOOGLE, CLUE = "google_vocab", "clue_vocab"
TABLES = ("speed", "models", "vocabulary", "pairs", "links")

_SIZE = re.compile(r"(<?)([0-9]+(?:\.([0-9]+))?)M")


class PrintedCell(Quotation):
    """One cell of a table that is no score: the table's row and column, and the text that stands there."""

    row: str = pydantic.Field(min_length=1)
    column: str = pydantic.Field(min_length=1)
    printed: str = pydantic.Field(min_length=1)


class Shape(Quotation):
    """The widths of a BERT: layers, units, heads, tokens."""

    model: str = pydantic.Field(min_length=1)
    vocabulary: str = pydantic.Field(pattern=f"^({GOOGLE}|{CLUE})$")
    layers: pydantic.PositiveInt
    hidden_size: pydantic.PositiveInt
    heads: pydantic.PositiveInt
    feed_forward_size: pydantic.PositiveInt
    vocab_size: pydantic.PositiveInt

    @property
    def parameters(self) -> int:
        """Counted parameters: with pooler, without a language-model head."""
        return count_parameters(
            ModelConfig(
                vocab_size=self.vocab_size,
                layers=self.layers,
                hidden_size=self.hidden_size,
                heads=self.heads,
                feed_forward_size=self.feed_forward_size,
            )
        )


@dataclass(frozen=True)
class Printed:
    """All printed cells by table, row and column, and the known shapes."""

    tables: Mapping[str, Mapping[str, Mapping[str, PrintedCell]]]
    shapes: tuple[Shape, ...]

    def cell(self, table: str, row: str, column: str) -> PrintedCell:
        """Return one cell. Raises ClueBenchError if there is none."""
        found = self.tables[table].get(row, {}).get(column)
        if found is None:
            raise ClueBenchError(f"published table {table}: no cell {column} of {row}", f"restore {table}.csv")
        return found

    def shape(self, model: str, vocabulary: str | None = None) -> Shape | None:
        """Return the shape of a model, with its first vocabulary unless one is named; None if it is not known."""
        fitting = (s for s in self.shapes if s.model == model and vocabulary in (None, s.vocabulary))
        return next(fitting, None)

    def link(self, model: str) -> str:
        """Return where a model is to be found: its page on the hub, else its authors' repository, else ""."""
        for table, column in (("models", "Hugging Face"), ("links", "link")):
            found = self.tables[table].get(model, {}).get(column)
            if found is not None:
                return found.printed
        return ""


def read_printed(folder: Path) -> Printed:
    """Return what `folder` holds. Raises ClueBenchError naming file and line, or a cell that is quoted twice."""
    tables: dict[str, dict[str, dict[str, PrintedCell]]] = {}
    for name in TABLES:
        cells = list(read_quotations(folder / f"{name}.csv", PrintedCell))
        for place, times in Counter((cell.row, cell.column) for cell in cells).items():
            if times > 1:
                raise ClueBenchError(f"{folder / name}.csv: two cells for {' × '.join(place)}", "remove one")
        rows = tables[name] = {}
        for cell in cells:
            rows.setdefault(cell.row, {})[cell.column] = cell
    return Printed(tables, tuple(read_quotations(folder / "shapes.csv", Shape)))


def size_agrees(printed: str, parameters: int) -> bool:
    """Whether a printed size such as `7.5M` or `<7.5M` is right to one unit of its last digit.

    One unit, not half: 325M for 325.52 is a truncation and 7.5M for 7.45 a rounding, neither a contradiction.
    """
    found = _SIZE.fullmatch(printed)
    if found is None:
        return False
    bound, number, decimals = found.groups()
    millions = Decimal(parameters).scaleb(-6)
    if bound:
        return millions < Decimal(number)
    return abs(millions - Decimal(number)) <= Decimal(1).scaleb(-len(decimals or ""))


def size_text(parameters: int) -> str:
    """Return a counted size in three significant digits: 312M, 28.4M, 7.45M."""
    millions = Decimal(parameters).scaleb(-6)
    places = max(0, 2 - millions.adjusted())
    return f"{half_up(millions, places=places)}M"
