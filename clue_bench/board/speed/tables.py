"""Measured speeds: one table per machine and session, with intervals and conditions.

Enters: run records. Leaves: Markdown, or plain values for JSON. Records of two sessions or two machines never share a
table, so no arrow compares them: the models of a session took turns, those of two sessions did not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from clue_bench.board.markdown import escape, markdown_table
from clue_bench.board.scores import MISSING
from clue_bench.board.speed.columns import COLUMNS, NOTES, Measured, SpeedCell, shown
from clue_bench.records import RunRecord
from clue_bench.speeds import SpeedResults

NOTHING_MEASURED = "There are no measured speeds: no record of clue-bench speed was found."
MODEL = "模型"
CONDITIONS = ("训练一步", "训练数据", "微调与预测", "词汇表", "精度", "矩阵乘法 GFLOP/s", "Commit", "Flags")

Machine = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True)
class SpeedTable:
    """The models of one session on one machine, in the order that they were typed in, and those that failed."""

    session: str
    machine: dict[str, str | int]
    rows: tuple[Measured, ...]
    failed: tuple[RunRecord, ...]

    @property
    def baseline(self) -> Measured:
        """The row that the others are held against: the session's, or the first where that is not there."""
        return next((row for row in self.rows if row.results.is_baseline), self.rows[0])

    def cells(self, row: Measured) -> list[SpeedCell]:
        """Return a row's cells, in the order of COLUMNS."""
        base = None if row is self.baseline else self.baseline
        return [column.cell(row, base) for column in COLUMNS]


def speed_tables(records: Iterable[RunRecord]) -> list[SpeedTable]:
    """Return a table per session and machine, the latest session first; records of other kinds are left alone."""
    groups: dict[tuple[str, Machine], list[Measured]] = {}
    failed: list[RunRecord] = []
    for record in sorted(records, key=lambda each: each.run_id):
        if record.kind == "speed" and record.status == "completed":
            row = Measured(record, SpeedResults.model_validate(record.results))
            groups.setdefault((row.results.session, tuple(sorted(record.hardware.items()))), []).append(row)
        elif record.kind == "speed":
            failed.append(record)
    tables = []
    for session, machine in sorted(groups, key=str, reverse=True):
        rows = sorted(groups[session, machine], key=lambda row: row.results.position)
        ended = tuple(record for record in failed if record.asked.get("session") == session)
        tables.append(SpeedTable(session, dict(machine), tuple(rows), ended))
    return tables


def speed_section(records: Iterable[RunRecord]) -> str:
    """Return every session's tables as Markdown, or a sentence if there are none."""
    tables = speed_tables(records)
    return "\n\n".join(map(_section, tables)) if tables else NOTHING_MEASURED


def speed_json(records: Iterable[RunRecord]) -> dict[str, Any]:
    """Return every session's tables as plain values for a JSON file; numbers and intervals as shown."""
    return {"tables": [_table_json(table) for table in speed_tables(records)]}


def _section(table: SpeedTable) -> str:
    """Return the table, the notes of its marks, how it was measured, its intervals and its conditions."""
    rows = [(escape(row.record.model.name), table.cells(row)) for row in table.rows]
    measured = [number for number, column in enumerate(COLUMNS) if column.is_measured]
    headings = [escape(column.name) for column in COLUMNS]
    parts = [
        f"## {escape(_machine_name(table))}, session {escape(table.session)}",
        markdown_table([MODEL, *headings], [[name, *(escape(cell.whole) for cell in cells)] for name, cells in rows]),
        *(
            f"{mark} {note}"
            for mark, note in NOTES.items()
            if any(mark in cell.marks for _, cells in rows for cell in cells)
        ),
        escape(_how(table)),
        *map(escape, _not_measured(table)),
        f"Intervals of {_coverage(table)}:",
        markdown_table(
            [MODEL, *(headings[number] for number in measured)],
            [[name, *(_ends(cells[number]) for number in measured)] for name, cells in rows],
        ),
        "Conditions:",
        markdown_table(
            [MODEL, *CONDITIONS],
            [[name, *map(escape, _conditions(row))] for (name, _), row in zip(rows, table.rows, strict=True)],
        ),
    ]
    return "\n\n".join(parts)


def _ends(cell: SpeedCell) -> str:
    return MISSING if cell.ends is None else f"{cell.ends[0]:,} – {cell.ends[1]:,}"


def _coverage(table: SpeedTable) -> str:
    interval = next(iter(table.rows[0].results.intervals.values()))
    num = len(interval.values)
    return f"{interval.coverage:.1%}, order statistics over {num} repetition{'s' * (num > 1)}"


def _machine_name(table: SpeedTable) -> str:
    return str(table.machine.get("gpu") or table.machine.get("processor", "unknown machine"))


def _how(table: SpeedTable) -> str:
    """Return what the numbers are, and where they were measured."""
    record = table.rows[0].record
    machine = ", ".join(f"{key} {value}" for key, value in table.machine.items())
    packages = ", ".join(f"{name} {record.packages[name]}" for name in ("python", "torch") if name in record.packages)
    memory = "allocated on the GPU" if "gpu" in table.machine else "resident, Python and libraries included"
    return (
        f"Machine: {machine}; {packages}. Started {record.started_at}. The models took turns, each measurement in a "
        f"process of its own; after a warm-up every repetition lasted at least {record.effective.get('seconds')} s. "
        f"Shown is the median over repetitions; arrows hold it against {table.baseline.record.model.name}, and more "
        "speed points up. Training is the time of 1,000 optimizer steps of the recipe's first stage; MFU is against "
        "the best matrix products measured in the session. Fine-tuning takes rows that are tokenised already; "
        "prediction goes from texts to labels, in one call of all rows, of 1 and of 32. Memory is the peak of training "
        f"/ fine-tuning / prediction, {memory}."
    )


def _not_measured(table: SpeedTable) -> list[str]:
    reasons = [
        f"{row.record.model.name}: {kind} was not measured: {reason}."
        for row in table.rows
        for kind, reason in row.results.not_measured.items()
    ]
    return [*reasons, *(f"{record.model.name}: failed: {record.error}." for record in table.failed)]


def _conditions(row: Measured) -> list[str]:
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
    return f"{task.name} ({data.name}, {data.revision}), {part.rows} rows of at most {part.max_length} tokens{batch}"


def _precision(row: Measured) -> str:
    parts = (row.results.training, row.results.finetuning, row.results.prediction)
    return ", ".join(dict.fromkeys(part.precision for part in parts if part is not None))


def _table_json(table: SpeedTable) -> dict[str, Any]:
    def row_json(row: Measured) -> dict[str, Any]:
        cells = zip(COLUMNS, table.cells(row), strict=True)
        return {
            "model": row.record.model.name,
            "run_id": row.record.run_id,
            "is_baseline": row is table.baseline,
            "cells": {column.name: cell.as_json() for column, cell in cells},
            "conditions": dict(zip(CONDITIONS, _conditions(row), strict=True)),
        }

    return {
        "session": table.session,
        "machine": table.machine,
        "started_at": table.rows[0].record.started_at,
        "how": _how(table),
        "coverage": _coverage(table),
        "rows": [row_json(row) for row in table.rows],
        "not_measured": _not_measured(table),
    }
