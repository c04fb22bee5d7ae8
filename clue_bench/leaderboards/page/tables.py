"""The tables that the page shows, in order, and what it says about each.

Input: the board and speed tables. Output: `PageTable`s. The tables are those of the other forms of the board.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from clue_bench.leaderboards.cells import CLUE, FLOOR_MARK, MAJORITY_MARK, SYNTHETIC, MeasuredTable, cell_address
from clue_bench.leaderboards.leaderboard import Leaderboard
from clue_bench.leaderboards.measured import score_table
from clue_bench.leaderboards.notes import FLOOR_NOTE, MAJORITY_NOTE
from clue_bench.leaderboards.page.provenance import speed_address
from clue_bench.leaderboards.scores import COLUMN_ORDER, SCORE, SPLIT
from clue_bench.leaderboards.speed.columns import COLUMNS, NOTES
from clue_bench.leaderboards.speed.tables import SpeedTable
from clue_bench.tables import MISSING, Cell, Column, Row, Table

ARROWS = "箭头与基准行相比:↑ 更快或更大。 Arrows compare a cell with the row marked “基准 baseline”."
ENDED = {"failed": "失败 failed", "interrupted": "中断 interrupted"}
MAJORITY_LEGEND = (
    f"{MAJORITY_MARK} 至少一次运行（几乎）只回答最多的一类，或不比这样做更好。",
    MAJORITY_NOTE.removeprefix(MAJORITY_MARK).strip(),
)
FLOOR_LEGEND = (
    f"{FLOOR_MARK} 不高于无预训练的基线：在同样的行上，一个简单模型至少一样好。",
    FLOOR_NOTE.removeprefix(FLOOR_MARK).strip(),
)
FLOORS_LEGEND = (
    "无预训练：基线，即总是回答最多的一类（多数类），或字符 n-gram 的 TF-IDF 上的线性模型（TF-IDF + 线性）。",
    "Floors, without any pretraining: 多数类 is the majority class of train, TF-IDF + 线性 a linear model on TF-IDF of "
    "character n-grams.",
)


class PageTable(NamedTuple):
    """One table with the origin of its numbers, its Chinese title, and a legend of pairs of Chinese and English."""

    table: Table
    kind: str  # "measured", "published" or "compared"
    chinese: str
    notes: tuple[str, ...]
    legend: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the page's script."""
        return {**self.table.to_json(), "kind": self.kind, "chinese": self.chinese, "notes": list(self.notes)} | {
            "legend": [list(pair) for pair in self.legend]
        }


def page_tables(board: Leaderboard, speeds: Iterable[SpeedTable]) -> list[PageTable]:
    """Return all tables: measured ones, comparisons with published ones, speeds, and published ones."""
    measured = []
    for table, ranks in zip(board.measured, board.ranks, strict=True):
        made = score_table(table, ranks)
        title = board.title_of(table)
        made = Table(title, made.columns, made.rows, (), made.name)
        measured.append(PageTable(made, "measured", _chinese_title(table, title), (), _legend(table)))
    compared = board.against_published.table
    against = [PageTable(compared, "compared", "与已发表得分的对照", compared.notes)] if compared.rows else []
    fast = [PageTable(t, "measured", f"实测速度：{s.machine_name}", t.notes) for s in speeds for t in [speed_table(s)]]
    published = [PageTable(q.table, "published", f"已发表：{q.chinese}", q.table.notes) for q in board.published]
    return [*measured, *against, *fast, *published]


def task_names(tables: Iterable[PageTable]) -> list[str]:
    """Return the choices of the task filter: Score, then the tasks in the order of the tables."""
    found = {column.tags["task"] for each in tables for column in each.table.columns if "task" in column.tags}
    order = [name for name in (SCORE, *COLUMN_ORDER) if name in found]
    return [*order, *sorted(found.difference(order))]


def speed_table(table: SpeedTable) -> Table:
    """Return the table of one machine and session."""
    address = speed_address(table)
    rows = []
    for row in table.rows:
        name = row.record.model.name
        cells = [
            Cell(
                f"{cell.text}{cell.change}",
                cell.value,
                cell.marks,
                address="" if cell.text == MISSING else cell_address(address, name, column.name),
            )
            for column, cell in zip(COLUMNS, table.cells(row), strict=True)
        ]
        shown = f"{name} (基准 baseline)" if row is table.baseline and len(table.rows) > 1 else name
        rows.append(Row((Cell(shown), *cells), search=f"{name} {row.record.model.sha256[:8]}"))
    for record in table.failed:
        shown = f"{record.model.name} ({ENDED.get(record.status, record.status)})"
        rows.append(Row((Cell(shown), *(Cell(MISSING) for _ in COLUMNS)), search=record.model.name))
    marks = "".join(cell.mark for row in rows for cell in row.cells)
    notes = [ARROWS] * (len(table.rows) > 1) + [f"{mark} {note}" for mark, note in NOTES.items() if mark in marks]
    columns = (Column("模型", "model"), *(Column(column.name, column.english, True) for column in COLUMNS))
    title = f"Measured speed on {table.machine_name}, session {table.session}"
    return Table(title, columns, tuple(rows), (*notes, *table.not_measured), address)


def _chinese_title(table: MeasuredTable, english: str) -> str:
    names = {CLUE: "CLUE", SYNTHETIC: "合成数据，不是 CLUE"}
    number = "" if english == table.title else f"，表 {table.number}"
    return f"实测：{names.get(table.dataset, f'数据“{table.dataset}”')}（{SPLIT}）{number}"


def _legend(table: MeasuredTable) -> tuple[tuple[str, str], ...]:
    """Return the meaning of the marks and floors of a measured table, if it has any."""
    majority = [MAJORITY_LEGEND] if any(cell.is_majority for cell in table.cells) else []
    missed = [FLOOR_LEGEND] if any(map(table.misses_floor, table.cells)) else []
    floors = [FLOORS_LEGEND] if any(model.is_floor for model in table.models) else []
    return (*majority, *missed, *floors)
