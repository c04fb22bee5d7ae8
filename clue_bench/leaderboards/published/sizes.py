"""Printed and counted sizes of the published models.

Input: published scores and what else is printed. Output: the cell of a model's parameter count. A printed size that
its configuration contradicts gives way to the counted one, and a footnote says which table prints what.
"""

import re
from collections.abc import Iterable
from decimal import Decimal

from clue_bench.leaderboards.published.printed import GOOGLE, Printed, Shape, size_agrees, size_text
from clue_bench.leaderboards.published.quoted import QuotedCell
from clue_bench.leaderboards.published.read import PublishedScore, Quotation

CARD = "CLUEbenchmark/CLUEPretrainedModels README (2020-05)"

NOTE_TABLES = {
    "small table": ("small models",),
    "large table": ("large models",),
    "small+large tables": ("small models", "large models"),
    "pair table": ("pair models",),
}
"""How the note of a score of CLUEPretrainedModels starts → the tables that print it."""


def printed_size(params: str) -> str:
    """Return the size as the source prints it: "(sic)" and "(… computed)" are remarks of the quotation."""
    return re.sub(r" ?\(.*\)$", "", params)


class Sizes:
    """The sizes that CLUEPretrainedModels prints, by model and vocabulary, and the shapes to count them from."""

    def __init__(self, scores: Iterable[PublishedScore], printed: Printed) -> None:
        self._printed = printed
        self._places: dict[tuple[str, str], dict[str, list[str]]] = {}
        for score in scores:
            if score.source == CARD:
                for table in NOTE_TABLES.get(score.note.split(";")[0], ()):
                    self._add(self._key(score.model, None), printed_size(score.params), table)
        for row in printed.tables["speed"]:
            model, vocabulary = row.rsplit(" ", 1)
            size = printed.cell("speed", row, "参数量").printed
            self._add((model, vocabulary), printed_size(size), "speed")
        for model in printed.tables["models"]:
            self._add(self._key(model, None), printed.cell("models", model, "参数量").printed, "model list")

    def cell(self, model: str, size: str, quotation: Quotation, vocabulary: str | None = None) -> QuotedCell:
        """Return the cell for a size printed beside `model`: as printed, or counted where that contradicts it."""
        shape = self._printed.shape(model, vocabulary)
        text = size
        notes: tuple[str, ...] = ()
        if shape is not None and not size_agrees(size, shape.parameters):
            text, notes = size_text(shape.parameters), (self._note(shape),)
        found = re.fullmatch(r"([0-9.]+)M", text)
        value = Decimal(found[1]) if found else None
        return QuotedCell(text, size, notes, value=value, source=quotation.source, remark=quotation.note)

    def _note(self, shape: Shape) -> str:
        """Return which tables print which size of a model, and what is counted."""
        printed = ", ".join(
            f"{size} ({', '.join(tables)})" for size, tables in self._places[shape.model, shape.vocabulary].items()
        )
        return (
            f"{shape.model}: the source prints {printed}; {shape.layers} layers, {shape.hidden_size} wide, over "
            f"{shape.vocab_size} tokens have {shape.parameters:,} parameters, counted with pooler and without a "
            "language-model head."
        )

    def _key(self, model: str, vocabulary: str | None) -> tuple[str, str]:
        shape = self._printed.shape(model, vocabulary)
        return model, (GOOGLE if shape is None else shape.vocabulary)

    def _add(self, key: tuple[str, str], size: str, table: str) -> None:
        tables = self._places.setdefault(key, {}).setdefault(size, [])
        if table not in tables:
            tables.append(table)
