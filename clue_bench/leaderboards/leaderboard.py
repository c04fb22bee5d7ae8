"""The whole board: measured tables, the published tables and the runs that are in neither, as Markdown and as JSON.

Input: run records and the folder of published scores. Output: a `Leaderboard`. The same records, in any order, give
the same bytes: nothing here asks for the time, the machine or the locale. It reads the published folder and writes
nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_bench.doors.records import RunRecord
from clue_bench.leaderboards.markdown import escape
from clue_bench.leaderboards.measured.cells import CLUE, SYNTHETIC, Cell, MeasuredModel, MeasuredTable, measured_tables
from clue_bench.leaderboards.measured.floors import misses_floor, over_floor
from clue_bench.leaderboards.measured.frames import UnfinishedRun, run_frame, unfinished_runs
from clue_bench.leaderboards.measured.optimism import expected_optimism
from clue_bench.leaderboards.measured.paper import TITLE, Paper, compare_with_published, paper_section
from clue_bench.leaderboards.measured.ranks import ranks_of
from clue_bench.leaderboards.measured.tables import SPLIT, measured_section
from clue_bench.leaderboards.published.quotations import quoted_tables
from clue_bench.leaderboards.published.quoted import QuotedTable, quoted_section
from clue_bench.leaderboards.scores import SCORE_COLUMNS, half_up, percentage, score_of

KEPT_APART = (
    f"Measured and published scores never share a column; “{TITLE}” alone holds one against the other, "
    "with the noise of the difference and what stands in the way."
)
NOTHING_MEASURED = "There are no measured rows: no record of a completed fine-tuning run was found."

READING = (
    f"Every measured number is accuracy on the {SPLIT} set, from run records, at the best of a run's {SPLIT} "
    "evaluations.",
    f"A cell is the mean over seeds; Score is the mean of {', '.join(SCORE_COLUMNS)} as shown. Of the "
    "settings with the most seeds, the cell shows the one with the best mean; the number of all settings is stated. Of "
    "several runs of one seed, the first by its name counts.",
    "sd is the sample standard deviation over seeds; the sampling error is binomial, 1 sigma, from the number of "
    f"{SPLIT} rows, and more seeds do not shrink it; both are in percentage points.",
    "The majority share is what always answering the most frequent class would score.",
    "The floor is the best simple model without any pretraining, trained on the same data, its settings too chosen on "
    f"the {SPLIT} set; a model beats it by being strictly better.",
)
HOW_TO_READ = " ".join(READING)


@dataclass(frozen=True)
class Leaderboard:
    """The finished board. `num_pretraining` counts records of pretraining runs, which have no score."""

    measured: tuple[MeasuredTable, ...]
    paper: Paper
    published: tuple[QuotedTable, ...]
    unfinished: tuple[UnfinishedRun, ...]
    num_pretraining: int

    @property
    def markdown(self) -> str:
        """The board as Markdown, with a final newline."""
        parts = ["# Leaderboard", KEPT_APART]
        if self.measured:
            parts.append("\n".join(f"- {sentence}" for sentence in READING))
        else:
            parts += ["## Measured", NOTHING_MEASURED]
        for table in self.measured:
            parts += [f"## {self._title(table)}", measured_section(table)]
        if section := paper_section(self.paper):
            parts += [f"## {TITLE}", section]
        for quoted in self.published:
            parts += [f"## Published: {quoted.title}", quoted_section(quoted)]
        parts += self._left_out()
        return "\n\n".join(parts) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return the board as plain values for a JSON file. Scores, sd and errors are percentages, as displayed."""
        return {
            "measured": [_measured_json(table) for table in self.measured],
            "paper": self.paper.as_json(),
            "published": [table.as_json() for table in self.published],
            "unfinished": [dict(vars(run)) for run in self.unfinished],
            "num_pretraining": self.num_pretraining,
        }

    def _title(self, table: MeasuredTable) -> str:
        """Return a heading that no other table has."""
        names = {CLUE: "CLUE", SYNTHETIC: "synthetic data, not CLUE"}
        title = f"Measured on {names.get(table.dataset, f'data “{escape(table.dataset)}”')} ({SPLIT})"
        siblings = sum(other.dataset == table.dataset for other in self.measured)
        return title if siblings == 1 else f"{title}, table {table.number}"

    def _left_out(self) -> list[str]:
        """Return what was given and stands in no table."""
        parts = []
        if self.unfinished:
            failed = sum(run.status == "failed" for run in self.unfinished)
            counts = f"{failed} failed, {len(self.unfinished) - failed} interrupted"
            parts += ["## Runs without a result", f"Fine-tuning runs that are in no table: {counts}."]
            parts.append("\n".join(_unfinished_line(run) for run in self.unfinished))
        if self.num_pretraining:
            parts.append(f"Records of pretraining runs, which have no score: {self.num_pretraining}.")
        return parts


def build_leaderboard(records: Iterable[RunRecord], published_folder: Path) -> Leaderboard:
    """Return the board of `records` and of the published scores in `published_folder`.

    Raises ClueBenchError naming the run whose record lacks a result or comes twice, or the file and line of a published
    row that breaks a rule.
    """
    given = list(records)
    measured = tuple(measured_tables(run_frame(given)))
    return Leaderboard(
        measured=measured,
        paper=compare_with_published(measured, published_folder),
        published=quoted_tables(published_folder),
        unfinished=tuple(unfinished_runs(given)),
        num_pretraining=sum(record.kind == "pretrain" for record in given),
    )


def _unfinished_line(run: UnfinishedRun) -> str:
    what = f"{escape(run.model)} on {escape(run.task)}" if run.task else escape(run.model)
    line = f"- {escape(run.run_id)} ({what}): {run.status}"
    return f"{line}: {escape(run.error)}" if run.error else line


def _measured_json(table: MeasuredTable) -> dict[str, Any]:
    return {
        "data": table.dataset,
        "table": table.number,
        "split": SPLIT,
        "columns": [{**vars(column), "official": column.is_official} for column in table.columns],
        "rows": [_model_json(model, table) for model in table.models],
        "ranks": {ranks.column: ranks.as_json() for ranks in ranks_of(table)},
    }


def _model_json(model: MeasuredModel, table: MeasuredTable) -> dict[str, Any]:
    score = score_of(model.percents)
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "parameters": max(model.parameters),
        "is_floor": model.is_floor,
        "score": None if score is None else float(score),
        "cells": {name: _cell_json(cell, table) for name, cell in model.cells.items()},
    }


def _cell_json(cell: Cell, table: MeasuredTable) -> dict[str, Any]:
    over, optimism = over_floor(cell, table), expected_optimism(cell)
    return {
        "accuracy": float(cell.percent),
        "sd": None if cell.deviation is None else float(cell.deviation),
        "sampling_error": float(cell.sampling_error),
        "macro_f1": float(percentage(cell.macro_f1)),
        "majority_shares": [float(percentage(share)) for share in cell.majority_shares],
        "parameters": cell.parameters,
        "points_over_floor": None if over is None else float(half_up(over * 100)),
        "misses_floor": misses_floor(cell, table),
        "seeds": list(cell.seeds),
        "runs": list(cell.runs),
        "repeats": list(cell.repeats),
        "settings": cell.settings,
        "num_settings": cell.num_settings,
        "dev_scores": cell.dev_scores,
        "optimism_about": None if optimism is None else float(optimism),
        "best_steps": list(cell.best_steps),
        "total_steps": list(cell.total_steps),
        "precisions": list(cell.precisions),
        "machines": list(cell.machines),
        "commits": list(cell.commits),
        "flags": dict(cell.flags),
    }
