"""Layouts of the published tables of scores: small, large and pair models, CLUE v1, effect of corpus and vocabulary.

Input: published scores, and what is printed besides them. Output: `QuotedTable`s. Score is the mean of the columns
shown, computed; arrows are computed; a footnote says where the source prints another number, here or elsewhere.

A column takes one task, and a table one split: scores on TNEWS with keywords, which are 9 to 10 points easier, or on
dev cannot slip into a table of CLUE's test scores.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.arrows import points_change
from clue_bench.leaderboards.published.printed import Printed
from clue_bench.leaderboards.published.quoted import Link, QuotedCell, QuotedTable
from clue_bench.leaderboards.published.read import PublishedScore
from clue_bench.leaderboards.published.remarks import score_remarks
from clue_bench.leaderboards.published.sizes import CARD, NOTE_TABLES, Sizes, printed_size
from clue_bench.leaderboards.sampling import error_of_mean, sampling_error, scored_rows
from clue_bench.leaderboards.scores import MISSING, SCORE_COLUMNS, mean_of, percent_text

FOUR = dict(zip(("AFQMC", "TNEWS", "IFLYTEK", "CMNLI"), SCORE_COLUMNS, strict=True))
"""Task in the CSV → column in the table."""

V1_SOURCE = "CLUEbenchmark/CLUE README, 分类任务(v1)"
PLACES = {CARD: "CLUEPretrainedModels", V1_SOURCE: "CLUE README v1"}
"""Sources that print scores of one leaderboard, so that two numbers for one cell are a contradiction → short name."""
CORPUS_SOURCE = "CLUEbenchmark/CLUECorpus2020 README"


@dataclass(frozen=True)
class ScoreLayout:
    """A table `模型 | Score | 参数 | columns`: where its scores are printed, and how its rows are named."""

    name: str
    title: str
    source: str
    columns: Mapping[str, str]
    mean: str  # the task that the printed Score goes by
    in_table: str = ""  # its name in NOTE_TABLES, where one source prints several tables
    names: Mapping[str, str] | None = None  # model → shown name, where they differ
    bold: bool = True
    has_pairs: bool = False  # a -pair model is held against its -clue model

    def holds(self, score: PublishedScore) -> bool:
        """Whether the source prints `score` in this table."""
        tables = NOTE_TABLES.get(score.note.split(";")[0], ()) if self.in_table else ("",)
        return score.source == self.source and score.task != "-" and self.in_table in tables


BASELINE = {"BERT-base": "BERT-base (baseline)"}
SMALL = ScoreLayout("small-models", "small models", CARD, FOUR, "Score(4)", "small models", BASELINE)
LARGE = ScoreLayout(
    "large-models",
    "large models",
    CARD,
    FOUR,
    "Score(4)",
    "large models",
    {**BASELINE, "RoBERTa-wwm-ext-large": "RoBERTa-wwm-large"},
)
PAIRS = ScoreLayout(
    "pair-models",
    "pair models",
    CARD,
    {"AFQMC": "AFQMC"},
    "Score(1)",
    "pair models",
    bold=False,
    has_pairs=True,
)
V1 = ScoreLayout(
    "clue-v1",
    "CLUE v1, six tasks",
    V1_SOURCE,
    {**FOUR, "CLUEWSC2020": "CLUEWSC2020", "CSL": "CSL"},
    "Score(6)",
)


def score_table(layout: ScoreLayout, scores: Sequence[PublishedScore], printed: Printed) -> QuotedTable:
    """Return the table of `layout`, models in the order of the source.

    Raises ClueBenchError if `scores` lack it, quote a cell twice, mix two splits, or hold a task without a column.
    """
    quoted = [score for score in scores if layout.holds(score)]
    split = _one_split(quoted, layout)
    by_model = _by_model(quoted, layout)
    sizes = Sizes(scores, printed)
    rows = []
    for model, tasks in by_model.items():
        notes = _contradictions([tasks[task] for task in layout.columns], scores)
        cells = {column: _score_cell(tasks[task], notes.get(task, ())) for task, column in layout.columns.items()}
        first = next(iter(tasks.values()))
        name = (layout.names or {}).get(model, model)
        link = printed.link(model)
        size = printed_size(first.params)
        # Sizes of CLUE's own README agree among its tables as far as shapes are known: they stand as printed.
        parameters = (
            sizes.cell(model, size, first)
            if layout.source == CARD
            else QuotedCell(size, size, source=first.source, remark=first.note)
        )
        mean = _mean_cell(layout, name, cells, tasks, printed, by_model)
        rows.append((QuotedCell(name, name, links=(Link(name, link),) * bool(link)), mean, parameters, *cells.values()))
    header = ("模型", "Score", "参数", *layout.columns.values())
    table = QuotedTable(layout.name, layout.title, header, _bold(rows) if layout.bold else tuple(rows), split)
    return replace(table, remarks=score_remarks(table, scores, has_pairs=layout.has_pairs))


def corpus_table(scores: Sequence[PublishedScore]) -> QuotedTable:
    """Return the table of the effect of corpus and vocabulary on BERT-base. Raises ClueBenchError as `score_table`."""
    name, title = "corpus-and-vocabulary", "effect of corpus and vocabulary (CLUECorpus2020)"
    layout = ScoreLayout(name, title, CORPUS_SOURCE, FOUR, "AVG(4)")
    quoted = [score for score in scores if layout.holds(score)]
    split = _one_split(quoted, layout)
    rows = []
    for model, tasks in _by_model(quoted, layout).items():
        cells = {column: _score_cell(tasks[task]) for task, column in FOUR.items()}
        first = next(iter(tasks.values()))
        conditions = [QuotedCell(text, text, source=first.source, remark=first.note) for text in _conditions(model)]
        rows.append((*conditions, *cells.values(), _mean_cell(layout, model, cells, tasks, None, {})))
    header = ("Model", "Vocab", "Data", "Steps", *FOUR.values(), "AVG")
    remark = "The source does not say on which split: there is no sampling error, and no other table is comparable."
    return QuotedTable(name, title, header, tuple(rows), split, (remark,))


def _conditions(model: str) -> tuple[str, str, str, str]:
    """Return model, vocabulary, data and steps as the source's table prints them. Raises ClueBenchError."""
    found = re.fullmatch(r"BERT-base(-mm)? vocab=(\w+) data=(\w+)\((\d+)GB\) (\d+K)", model)
    if found is None:
        raise ClueBenchError(f"published scores of {CORPUS_SOURCE}: {model} is not a model, vocabulary, data and steps")
    suffix, vocabulary, data, gigabytes, steps = found.groups()
    return "BERT-base mm" if suffix else "BERT-base", vocabulary, f"{data} ({gigabytes} GB)", steps


def _one_split(quoted: Sequence[PublishedScore], layout: ScoreLayout) -> str:
    splits = sorted({score.split for score in quoted})
    if len(splits) != 1:
        raise ClueBenchError(
            f"published table of {layout.title}, {layout.source}: expected one split, found {splits or 'no row'}",
            "restore leaderboards/published",
        )
    return splits[0]


def _by_model(quoted: Sequence[PublishedScore], layout: ScoreLayout) -> dict[str, dict[str, PublishedScore]]:
    """Return model → task → score. Raises ClueBenchError for a task without a column, quoted twice, or missing."""
    table: dict[str, dict[str, PublishedScore]] = {}
    for score in quoted:
        tasks = table.setdefault(score.model, {})
        if score.task not in (*layout.columns, layout.mean):
            raise ClueBenchError(f"published table of {layout.title}: no column for {score.task} ({score.model})")
        if score.task in tasks:
            raise ClueBenchError(f"published table of {layout.title}: two scores for {score.model} on {score.task}")
        tasks[score.task] = score
    for model, tasks in table.items():
        if missing := [task for task in layout.columns if task not in tasks]:
            raise ClueBenchError(f"published table of {layout.title}: {model} lacks {', '.join(missing)}")
    return table


def _score_cell(score: PublishedScore, notes: tuple[str, ...] = ()) -> QuotedCell:
    """Return the cell of one task."""
    percent = Decimal(score.score)
    text = percent_text(percent)
    error = sampling_error(percent, scored_rows(score.task, score.split))
    return QuotedCell(text, text, notes, (), False, percent, error, score.source, score.note)


def _contradictions(own: Sequence[PublishedScore], scores: Sequence[PublishedScore]) -> dict[str, tuple[str, ...]]:
    """Return task → footnotes, where another table prints another score of the same model and split."""
    by_task = {score.task: score for score in own}
    others: dict[str, list[PublishedScore]] = {}
    for other in scores:
        here = by_task.get(other.task)
        if here is None or other.source not in PLACES or here.source not in PLACES:
            continue
        if (other.model, other.split) == (here.model, here.split) and Decimal(other.score) != Decimal(here.score):
            others.setdefault(_place(other), []).append(other)
    notes: dict[str, tuple[str, ...]] = {}
    for place, found in others.items():
        there = ", ".join(f"{other.task} {other.score}%" for other in found)
        here_text = ", ".join(f"{by_task[other.task].score}%" for other in found)
        note = f"{own[0].model}: {place} prints {there} on the same split; here it is {here_text}."
        for other in found:
            notes[other.task] = (*notes.get(other.task, ()), note)
    return notes


def _place(score: PublishedScore) -> str:
    """Return source and table of a score."""
    return ", ".join([PLACES[score.source], *NOTE_TABLES.get(score.note.split(";")[0], ())])


def _mean_cell(
    layout: ScoreLayout,
    name: str,
    cells: Mapping[str, QuotedCell],
    tasks: Mapping[str, PublishedScore],
    printed: Printed | None,
    by_model: Mapping[str, Mapping[str, PublishedScore]],
) -> QuotedCell:
    """Return the mean of the cells, in pair tables with its arrow, and a footnote where another one is printed."""
    values = {column: cell.value for column, cell in cells.items() if cell.value is not None}
    mean = mean_of(values, layout.columns.values())
    assert mean is not None
    shown, source, remark = percent_text(mean), next(iter(cells.values())).source, ""
    if layout.has_pairs and printed is not None:
        base = by_model.get(name.removesuffix("-pair") + "-clue", {}) if name.endswith("-pair") else {}
        shown += points_change(mean, Decimal(base["AFQMC"].score)) if base else ""
        quotation = printed.cell("pairs", name, "Score")
        said, source, remark = quotation.printed, quotation.source, quotation.note
    else:
        said = percent_text(Decimal(tasks[layout.mean].score)) if layout.mean in tasks else MISSING
        remark = tasks[layout.mean].note if layout.mean in tasks else ""
    note = f"{name}: the source prints {said}; the mean of its columns is {shown}."
    error = error_of_mean([cell.sampling_error for cell in cells.values()])
    return QuotedCell(shown, said, (note,) * (shown != said), (), False, mean, error, source, remark)


def _bold(rows: Sequence[tuple[QuotedCell, ...]]) -> tuple[tuple[QuotedCell, ...], ...]:
    """Return the rows with the best of each column of scores marked, ties too. Sizes (place 2) do not compete."""
    places = [place for place in range(len(rows[0])) if place not in (0, 2)]
    best = {place: max(value for row in rows if (value := row[place].value) is not None) for place in places}
    return tuple(
        tuple(
            replace(cell, is_best=True) if place in best and cell.value == best[place] else cell
            for place, cell in enumerate(row)
        )
        for row in rows
    )
