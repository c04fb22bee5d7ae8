"""Measured speeds on the page: the tables of `speed_tables`, a cell's interval and conditions as its provenance.

Input: speed tables. Output: `PageTable`s, and address → plain values in the form of `provenance`.
"""

import hashlib
from typing import Any

from clue_bench.leaderboards.addresses import cell_address
from clue_bench.leaderboards.page.provenance import code_facts, common_facts, section
from clue_bench.leaderboards.page.views import ENGLISH, MEASURED, MODEL, PageCell, PageColumn, PageRow, PageTable
from clue_bench.leaderboards.scores import MISSING
from clue_bench.leaderboards.speed.columns import COLUMNS, NOTES, Measured, SpeedCell
from clue_bench.leaderboards.speed.tables import CONDITIONS, SpeedTable, conditions

ARROWS = "箭头与基准行相比:↑ 更快或更大。 Arrows hold a cell against the row marked “基准 baseline”."

ENDED = {"failed": "失败 failed", "interrupted": "中断 interrupted"}


def speed_view(table: SpeedTable) -> PageTable:
    """Return the table of one machine and session."""
    address = _address(table)
    names = (PageColumn(column.name, column.english) for column in COLUMNS)
    columns = (PageColumn(MODEL, ENGLISH[MODEL], is_number=False), *names)
    rows = []
    for row in table.rows:
        name = row.record.model.name
        cells = tuple(
            PageCell(
                f"{cell.text}{cell.change}",
                "" if cell.value is None else str(cell.value),
                "" if cell.text == MISSING else cell_address(address, name, column.name),
                cell.marks,
            )
            for column, cell in zip(COLUMNS, table.cells(row), strict=True)
        )
        shown = f"{name} (基准 baseline)" if row is table.baseline and len(table.rows) > 1 else name
        rows.append(PageRow(PageCell(shown, name), cells, f"{name} {row.record.model.sha256[:8]}"))
    for record in table.failed:
        name, ended = record.model.name, ENDED.get(record.status, record.status)
        rows.append(PageRow(PageCell(f"{name} ({ended})", name), (PageCell(MISSING),) * len(COLUMNS), name))
    marks = "".join(cell.mark for row in rows for cell in row.cells)
    notes = [ARROWS] * (len(table.rows) > 1) + [f"{mark} {note}" for mark, note in NOTES.items() if mark in marks]
    title, english = f"实测速度：{table.machine_name}", f"Measured speed on {table.machine_name}"
    return PageTable(
        address,
        MEASURED,
        title,
        f"{english}, session {table.session}",
        columns,
        tuple(rows),
        (*notes, *table.not_measured),
    )


def speed_provenance(table: SpeedTable) -> dict[str, dict[str, Any]]:
    """Return address → what stands behind a measured speed."""
    found = {}
    for row in table.rows:
        for column, cell in zip(COLUMNS, table.cells(row), strict=True):
            if cell.text != MISSING:
                address = cell_address(_address(table), row.record.model.name, column.name)
                found[address] = _speed(column.name, cell, row, table)
    return found


def _address(table: SpeedTable) -> str:
    machine = hashlib.sha256(repr(sorted(table.machine.items())).encode()).hexdigest()
    return f"speed-{table.session}-{machine[:6]}"


def _speed(column: str, cell: SpeedCell, row: Measured, table: SpeedTable) -> dict[str, Any]:
    record = row.record
    facts = [
        ["所示", "shown", f"{cell.text}{cell.change}"],
        ["运行", "run", record.run_id],
        ["会话", "session", table.session],
        ["开始", "started", record.started_at],
        ["权重", "weights, SHA-256", record.model.sha256 or MISSING],
    ]
    if cell.ends is not None:
        low, high = cell.ends
        facts.insert(1, ["区间", "interval of the median, as its unit", f"{low} … {high}"])
    told = [[name, english, text] for (name, english), text in zip(CONDITIONS.items(), conditions(row), strict=True)]
    warnings = [note for mark, note in NOTES.items() if mark in cell.marks]
    return {
        "title": f"{record.model.name} · {column}",
        "kind": "measured",
        "lead": f"{cell.text}{cell.change}",
        "warnings": [*warnings, *(flag.replace("_", " ") for flag in record.flags)],
        "sections": [
            section("数字", "Number", facts),
            section("条件", "Conditions", told),
            section("设置", "Settings", common_facts([record.effective])),
            section("代码与版本", "Code and versions", code_facts([record])),
            section("机器", "Hardware", common_facts([dict(record.hardware)])),
        ],
    }
