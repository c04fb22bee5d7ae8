"""The whole board: measured tables, the published tables and the runs that are in neither, as Markdown and as JSON.

Input: run records and the folder of published scores. Output: a `Leaderboard`. The same records, in any order, give
the same bytes: nothing here depends on the time, the machine or the locale. It reads the published folder and writes
nothing.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.cards import builtin_folder
from clue_bench.doors.records import RunRecord
from clue_bench.leaderboards.against_published import TITLE, PublishedComparison, compare_with_published
from clue_bench.leaderboards.cells import MeasuredCell, MeasuredModel, MeasuredTable
from clue_bench.leaderboards.measured import cell_table, cell_values, measured_section, score_table, summary_table
from clue_bench.leaderboards.published.tables import PublishedTable, published_tables
from clue_bench.leaderboards.ranks import Ranks, ranks_of
from clue_bench.leaderboards.runs import UnfinishedRun, measured_tables, unfinished_runs
from clue_bench.leaderboards.scores import SCORE_COLUMNS, SPLIT, half_up, percentage
from clue_bench.tables import Shown, Table, escape
from clue_bench.tasks.scores import named_f1

if TYPE_CHECKING:
    import pandas as pd

KEPT_APART = (
    f"Measured and published scores never share a column; “{TITLE}” alone holds one against the other, "
    "with the noise of the difference and what stands in the way."
)
NOTHING_MEASURED = "There are no measured rows: no record of a completed fine-tuning run was found."

READING = (
    f"Every measured number is accuracy on the {SPLIT} set, of answers found in passages their exact match, from run "
    f"records, at the best of a run's {SPLIT} evaluations, whatever that predicted. "
    "Models are ranked and held against floors on the rows whose texts do not "
    "stand in training.",
    f"A cell is the mean over seeds; Score is the mean of {', '.join(SCORE_COLUMNS)} as shown. Of the "
    "settings with the most seeds, the cell shows the one with the best mean; the number of all settings is stated. Of "
    "several runs of one seed, the first by its name counts.",
    "sd is the sample standard deviation over seeds; the sampling error, 1 sigma, is what another draw of as many "
    f"{SPLIT} rows would change of the mean over these seeds; both are in percentage points.",
    "The majority share is what always answering the most frequent class would score, of choices, always "
    "choosing their most frequent place.",
    "The floor is the best simple model without any pretraining, trained on the same data, its settings too chosen on "
    f"the {SPLIT} set; a model beats it by being strictly better.",
)
HOW_TO_READ = " ".join(READING)


@dataclass(frozen=True, repr=False)
class Leaderboard(Shown):
    """A finished board. `num_pretraining` counts records of pretraining runs, which have no score."""

    measured: tuple[MeasuredTable, ...]
    against_published: PublishedComparison
    published: tuple[PublishedTable, ...]
    unfinished: tuple[UnfinishedRun, ...]
    num_pretraining: int

    def in_full(self, width: int | None) -> str:
        """Return the measured tables for a terminal, each with its paired tests against the floors."""
        return super().in_full(width) or NOTHING_MEASURED

    def _repr_html_(self) -> str:
        return "\n".join(table.to_html() for table in self.tables) or f"<p>{NOTHING_MEASURED}</p>"

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return the measured tables: of each, the scores with their ranks, and a row per cell with its paired test."""
        pairs = zip(self.measured, self.ranks, strict=True)
        return tuple(made for table, ranks in pairs for made in (score_table(table, ranks), summary_table(table)))

    @property
    def score_tables(self) -> tuple[Table, ...]:
        """Return the scores of every measured table alone."""
        return tuple(score_table(table, ranks) for table, ranks in zip(self.measured, self.ranks, strict=True))

    @property
    def published_tables(self) -> tuple[Table, ...]:
        """Return the published tables, and measured rows held against them where there are any."""
        compared = [self.against_published.table] if self.against_published.rows else []
        return *compared, *(quoted.table for quoted in self.published)

    @cached_property
    def ranks(self) -> tuple[list[Ranks], ...]:
        """Return the ranks of every measured table; each tests every pair of models, so they are computed once."""
        return tuple(map(ranks_of, self.measured))

    @property
    def by_run(self) -> dict[str, dict[str, Any]]:
        """Return run id → values of its cell, as plain values."""
        return {
            run_id: values
            for table in self.measured
            for model in table.models
            for cell in model.cells.values()
            for values in [cell_values(model.label, cell, table)]
            for run_id in cell.runs
        }

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a pandas frame with a row per measured cell, including everything that qualifies its number."""
        return cell_table(self.measured).to_dataframe()

    @property
    def markdown(self) -> str:
        """Return the board as Markdown, with a final newline."""
        parts = ["# Leaderboard", KEPT_APART]
        if self.measured:
            parts.append("\n".join(f"- {sentence}" for sentence in READING))
        else:
            parts += ["## Measured", NOTHING_MEASURED]
        for table, ranks in zip(self.measured, self.ranks, strict=True):
            parts += [f"## {escape(self.title_of(table))}", measured_section(table, ranks)]
        if section := self.against_published.section:
            parts += [f"## {TITLE}", section]
        for quoted in self.published:
            parts += [f"## Published: {quoted.title}", quoted.section()]
        parts += self._left_out()
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return the board as plain values for a JSON file. Scores, sd and errors are percentages, as displayed."""
        return {
            "measured": [_measured_json(table, ranks) for table, ranks in zip(self.measured, self.ranks, strict=True)],
            "against_published": self.against_published.to_json(),
            "published": [table.to_json() for table in self.published],
            "unfinished": [dict(vars(run)) for run in self.unfinished],
            "num_pretraining": self.num_pretraining,
        }

    def title_of(self, table: MeasuredTable) -> str:
        """Return a heading that is unique among the tables."""
        siblings = sum(other.dataset == table.dataset for other in self.measured)
        return table.title if siblings == 1 else f"{table.title}, table {table.number}"

    def _left_out(self) -> list[str]:
        """Return the records that are in no table."""
        parts = []
        if self.unfinished:
            failed = sum(run.status == "failed" for run in self.unfinished)
            counts = f"{failed} failed, {len(self.unfinished) - failed} interrupted"
            parts += ["## Runs without a result", f"Fine-tuning runs that are in no table: {counts}."]
            parts.append("\n".join(_unfinished_line(run) for run in self.unfinished))
        if self.num_pretraining:
            parts.append(f"Records of pretraining runs, which have no score: {self.num_pretraining}.")
        return parts


def build(records: Iterable[RunRecord], published_folder: Path | None = None) -> Leaderboard:
    """Build the board of `records` and of the published scores in `published_folder`, by default the built-in ones.

    Raises ClueBenchError that names the run whose record lacks a result or is given twice, or the file and line of a
    published row that breaks a rule.
    """
    given, folder = list(records), published_folder or builtin_folder("leaderboards/published")
    measured = tuple(measured_tables(given))
    return Leaderboard(
        measured=measured,
        against_published=compare_with_published(measured, folder),
        published=published_tables(folder),
        unfinished=tuple(unfinished_runs(given)),
        num_pretraining=sum(record.kind == "pretrain" for record in given),
    )


def leaderboard_of(records: Iterable[RunRecord], shown: Collection[str] = ()) -> Leaderboard:
    """Build the board of these runs alone, without published tables, as at the end of `bench`.

    `shown` are the run_ids of the settings that were chosen; the runs of others only say what they were chosen from.
    Raises ClueBenchError as `build` does.
    """
    given = list(records)
    measured = tuple(measured_tables(given, shown))
    return Leaderboard(measured, PublishedComparison((), ()), (), tuple(unfinished_runs(given)), 0)


def _unfinished_line(run: UnfinishedRun) -> str:
    what = f"{escape(run.model)} on {escape(run.task)}" if run.task else escape(run.model)
    line = f"- {escape(run.run_id)} ({what}): {run.status}"
    return f"{line}: {escape(run.error)}" if run.error else line


def _measured_json(table: MeasuredTable, ranks: Iterable[Ranks]) -> dict[str, Any]:
    return {
        "data": table.dataset,
        "table": table.number,
        "split": SPLIT,
        "columns": [{**vars(column), "official": column.is_official} for column in table.columns],
        "rows": [_model_json(model, table) for model in table.models],
        "ranks": {of_column.column: of_column.to_json() for of_column in ranks},
    }


def _model_json(model: MeasuredModel, table: MeasuredTable) -> dict[str, Any]:
    score = model.score
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "parameters": max(model.parameters),
        "is_floor": model.is_floor,
        "score": None if score is None else float(score),
        "cells": {name: _cell_json(cell, table) for name, cell in model.cells.items()},
    }


def _cell_json(cell: MeasuredCell, table: MeasuredTable) -> dict[str, Any]:
    over, bias = table.over_floor(cell), cell.selection_bias
    return {
        "accuracy": float(cell.percent),
        "clean_accuracy": None if cell.clean_accuracy is None else float(percentage(cell.clean_accuracy)),
        "repeated_rows": cell.repeated_rows,
        "non_constant": [None if share is None else float(percentage(share)) for share in cell.non_constant],
        "sd": None if cell.deviation is None else float(cell.deviation),
        "sampling_error": float(cell.sampling_error),
        **named_f1(cell.kind, float(percentage(cell.macro_f1))),
        "majority_shares": [float(percentage(share)) for share in cell.majority_shares],
        "parameters": cell.parameters,
        "points_over_floor": None if over is None else float(half_up(over * 100)),
        "misses_floor": table.misses_floor(cell),
        "seeds": list(cell.seeds),
        "runs": list(cell.runs),
        "repeats": list(cell.repeats),
        "settings": cell.settings,
        "num_settings": cell.num_settings,
        "dev_scores": cell.dev_scores,
        "selection_bias_about": None if bias is None else float(bias),
        "best_steps": list(cell.best_steps),
        "total_steps": list(cell.total_steps),
        "precisions": list(cell.precisions),
        "machines": list(cell.machines),
        "commits": list(cell.commits),
        "flags": dict(cell.flags),
    }
