"""Measured speeds: one table per machine and session, with intervals and conditions.

Input: run records. Output: tables, Markdown, or plain values for JSON. Records of two sessions or two machines never
share a table, so no arrow compares them: only the models of one session took turns.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clue_bench.doors.records import RunRecord, SpeedRecord
from clue_bench.leaderboards.speed.columns import COLUMNS, NOTES, Measured, SpeedCell, shown
from clue_bench.numbers import counted, percent
from clue_bench.tables import MISSING, Cell, Shown, Table, escape, make_table

if TYPE_CHECKING:
    import pandas as pd

NOTHING_MEASURED = "There are no measured speeds: no record of clue-bench speed was found."
MODEL = "模型 model"
CONDITIONS = {
    "训练一步": "training step",
    "训练数据": "training data",
    "微调与预测": "fine-tuning and prediction",
    "词汇表": "vocabulary",
    "精度": "precision",
    "矩阵乘法 GFLOP/s": "matrix products",
    "Commit": "",
    "Flags": "",
}
"""Name of a condition → English beside it."""

Machine = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, repr=False)
class SpeedTable(Shown):
    """The models of one session on one machine, in the order in which they were given, and those without numbers."""

    session: str
    machine: dict[str, str | int]
    rows: tuple[Measured, ...]
    failed: tuple[RunRecord, ...]

    @property
    def started_at(self) -> str:
        """Return when the session started."""
        return (self.rows[0].record if self.rows else self.failed[0]).started_at

    @property
    def machine_name(self) -> str:
        """Return the GPU, or the processor."""
        return str(self.machine.get("gpu") or self.machine.get("processor", "unknown machine"))

    @property
    def baseline(self) -> Measured:
        """Return the row that the others are compared with: the session's, or the first where that one failed."""
        return next((row for row in self.rows if row.results.is_baseline), self.rows[0])

    @property
    def not_measured(self) -> list[str]:
        """Return a sentence per number that is missing, and per model that has none."""
        reasons = [
            f"{row.record.model.name}: {kind} was not measured: {reason}."
            for row in self.rows
            for kind, reason in row.results.not_measured.items()
        ]
        ended = (": ".join(filter(None, (each.model.name, each.status, each.error))) for each in self.failed)
        return [*reasons, *(f"{sentence}." for sentence in ended)]

    def cells(self, row: Measured) -> list[SpeedCell]:
        """Return a row's cells, in the order of COLUMNS."""
        base = None if row is self.baseline else self.baseline
        return [column.cell(row, base) for column in COLUMNS]

    @property
    def tables(self) -> list[Table]:
        """Return the numbers, their intervals where there are any, and their conditions."""
        title = f"{self.machine_name}, session {self.session}"
        if not self.rows:
            return [Table(title, (), (), tuple(self.not_measured))]
        columns = [f"{each.name} {each.english}" for each in COLUMNS]
        names = [Cell(row.record.model.name) for row in self.rows]
        cells = [self.cells(row) for row in self.rows]
        marks = "".join(cell.marks for row in cells for cell in row)
        notes = [*(f"{mark} {note}" for mark, note in NOTES.items() if mark in marks), _how(self), *self.not_measured]
        measured = [place for place, column in enumerate(COLUMNS) if column.is_measured]
        ends = [[_ends(row[place]) for place in measured] for row in cells]
        facts = [f"{name} {english}".strip() for name, english in CONDITIONS.items()]
        others = [
            make_table(_coverage(self), [MODEL, *(columns[place] for place in measured)], _named(names, ends)),
            make_table("Conditions", [MODEL, *facts], _named(names, [conditions(row) for row in self.rows])),
        ]
        if not any(cell.ends for row in cells for cell in row):
            notes.append(f"{others.pop(0).title}.")
        numbers = _named(names, [[cell.shown for cell in row] for row in cells])
        return [make_table(title, [MODEL, *columns], numbers, notes=notes), *others]

    def to_markdown(self) -> str:
        """Return the tables with their notes, under a heading of the second level."""
        numbers, *others = self.tables
        parts = [f"## {escape(numbers.title)}", *([numbers.to_markdown()] if self.rows else [])]
        parts += map(escape, numbers.notes)
        for table in others:
            parts += [f"{table.title}:", table.to_markdown()]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return plain values: numbers and intervals as displayed, and the conditions of measurement."""
        return {
            "session": self.session,
            "machine": self.machine,
            "started_at": self.started_at,
            "how": _how(self) if self.rows else "",
            "coverage": _coverage(self) if self.rows else "",
            "rows": [self._row_json(row) for row in self.rows],
            "not_measured": self.not_measured,
        }

    def _row_json(self, row: Measured) -> dict[str, Any]:
        return {
            "model": row.record.model.name,
            "run_id": row.record.run_id,
            "is_baseline": row is self.baseline,
            "cells": {column.name: cell.to_json() for column, cell in zip(COLUMNS, self.cells(row), strict=True)},
            "conditions": dict(zip(CONDITIONS, conditions(row), strict=True)),
        }

    def to_dataframe(self) -> "pd.DataFrame":
        """Return the numbers as a pandas frame, a row per model."""
        return self.tables[0].to_dataframe()


def speed_tables(records: Iterable[RunRecord]) -> list[SpeedTable]:
    """Return a table per session and machine, the latest session first; records of other kinds are ignored."""
    groups: dict[tuple[str, Machine], tuple[list[Measured], list[RunRecord]]] = {}
    speeds = [record for record in sorted(records, key=lambda each: each.run_id) if isinstance(record, SpeedRecord)]
    for record in sorted(speeds, key=lambda each: (each.status != "completed", not each.hardware)):
        machine: Machine = tuple(sorted(record.hardware.items()))
        if record.status == "completed":
            row = Measured(record, record.completed_results)
            groups.setdefault((row.results.session, machine), ([], []))[0].append(row)
        else:
            session = str(record.asked.get("session", record.run_id))
            # A model that failed before its machine was asked belongs to the session's, whichever comes first.
            known = [key for key in groups if key[0] == session] if not machine else []
            groups.setdefault(min(known, key=str, default=(session, machine)), ([], []))[1].append(record)
    tables = []
    for (session, machine), (rows, failed) in sorted(groups.items(), key=lambda each: str(each[0]), reverse=True):
        rows.sort(key=lambda row: row.results.position)
        tables.append(SpeedTable(session, dict(machine), tuple(rows), tuple(failed)))
    return tables


def speed_section(records: Iterable[RunRecord]) -> str:
    """Return every session's tables as Markdown, or a sentence if there are none."""
    tables = speed_tables(records)
    return "\n\n".join(table.to_markdown() for table in tables) if tables else NOTHING_MEASURED


def speed_json(records: Iterable[RunRecord]) -> dict[str, Any]:
    """Return every session's tables as plain values for a JSON file; numbers and intervals as shown."""
    return {"tables": [table.to_json() for table in speed_tables(records)]}


def _named(names: list[Cell], rows: Iterable[Iterable[object]]) -> list[list[object]]:
    return [[name, *row] for name, row in zip(names, rows, strict=True)]


def _ends(cell: SpeedCell) -> str:
    return MISSING if cell.ends is None else f"{cell.ends[0]:,} – {cell.ends[1]:,}"


def _coverage(table: SpeedTable) -> str:
    interval = next(iter(table.rows[0].results.intervals.values()))
    num = len(interval.values)
    if num == 1:
        return "No interval: one repetition"
    return f"Intervals of {percent(interval.coverage, 1)}, order statistics over {num} repetitions"


def _how(table: SpeedTable) -> str:
    """Return a description of the numbers, and where they were measured."""
    record = table.rows[0].record
    machine = ", ".join(f"{key} {value}" for key, value in table.machine.items())
    packages = ", ".join(f"{name} {record.packages[name]}" for name in ("python", "torch") if name in record.packages)
    memory = "allocated on the GPU" if "gpu" in table.machine else "resident, Python and libraries included"
    turns, arrows = "Each measurement ran", ""
    if len(table.rows) > 1:
        turns = "The models took turns, each measurement"
        arrows = f"; arrows compare it with {table.baseline.record.model.name}, and more speed points up"
    return (
        f"Machine: {machine}; {packages}. Started {record.started_at}. {turns} in a process of its own; after a "
        f"warm-up every repetition lasted at least {record.effective.get('seconds')} s. Shown is the median over "
        f"repetitions{arrows}. Training is the time of 1,000 optimizer steps of the recipe's first stage. MFU "
        "(the model's nominal FLOPs, every layer in full) and HFU (what is computed: the last layer only where the "
        "loss looks) are shares of the best matrix products measured in the session. Fine-tuning takes rows that are "
        "tokenised already; prediction goes from texts to labels, in one call of all rows, of 1 and of 32. Memory is "
        f"the peak of training / fine-tuning / prediction, {memory}."
    )


def conditions(row: Measured) -> list[str]:
    """Return a row's settings, data and code, in the order of CONDITIONS."""
    record, training = row.record, row.results.training
    step = data = products = MISSING
    if training is not None:
        step = f"{training.global_batch} × {training.max_length}, micro-batch {training.micro_batch}"
        step += f"; timed {training.measured_rows} rows" if training.is_scaled else ""
        data = training.data
        products = f"{shown(training.matrix_product_flops_per_second / 1e9):,}"
    commit = str(record.code.get("commit", MISSING))[:8] + "+" * bool(record.code.get("dirty"))
    flags = ", ".join(record.flags) or MISSING
    return [step, data, _task(row), row.results.vocabulary, _precision(row), products, commit, flags]


def _task(row: Measured) -> str:
    task, data = row.record.task, row.record.data
    finetuning, prediction = row.results.finetuning, row.results.prediction
    part = finetuning or prediction
    if task is None or part is None:
        return MISSING
    batch = f", batch {finetuning.batch_size}" if finetuning else ""
    latencies = prediction.latencies if prediction else []
    calls = [f"{each.calls} calls of {counted(each.batch, 'row')}" for each in latencies]
    batch += f"; p50 and p95 over {', '.join(calls)} in each repetition" if calls else ""
    return f"{task.name} ({data.name}, {data.revision}), {part.rows} rows of at most {part.max_length} tokens{batch}"


def _precision(row: Measured) -> str:
    parts = (row.results.training, row.results.finetuning, row.results.prediction)
    return ", ".join(dict.fromkeys(part.precision for part in parts if part is not None))
