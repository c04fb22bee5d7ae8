"""Published scores: quoted from public sources, a source per row, never mixed with measured ones.

Enters: a folder of CSV files with the columns of `PublishedScore`. Leaves: every row, in file and line order, and from
them the published small-model table. A row that breaks a rule is an error naming file and line; none is skipped.
Scores stay text, so that what is shown is what the source prints.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pydantic

from clue_bench.board.scores import SCORE_COLUMNS
from clue_bench.errors import ClueBenchError

SMALL_MODELS_SOURCE = "CLUEbenchmark/CLUEPretrainedModels README (2020-05)"
SMALL_TABLE_NOTES = ("small table", "small+large tables")
"""How a row's note starts if the source prints it in its small-model table."""

PUBLISHED_COLUMNS = dict(zip(("AFQMC", "TNEWS", "IFLYTEK", "CMNLI"), SCORE_COLUMNS, strict=True))
"""Task in the CSV → column in the table."""

PRINTED_SCORE = "Score(4)"
BASELINE = "BERT-base"

# 67.57, 74.22/91.88 (exact match / F1), 56.8 (0.4) (mean and sd), and the one table of training speeds.
_SCORE = (
    r"(?:[0-9]+(?:\.[0-9]+)?(?:/[0-9]+(?:\.[0-9]+)?)?(?: \([0-9]+(?:\.[0-9]+)?\))?"
    r"|1k steps/[0-9]+s(?: \(\+[0-9.]+%\))?|)"
)


class PublishedScore(pydantic.BaseModel):
    """One quoted score. `score` is the source's text; empty only where `task` is "-": released, nothing published."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str = pydantic.Field(min_length=1)
    params: str
    task: str = pydantic.Field(min_length=1)
    split: str = pydantic.Field(min_length=1)
    score: str = pydantic.Field(pattern=f"^{_SCORE}$")
    source: str = pydantic.Field(min_length=1)
    note: str

    @pydantic.field_validator("*")
    @classmethod
    def _plain_line(cls, text: str) -> str:
        if text != text.strip() or "\n" in text or "\r" in text:
            raise ValueError("expected one line without blanks around it")
        return text

    @pydantic.model_validator(mode="after")
    def _score_where_there_is_a_task(self) -> "PublishedScore":
        if (self.score == "") != (self.task == "-"):
            raise ValueError('expected a score, or task "-" and no score')
        return self


@dataclass(frozen=True)
class PublishedRow:
    """One model of the published small-model table; `accuracies` are percentages by column, as printed."""

    model: str
    params: str
    accuracies: dict[str, Decimal]
    printed_score: Decimal | None


@dataclass(frozen=True)
class PublishedTable:
    """The published small-model table, with the split and the source of all its numbers."""

    split: str
    source: str
    rows: tuple[PublishedRow, ...]


def read_published(folder: Path) -> list[PublishedScore]:
    """Return every row of every CSV file in `folder`, in the order of file names and lines.

    Raises ClueBenchError if there is no CSV file, or naming file and line of the first row that breaks a rule.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise ClueBenchError(f"{folder}: no CSV file of published scores", "name the folder leaderboards/published")
    return [score for path in paths for score in _read_file(path)]


def small_models(scores: Iterable[PublishedScore]) -> PublishedTable:
    """Return the small-model table of CLUEPretrainedModels, models in the order of the source.

    Raises ClueBenchError if `scores` lack it, quote a cell twice, or mix two splits in it.
    """
    quoted = [
        score
        for score in scores
        if score.source == SMALL_MODELS_SOURCE and score.note.split(";")[0] in SMALL_TABLE_NOTES
    ]
    splits = sorted({score.split for score in quoted})
    if len(splits) != 1:
        raise ClueBenchError(
            f"published small-model table of {SMALL_MODELS_SOURCE}: expected one split, found {splits or 'no row'}",
            "restore leaderboards/published/clue_pretrained_models.csv",
        )
    names = dict.fromkeys(score.model for score in quoted)
    rows = tuple(_row([score for score in quoted if score.model == name]) for name in names)
    return PublishedTable(split=splits[0], source=SMALL_MODELS_SOURCE, rows=rows)


def _row(scores: list[PublishedScore]) -> PublishedRow:
    """Return one model's row. Raises ClueBenchError for a task quoted twice."""
    texts: dict[str, str] = {}
    for score in scores:
        if score.task in texts:
            raise ClueBenchError(f"published small-model table: two scores for {score.model} on {score.task}")
        texts[score.task] = score.score
    first = scores[0]
    printed = texts.get(PRINTED_SCORE)
    return PublishedRow(
        model=f"{first.model} (baseline)" if first.model == BASELINE else first.model,
        params=first.params,
        accuracies={column: Decimal(texts[task]) for task, column in PUBLISHED_COLUMNS.items() if task in texts},
        printed_score=None if printed is None else Decimal(printed),
    )


def _read_file(path: Path) -> Iterator[PublishedScore]:
    """Yield the rows of one file. Raises ClueBenchError naming file and line."""
    header = list(PublishedScore.model_fields)
    seen: dict[PublishedScore, int] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            found = next(lines, [])
            if found != header:
                columns = f"expected the columns {','.join(header)}, found {','.join(found)}"
                raise ClueBenchError(f"{path}: line 1: {columns}", "restore the header")
            for values in lines:
                score = _parse(values, f"{path}: line {lines.line_num}")
                if score in seen:
                    raise ClueBenchError(f"{path}: line {lines.line_num} repeats line {seen[score]}", "remove one")
                seen[score] = lines.line_num
                yield score
    except (csv.Error, UnicodeDecodeError) as error:
        raise ClueBenchError(f"{path}: not a CSV file in UTF-8: {error}", "mend or restore the file") from error


def _parse(values: list[str], where: str) -> PublishedScore:
    """Return one row. Raises ClueBenchError starting with `where`."""
    header = list(PublishedScore.model_fields)
    if len(values) != len(header):
        raise ClueBenchError(f"{where}: expected {len(header)} values, found {len(values)}", "quote values with commas")
    try:
        return PublishedScore.model_validate(dict(zip(header, values, strict=True)))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the row"
        message = first["msg"].removeprefix("Value error, ")
        raise ClueBenchError(f"{where}: {key}: {message}", "mend the line; every score needs its source") from error
