"""Compare each measured model with its published counterpart.

Input: measured tables on CLUE, and the folder of published scores with `tables/counterparts.csv`, which lists the
counterparts. Output: a `PublishedComparison`: the differences, whether each is within the noise of both scores, and the
obstacles to comparing the two. If there are obstacles, there is no verdict.
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
from clue_bench.leaderboards.cells import CLUE, MeasuredCell, MeasuredModel, MeasuredTable, cell_address
from clue_bench.leaderboards.published.facts import PublishedScore, Quotation, read_published, read_quotations
from clue_bench.leaderboards.scores import SPLIT, half_up, percent_text, sampling_error, scored_rows
from clue_bench.stats.significance import LEVEL, t_quantile
from clue_bench.tables import MISSING, Cell, Column, Row, Table, escape, raised

TITLE = "Measured against published"
KEYWORDS = "TNEWS(+keywords)"
OWNERS = ("uer", "clue")
"""Who released the models of counterparts.csv on the hub; a model's name begins with its owner."""

INSIDE, OUTSIDE, NOT_COMPARABLE = "inside noise", "outside noise", "not comparable"
NOT_DECIDABLE = "not decidable: one seed"
ADDRESS = "against-published"
COLUMNS = (
    Column("模型", "model"),
    Column("Published as", "对应的已发表模型"),
    Column("Task", "任务"),
    Column(f"Here ({SPLIT})", "这里", True),
    Column("There", "那里", True),
    Column("Difference", "差", True),
    Column("Noise", "噪声", True),
    Column("Verdict", "结论", is_words=True),
)
CHINESE = {INSIDE: "在噪声内", OUTSIDE: "超出噪声", NOT_COMPARABLE: "不可比", NOT_DECIDABLE: "无法判断"}
NOISE_NOTE = (
    "Difference: here minus there, in points. Noise, 95 %: ± t × √(s² (1 + 1/n) + e² + e′²); s is the sd over the n "
    "seeds here, taken for the published run too, e and e′ are the sampling errors of the two scores, and t is "
    "Student's with Satterthwaite's degrees of freedom. With one seed, s is not known: what lies outside the rest of "
    "the noise is not decidable. The noise is unpaired, since published predictions are not to be had: on the same "
    "rows, the true one is smaller as a rule. Choosing is not in it: here, the best of a run's evaluations is shown, "
    "and a published score may be the best of several settings, which flatters it. A counterpart is found by "
    "what the model is: its recipe or release, and its number of parameters."
)


class Counterpart(Quotation):
    """A line of counterparts.csv: what the measured model is, and the published scores of its counterpart.

    It is the recipe or release `recipe` with so many `parameters`, not another model under that name. `source` is that
    of the scores, `note` says how the two models or runs differ.
    """

    recipe: str = pydantic.Field(min_length=1)
    parameters: int
    model: str = pydantic.Field(min_length=1)
    split: str = pydantic.Field(min_length=1)


@dataclass(frozen=True)
class ComparedScore:
    """One measured cell beside one published score.

    `obstacles` rule out a verdict, `remarks` only qualify it; `about` holds for every score of the two models.
    """

    model: str
    counterpart: Counterpart
    cell: MeasuredCell
    score: PublishedScore
    noise: Decimal | None
    obstacles: tuple[str, ...]
    remarks: tuple[str, ...]
    about: str

    @property
    def difference(self) -> Decimal:
        """Return measured minus published, as displayed, in percentage points."""
        return self.cell.percent - half_up(Decimal(self.score.score))

    @property
    def verdict(self) -> str:
        """Return whether the difference is more than noise, or that this cannot be said of these two."""
        if self.obstacles or self.noise is None:
            return NOT_COMPARABLE
        if abs(self.difference) <= self.noise:
            return INSIDE
        return NOT_DECIDABLE if len(self.cell.seeds) == 1 else OUTSIDE

    @property
    def chinese(self) -> str:
        """Return the verdict in Chinese."""
        return CHINESE[self.verdict]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the differences between the two, the obstacles first."""
        return self.obstacles + self.remarks

    def to_json(self) -> dict[str, Any]:
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
class PublishedComparison:
    """Every comparison, and the measured models that have no published counterpart."""

    rows: tuple[ComparedScore, ...]
    without: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the section as plain values."""
        return {"rows": [row.to_json() for row in self.rows], "without_counterpart": list(self.without)}

    @property
    def notes(self) -> list[str]:
        """Return the obstacles to comparing, in the order of the rows; they are numbered from 1."""
        return list(dict.fromkeys(note for row in self.rows for note in row.notes))

    @property
    def table(self) -> Table:
        """Return a row per comparison, with the marks of its notes; each verdict has an address."""
        rows = tuple(self._row(row, place) for place, row in enumerate(self.rows, start=1))
        notes = [f"{number} {note}." for number, note in enumerate(self.notes, start=1)]
        without = [f"Without a published counterpart: {', '.join(self.without)}."] if self.without else []
        return Table(TITLE, COLUMNS, rows, (NOISE_NOTE, *notes, *without), ADDRESS)

    @property
    def section(self) -> str:
        """Return the section's Markdown, without its heading."""
        parts = []
        if self.rows:
            parts = [self.table.to_markdown(), NOISE_NOTE]
            parts.append("  \n".join(f"{raised(number)} {escape(note)}." for number, note in enumerate(self.notes, 1)))
            parts.append("\n".join(dict.fromkeys(f"- {escape(row.about)}" for row in self.rows)))
        if self.without:
            parts.append(f"Without a published counterpart: {escape(', '.join(self.without))}.")
        return "\n\n".join(parts)

    def _row(self, row: ComparedScore, place: int) -> Row:
        there = half_up(Decimal(row.score.score))
        marks = " ".join(map(str, sorted(self.notes.index(note) + 1 for note in row.notes)))
        cells = (
            Cell(row.model),
            Cell(row.score.model),
            Cell(row.cell.column.name),
            Cell(percent_text(row.cell.percent), row.cell.percent),
            Cell(f"{percent_text(there)}, {row.score.split}", there),
            Cell(f"{row.difference:+}", row.difference),
            Cell(MISSING if row.noise is None else f"± {row.noise}", row.noise),
            Cell(row.verdict, None, marks, below=row.chinese, address=verdict_address(row, place)),
        )
        return Row(cells, search=f"{row.model} {row.score.model} {row.score.source}")


def verdict_address(row: ComparedScore, place: int) -> str:
    """Return the permalink name of the verdict of the comparison at `place`."""
    return cell_address(ADDRESS, f"{row.model} {place}", COLUMNS[-1].name)


def read_counterparts(folder: Path, scores: Sequence[PublishedScore]) -> list[Counterpart]:
    """Read counterparts.csv. Raises ClueBenchError that names a line without a published score."""
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


def compare_with_published(tables: Iterable[MeasuredTable], folder: Path) -> PublishedComparison:
    """Compare the measured models of CLUE's tables with their counterparts; floors have and need none.

    Raises ClueBenchError that names file and line of a published row that breaks a rule.
    """
    scores = read_published(folder)
    counterparts = read_counterparts(folder, scores)
    rows: list[ComparedScore] = []
    without: dict[str, None] = {}
    for table in tables:
        for model in table.models if table.dataset == CLUE else ():
            named = [line for line in counterparts if line.recipe in _origins(model)]
            own = [line for line in named if line.parameters in model.parameters]
            if not own and not model.is_floor:
                another = " (named like a published model, but of another size)" if named else ""
                without[f"{model.label}{another}"] = None
            for line in own:
                for name in (column.name for column in table.columns if column.name in model.cells):
                    rows += _rows(model.label, line, model.cells[name], scores)
    return PublishedComparison(tuple(rows), tuple(without))


def _origins(model: MeasuredModel) -> set[str]:
    """Return the recipes or releases that a model's cells are of: one, as a rule. Owners on the hub are left out."""
    names = (cell.origin.rpartition("/")[2] for cell in model.cells.values())
    return {re.sub(rf"^({'|'.join(OWNERS)})-", "", name) for name in names}


def _rows(label: str, line: Counterpart, cell: MeasuredCell, scores: Sequence[PublishedScore]) -> list[ComparedScore]:
    """Return the cell beside each of the counterpart's scores on its task; a score printed twice is used once."""
    own: dict[tuple[str, str], PublishedScore] = {}
    for score in scores:
        is_its = (score.model, score.split, score.source) == (line.model, line.split, line.source)
        if is_its and re.sub(r"\(.*\)$", "", score.task).lower() == cell.column.task:
            own.setdefault((score.task, score.score), score)
    about = _about(label, line, cell)
    return [
        ComparedScore(label, line, cell, score, _noise(cell, score), _obstacles(cell, score), _remarks(cell), about)
        for score in own.values()
    ]


def _noise(cell: MeasuredCell, score: PublishedScore) -> Decimal | None:
    """Return the half-width of the 95 % interval of the difference of two equal models; None if rows are unknown."""
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


def _obstacles(cell: MeasuredCell, score: PublishedScore) -> tuple[str, ...]:
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


def _remarks(cell: MeasuredCell) -> tuple[str, ...]:
    """Return the remarks that qualify this score."""
    found = []
    if cell.is_majority:
        found.append("in at least one run here, (nearly) no better than always answering the most frequent class")
    if len(cell.seeds) == 1:
        found.append("one seed here: the noise is that of sampling alone, and what lies outside it is not decidable")
    return tuple(found)


def _about(label: str, line: Counterpart, cell: MeasuredCell) -> str:
    """Return how the two models differ, and where the published one's scores are printed."""
    tokens = ""
    if cell.pretraining_tokens is not None:
        millions = half_up(Decimal(cell.pretraining_tokens) / 1_000_000, places=0)
        tokens = f" (here {millions:,} million tokens of pretraining)"
    note = f": {line.note}" if line.note else ""
    return f"{label}{tokens} and {line.model}, by recipe or release and size{note}. Source: {line.source}."
