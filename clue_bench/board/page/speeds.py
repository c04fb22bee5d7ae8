"""Measured speeds on the page: the tables of `speed_tables`, a cell's interval and conditions as its provenance.

Enters: speed tables. Leaves: `PageTable`s, and address → plain values in the form of `provenance`.
"""

from typing import Any

from clue_bench.board.addresses import cell_address
from clue_bench.board.page.provenance import code_facts, common_facts, section
from clue_bench.board.page.views import MEASURED, MODEL, PageCell, PageColumn, PageRow, PageTable
from clue_bench.board.scores import MISSING
from clue_bench.board.speed.columns import COLUMNS, NOTES, Measured, SpeedCell
from clue_bench.board.speed.tables import SpeedTable

ARROWS = "箭头与基准行相比:↑ 更快或更大。 Arrows hold a cell against the row marked “基准 baseline”."


def speed_view(table: SpeedTable) -> PageTable:
    """Return the table of one machine and session."""
    address = _address(table)
    machine = str(table.machine.get("gpu") or table.machine.get("processor", "?"))
    columns = (PageColumn(MODEL, is_number=False), *(PageColumn(column.name) for column in COLUMNS))
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
    notes = [ARROWS, *(f"{mark} {note}" for mark, note in NOTES.items())]
    title, english = f"实测速度：{machine}", f"Measured speed on {machine}, session {table.session}"
    return PageTable(address, MEASURED, title, english, columns, tuple(rows), tuple(notes))


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
    return f"speed-{table.session}"


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
    warnings = [note for mark, note in NOTES.items() if mark in cell.marks]
    return {
        "title": f"{record.model.name} · {column}",
        "kind": "measured",
        "lead": f"{cell.text}{cell.change}",
        "warnings": [*warnings, *(flag.replace("_", " ") for flag in record.flags)],
        "sections": [
            section("数字", "Number", facts),
            section("设置", "Settings", common_facts([record.effective])),
            section("代码与版本", "Code and versions", code_facts([record])),
            section("机器", "Hardware", common_facts([dict(record.hardware)])),
        ],
    }
