"""You and the paper: each measured model beside its published counterpart.

Input: measured tables on CLUE, and the folder of published scores with `tables/counterparts.csv`, which says what is
whose counterpart. Output: a `Paper`: the differences, whether each is within the noise of both scores, and what stands
in the way of comparing the two. Where something does, there is no verdict.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.markdown import escape, markdown_table
from clue_bench.leaderboards.measured.cells import CLUE, Cell, MeasuredTable
from clue_bench.leaderboards.published.quoted import footnote_mark
from clue_bench.leaderboards.published.read import PublishedScore, Quotation, read_published, read_quotations
from clue_bench.leaderboards.sampling import sampling_error, scored_rows
from clue_bench.leaderboards.scores import MISSING, SPLIT, half_up, percent_text
from clue_bench.stats.significance import t_quantile

TITLE = "You and the paper"
KEYWORDS = "TNEWS(+keywords)"
LEVEL = 0.95

INSIDE, OUTSIDE, NOT_COMPARABLE = "inside noise", "outside noise", "not comparable"
NOT_DECIDABLE = "not decidable: one seed"
HEADER = ("模型", "Published as", "Task", f"Here ({SPLIT})", "There", "Difference", "Noise", "Verdict")
PAPER_NOTE = (
    "Difference: here minus there, in points. Noise, 95 %: ± t × √(s² (1 + 1/n) + e² + e′²); s is the sd over the n "
    "seeds here, taken for the published run too, e and e′ are the sampling errors of the two scores, and t is "
    "Student's with Satterthwaite's degrees of freedom. With one seed, s is not known: what lies outside the rest of "
    "the noise is not decidable. The noise is unpaired, since published predictions are not to be had: on the same "
    "rows, the true one is smaller as a rule. Choosing is not in it: here, the best of a run's evaluations is shown, "
    "and a published score may be the best of several settings, which flatters it. A counterpart is found by the "
    "model's name alone."
)


class Counterpart(Quotation):
    """A line of counterparts.csv: the measured model's name, and which published scores are its counterpart's.

    `source` is that of the scores, `note` says what the two models or runs differ in.
    """

    recipe: str = pydantic.Field(min_length=1)
    model: str = pydantic.Field(min_length=1)
    split: str = pydantic.Field(min_length=1)


@dataclass(frozen=True)
class PaperRow:
    """One measured cell beside one published score.

    `obstacles` forbid a verdict, `remarks` only qualify it; `about` is what holds for every score of the two models.
    """

    model: str
    counterpart: Counterpart
    cell: Cell
    score: PublishedScore
    noise: Decimal | None
    obstacles: tuple[str, ...]
    remarks: tuple[str, ...]
    about: str

    @property
    def difference(self) -> Decimal:
        """Measured minus published, as displayed, in percentage points."""
        return self.cell.percent - half_up(Decimal(self.score.score))

    @property
    def verdict(self) -> str:
        """Whether the difference is more than noise; that nobody can say, if the two or their noise do not allow it."""
        if self.obstacles or self.noise is None:
            return NOT_COMPARABLE
        if abs(self.difference) <= self.noise:
            return INSIDE
        return NOT_DECIDABLE if len(self.cell.seeds) == 1 else OUTSIDE

    @property
    def notes(self) -> tuple[str, ...]:
        """What the two differ in, the obstacles first."""
        return self.obstacles + self.remarks

    def as_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {
            "model": self.model,
            "task": self.cell.column.task,
            "split": SPLIT,
            "data_revision": self.cell.column.revision,
            "accuracy": float(self.cell.percent),
            "seeds": len(self.cell.seeds),
            "published": {
                "model": self.score.model,
                "task": self.score.task,
                "split": self.score.split,
                "score": float(self.score.score),
                "source": self.score.source,
                "note": self.score.note,
            },
            "difference": float(self.difference),
            "noise": None if self.noise is None else float(self.noise),
            "verdict": self.verdict,
            "obstacles": list(self.obstacles),
            "remarks": list(self.remarks),
            "about": self.about,
        }


@dataclass(frozen=True)
class Paper:
    """Every comparison, and the measured models that have no published counterpart."""

    rows: tuple[PaperRow, ...]
    without: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the section as plain values."""
        return {"rows": [row.as_json() for row in self.rows], "without_counterpart": list(self.without)}


def read_counterparts(folder: Path, scores: Sequence[PublishedScore]) -> list[Counterpart]:
    """Return the lines of counterparts.csv. Raises ClueBenchError naming one that chooses no published score."""
    path = folder / "tables" / "counterparts.csv"
    found = list(read_quotations(path, Counterpart))
    known = {(score.model, score.split, score.source) for score in scores}
    for line in found:
        if (line.model, line.split, line.source) not in known:
            raise ClueBenchError(
                f"{path}: {line.recipe}: no published score of {line.model}, {line.split}, {line.source}",
                "write model, split and source as in the file of the scores",
            )
    return found


def compare_with_published(tables: Iterable[MeasuredTable], folder: Path) -> Paper:
    """Return the measured models of CLUE's tables beside their counterparts; floors have none and need none.

    Raises ClueBenchError naming file and line of a published row that breaks a rule.
    """
    scores = read_published(folder)
    counterparts = read_counterparts(folder, scores)
    rows: list[PaperRow] = []
    without: dict[str, None] = {}
    for table in tables:
        for model in table.models if table.dataset == CLUE else ():
            own = [line for line in counterparts if line.recipe == model.name.rsplit("/", 1)[-1]]
            if not own and not model.is_floor:
                without[model.label] = None
            for line in own:
                for name in (column.name for column in table.columns if column.name in model.cells):
                    rows += _rows(model.label, line, model.cells[name], scores)
    return Paper(tuple(rows), tuple(without))


def paper_section(paper: Paper) -> str:
    """Return the section's Markdown, without its heading."""
    notes = list(dict.fromkeys(note for row in paper.rows for note in row.notes))
    parts = []
    if paper.rows:
        parts = [markdown_table(HEADER, [_markdown_row(row, notes) for row in paper.rows]), PAPER_NOTE]
        parts.append("  \n".join(f"{footnote_mark(number)} {escape(note)}." for number, note in enumerate(notes, 1)))
        parts.append("\n".join(dict.fromkeys(f"- {escape(row.about)}" for row in paper.rows)))
    if paper.without:
        parts.append(f"Without a published counterpart: {escape(', '.join(paper.without))}.")
    return "\n\n".join(parts)


def _rows(label: str, line: Counterpart, cell: Cell, scores: Sequence[PublishedScore]) -> list[PaperRow]:
    """Return the cell beside each of the counterpart's scores on its task; a score printed twice stands once."""
    own: dict[tuple[str, str], PublishedScore] = {}
    for score in scores:
        is_its = (score.model, score.split, score.source) == (line.model, line.split, line.source)
        if is_its and re.sub(r"\(.*\)$", "", score.task).lower() == cell.column.task:
            own.setdefault((score.task, score.score), score)
    about = _about(label, line, cell)
    return [
        PaperRow(label, line, cell, score, _noise(cell, score), _obstacles(cell, score), _remarks(cell), about)
        for score in own.values()
    ]


def _noise(cell: Cell, score: PublishedScore) -> Decimal | None:
    """Return the half-width of the 95 % interval of a difference of two equals; None if the rows are not known."""
    is_dev = score.split.rstrip("?") == SPLIT
    rows = cell.column.dev_rows if is_dev else scored_rows(cell.column.task, score.split)
    theirs = sampling_error(Decimal(score.score), rows)
    if theirs is None:
        return None
    num_seeds = len(cell.seeds)
    seeds = (cell.deviation or Decimal(0)) ** 2 * (1 + Decimal(1) / num_seeds)
    variance = seeds + cell.sampling_error**2 + theirs**2
    freedom = float((num_seeds - 1) * (variance / seeds) ** 2) if seeds else math.inf
    return half_up(Decimal(t_quantile((1 + LEVEL) / 2, freedom)) * variance.sqrt())


def _obstacles(cell: Cell, score: PublishedScore) -> tuple[str, ...]:
    """Return why the two scores are not comparable."""
    found = []
    if score.split.endswith("?"):
        found.append("the source does not say on which split")
    elif score.split != SPLIT:
        found.append(f"{SPLIT} here, {score.split} there")
    if not cell.column.is_official:
        files = f": {cell.other_files}" if cell.other_files else ""
        found.append(f"the data of {cell.column.name} here is not the official{files}")
    if score.task == KEYWORDS:
        found.append("the published score reads TNEWS's keywords too, worth 9 to 10 points")
    return tuple(found)


def _remarks(cell: Cell) -> tuple[str, ...]:
    """Return what qualifies the score here."""
    found = []
    if cell.is_majority:
        found.append("in at least one run here, (nearly) no better than always answering the most frequent class")
    if len(cell.seeds) == 1:
        found.append("one seed here: the noise is that of sampling alone, and what lies outside it is not decidable")
    return tuple(found)


def _about(label: str, line: Counterpart, cell: Cell) -> str:
    """Return what the two models differ in, and where the published one's scores are printed."""
    tokens = ""
    if cell.pretraining_tokens is not None:
        millions = half_up(Decimal(cell.pretraining_tokens) / 1_000_000, places=0)
        tokens = f" (here {millions:,} million tokens of pretraining)"
    note = f": {line.note}" if line.note else ""
    return f"{label}{tokens} and {line.model}, by the name{note}. Source: {line.source}."


def _markdown_row(row: PaperRow, notes: Sequence[str]) -> list[str]:
    marks = " ".join(footnote_mark(number) for number in sorted(notes.index(note) + 1 for note in row.notes))
    there = percent_text(half_up(Decimal(row.score.score)))
    return [
        escape(row.model),
        escape(row.score.model),
        escape(row.cell.column.name),
        percent_text(row.cell.percent),
        f"{there}, {escape(row.score.split)}",
        f"{row.difference:+}",
        MISSING if row.noise is None else f"± {row.noise}",
        f"{row.verdict}{marks}",
    ]
