"""“You and the paper” on the page: the comparisons of `paper`, what qualifies each as its provenance.

Input: a `Paper`. Output: a `PageTable`, and address → plain values in the form of `provenance`.
"""

from decimal import Decimal
from typing import Any

from clue_bench.leaderboards.addresses import cell_address
from clue_bench.leaderboards.measured.paper import PAPER_NOTE, TITLE, Paper, PaperRow
from clue_bench.leaderboards.page.provenance import section
from clue_bench.leaderboards.page.views import PageCell, PageColumn, PageRow, PageTable
from clue_bench.leaderboards.scores import MISSING, SPLIT, half_up, percent_text

ADDRESS = "paper"
KIND = "compared"
VERDICTS = {
    "inside noise": "在噪声内",
    "outside noise": "超出噪声",
    "not comparable": "不可比",
    "not decidable: one seed": "无法判断",
}
VERDICT = "结论"


def paper_view(paper: Paper) -> list[PageTable]:
    """Return the table of comparisons; none where there is nothing to compare."""
    if not paper.rows:
        return []
    columns = (
        PageColumn("模型", "model", is_number=False),
        PageColumn("任务", "task", is_number=False),
        PageColumn(f"这里\uff08{SPLIT}\uff09", "here"),
        PageColumn("那里", "there"),
        PageColumn("差", "difference, points"),
        PageColumn("噪声", "noise, 95 %"),
        PageColumn(VERDICT, "verdict", is_number=False),
        PageColumn("对应的已发表模型", "published as", is_number=False),
    )
    rows = [_row(row, place) for place, row in enumerate(paper.rows, start=1)]
    without = [f"Without a published counterpart: {', '.join(paper.without)}."] if paper.without else []
    return [PageTable(ADDRESS, KIND, "你与论文", TITLE, columns, tuple(rows), (PAPER_NOTE, *without))]


def paper_provenance(paper: Paper) -> dict[str, dict[str, Any]]:
    """Return address → both scores, source and what stands in the way of comparing them."""
    return {_address(row, place): _told(row) for place, row in enumerate(paper.rows, start=1)}


def _address(row: PaperRow, place: int) -> str:
    return cell_address(ADDRESS, f"{row.model} {place}", VERDICT)


def _row(row: PaperRow, place: int) -> PageRow:
    there = half_up(Decimal(row.score.score))
    cells = (
        PageCell(row.cell.column.name, row.cell.column.name),
        PageCell(percent_text(row.cell.percent), str(row.cell.percent)),
        PageCell(f"{percent_text(there)}, {row.score.split}", str(there)),
        PageCell(f"{row.difference:+}", str(row.difference)),
        PageCell(MISSING if row.noise is None else f"± {row.noise}", "" if row.noise is None else str(row.noise)),
        PageCell(_verdict(row), row.verdict, _address(row, place)),
        PageCell(row.score.model, row.score.model),
    )
    return PageRow(PageCell(row.model, row.model), cells, f"{row.model} {row.score.model} {row.score.source}")


def _verdict(row: PaperRow) -> str:
    chinese = VERDICTS.get(row.verdict)
    return f"{chinese} {row.verdict}" if chinese else row.verdict


def _told(row: PaperRow) -> dict[str, Any]:
    here = [
        ["准确率", f"accuracy, {SPLIT}", percent_text(row.cell.percent)],
        ["种子", "seeds", str(len(row.cell.seeds))],
        ["抽样误差", "sampling error, 1σ, points", f"± {row.cell.sampling_error}"],
        ["数据版本", "data revision", row.cell.column.revision],
    ]
    there = [
        ["得分", "as printed", row.score.score],
        ["模型", "model", row.score.model],
        ["任务", "task", row.score.task],
        ["划分", "split", row.score.split],
        ["来源", "source", row.score.source],
        ["备注", "note", row.score.note or MISSING],
    ]
    return {
        "title": f"{row.model} · {row.cell.column.name}",
        "kind": KIND,
        "lead": f"{row.difference:+} · {_verdict(row)}",
        "warnings": list(row.notes),
        "sections": [section("这里", "Here", here), section("那里", "There", there)],
    }
