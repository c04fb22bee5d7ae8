"""Tables as the page shows them: columns that can be filtered, cells that can be sorted and have an address.

Input: measured and published tables. Output: `PageTable`s of text; nothing is escaped here, the template does that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from clue_bench.leaderboards.addresses import cell_address, measured_address, quoted_address
from clue_bench.leaderboards.measured.cells import CLUE, SYNTHETIC, MeasuredModel, MeasuredTable
from clue_bench.leaderboards.measured.floors import FLOOR_MARK, FLOOR_NOTE, misses_floor
from clue_bench.leaderboards.measured.tables import MAJORITY_MARK, MAJORITY_NOTE
from clue_bench.leaderboards.published.quoted import Link, QuotedCell, QuotedTable
from clue_bench.leaderboards.scores import (
    COLUMN_ORDER,
    MISSING,
    SCORE,
    SCORE_COLUMNS,
    SPLIT,
    parameters_text,
    percent_text,
    score_of,
)

MEASURED, PUBLISHED = "measured", "published"
OFFICIAL, OTHER = "official", "other"
MODEL, PARAMETERS = "模型", "参数"
ENGLISH = {
    MODEL: "model",
    PARAMETERS: "parameters",
    "参数量": "parameters",
    "词汇表": "vocabulary",
    "词汇表大小": "vocabulary size",
    "训练设备": "trained on",
    "训练速度": "training speed",
    "模型简称": "model",
    "存储大小": "size on disk",
    "语料": "corpus",
    "直接下载": "download",
}
"""Chinese heading of a table → English below it."""

TITLES = {
    "small-models": "小模型",
    "large-models": "大模型",
    "pair-models": "句子对模型",
    "speed": "训练速度",
    "models": "已发布的模型",
    "vocabulary": "词汇表的词元类型",
    "corpus-and-vocabulary": "语料与词汇表的影响",
    "clue-v1": "CLUE v1 六个任务",
}
"""Name of a published table → its Chinese title."""

LEGEND = (
    (
        f"{MAJORITY_MARK} 至少一次运行（几乎）只回答最多的一类，或不比这样做更好。",
        MAJORITY_NOTE.removeprefix(MAJORITY_MARK).strip(),
    ),
    (
        f"{FLOOR_MARK} 不高于无预训练的基线：在同样的行上，一个简单模型至少一样好。",
        FLOOR_NOTE.removeprefix(FLOOR_MARK).strip(),
    ),
    (
        "无预训练：基线，即总是回答最多的一类（多数类），或字符 n-gram 的 TF-IDF 上的线性模型（TF-IDF + 线性）。",
        "Floors, without any pretraining: 多数类 is the majority class of train, TF-IDF + 线性 a linear model on "
        "TF-IDF of character n-grams.",
    ),
)
"""What marks and floors mean, in Chinese and in English."""


Ranked = Mapping[str, Mapping[str, str]]
"""Column → shown name of a model → its rank, `1–3/5`."""


@dataclass(frozen=True)
class PageColumn:
    """One column. `task` is what the task filter knows it by, `revision` "official" or "other", both "" for none.

    `rows` are those of dev, 0 where the column is not scored on rows.
    """

    name: str
    condition: str = ""
    task: str = ""
    revision: str = ""
    is_number: bool = True
    rows: int = 0


@dataclass(frozen=True)
class PageCell:
    """One cell. `value` is what it is sorted by, "" where there is none; a cell with an `address` has a provenance."""

    text: str
    value: str = ""
    address: str = ""
    mark: str = ""
    is_best: bool = False
    links: tuple[Link, ...] = ()
    rank: str = ""


@dataclass(frozen=True)
class PageRow:
    """One row: its name, what a text filter searches, and a cell per column but the first."""

    name: PageCell
    cells: tuple[PageCell, ...]
    search: str
    is_floor: bool = False


@dataclass(frozen=True)
class PageTable:
    """One table; `notes` stand under it, and its `legend`, pairs of Chinese and English, right below."""

    address: str
    kind: str
    title: str
    english: str
    columns: tuple[PageColumn, ...]
    rows: tuple[PageRow, ...]
    notes: tuple[str, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()


def measured_view(table: MeasuredTable, ranks: Ranked, *, is_only: bool) -> PageTable:
    """Return a measured table; its number is in the title unless it `is_only` of its data."""
    with_score = all(name in {column.name for column in table.columns} for name in SCORE_COLUMNS)
    columns = [PageColumn(MODEL, ENGLISH[MODEL], is_number=False), *([_score_column(table)] if with_score else [])]
    columns.append(PageColumn(PARAMETERS, ENGLISH[PARAMETERS]))
    for column in table.columns:
        revision = OFFICIAL if column.is_official else OTHER
        columns.append(PageColumn(column.name, column.revision, column.name, revision, rows=column.dev_rows))
    best = _best(table)
    names = {CLUE: ("CLUE", "CLUE"), SYNTHETIC: ("合成数据，不是 CLUE", "synthetic data, not CLUE")}
    chinese, english = names.get(table.dataset, (f"数据“{table.dataset}”", f"data “{table.dataset}”"))
    number = ("", "") if is_only else (f"，表 {table.number}", f", table {table.number}")
    return PageTable(
        measured_address(table),
        MEASURED,
        f"实测：{chinese}（{SPLIT}）{number[0]}",
        f"Measured on {english} ({SPLIT}){number[1]}",
        tuple(columns),
        tuple(_measured_row(model, table, best, ranks, with_score=with_score) for model in table.models),
        legend=_legend(table),
    )


def quoted_view(table: QuotedTable) -> PageTable:
    """Return a published table. Cells that quote something have a provenance; its notes are its footnotes too."""
    columns = tuple(_quoted_column(table, place) for place in range(len(table.header)))
    notes = [f"{number} {note}" for number, note in enumerate(table.notes, start=1)]
    return PageTable(
        quoted_address(table),
        PUBLISHED,
        f"已发表：{TITLES[table.name]}" if table.name in TITLES else "已发表",
        f"Published: {table.title}",
        columns,
        tuple(_quoted_row(row, place, table) for place, row in enumerate(table.rows)),
        (*notes, *table.remarks),
    )


def quoted_row_names(table: QuotedTable) -> tuple[str, ...]:
    """Return a name per row that no other row has: its first cell, where that is not enough with more of them."""
    for length in range(1, len(table.header) + 1):
        names = tuple(" ".join(cell.text for cell in row[:length]) for row in table.rows)
        if len(set(names)) == len(names):
            return names
    return tuple(str(place) for place in range(1, len(table.rows) + 1))


def task_names(tables: Iterable[PageTable]) -> list[str]:
    """Return what the task filter offers: Score, then the tasks in the order of the tables."""
    found = {column.task for table in tables for column in table.columns if column.task}
    order = [name for name in (SCORE, *COLUMN_ORDER) if name in found]
    return [*order, *sorted(found.difference(order))]


def _legend(table: MeasuredTable) -> tuple[tuple[str, str], ...]:
    """Return what the marks and floors of a measured table mean, where it has any."""
    cells = [cell for model in table.models for cell in model.cells.values()]
    shown = (
        any(cell.is_majority for cell in cells),
        any(misses_floor(cell, table) for cell in cells),
        any(model.is_floor for model in table.models),
    )
    return tuple(pair for pair, is_shown in zip(LEGEND, shown, strict=True) if is_shown)


def _score_column(table: MeasuredTable) -> PageColumn:
    official = all(column.is_official for column in table.columns if column.name in SCORE_COLUMNS)
    return PageColumn(SCORE, "mean of four", SCORE, OFFICIAL if official else OTHER)


def _best(table: MeasuredTable) -> dict[str, Decimal]:
    """Return the best of each column as displayed, Score too."""
    best: dict[str, Decimal] = {}
    for model in table.models:
        score = score_of(model.percents)
        for name, percent in {**model.percents, **({} if score is None else {SCORE: score})}.items():
            best[name] = max(percent, best.get(name, percent))
    return best


def _measured_row(
    model: MeasuredModel, table: MeasuredTable, best: dict[str, Decimal], ranks: Ranked, *, with_score: bool
) -> PageRow:
    def number(name: str, percent: Decimal | None, mark: str = "") -> PageCell:
        if percent is None:
            return PageCell(MISSING)
        address = cell_address(measured_address(table), model.label, name)
        rank = ranks.get(name, {}).get(model.label, "")
        return PageCell(percent_text(percent), str(percent), address, mark, percent == best[name], rank=rank)

    cells = [number(SCORE, score_of(model.percents))] if with_score else []
    counts = list(dict.fromkeys(map(parameters_text, model.parameters)))
    text = counts[0] if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    cells.append(PageCell(text, str(max(model.parameters))))
    for column in table.columns:
        cell = model.cells.get(column.name)
        mark = "" if cell is None else MAJORITY_MARK * cell.is_majority + FLOOR_MARK * misses_floor(cell, table)
        cells.append(number(column.name, None if cell is None else cell.percent, mark))
    search = f"{model.label} {model.name} {model.sha256[:8]}"
    return PageRow(PageCell(model.label, model.label), tuple(cells), search, model.is_floor)


def _quoted_column(table: QuotedTable, place: int) -> PageColumn:
    name = table.header[place]
    values = [row[place].value for row in table.rows]
    task = name if name in (SCORE, *COLUMN_ORDER) else ""
    return PageColumn(name, ENGLISH.get(name, ""), task, "", place > 0 and any(value is not None for value in values))


def _quoted_row(row: Sequence[QuotedCell], place: int, table: QuotedTable) -> PageRow:
    names = quoted_row_names(table)
    cells = []
    for column, cell in zip(table.header[1:], row[1:], strict=True):
        has_more = bool(cell.source) and not cell.links
        address = cell_address(quoted_address(table), names[place], column) if has_more else ""
        value = cell.text if cell.value is None else str(cell.value)
        cells.append(PageCell(cell.text, value, address, _footnotes(cell, table), cell.is_best, cell.links))
    first = row[0]
    name = PageCell(first.text, first.text, "", _footnotes(first, table), False, first.links)
    search = " ".join([first.text, *(cell.text for cell in row[1:] if cell.value is None), *_sources(row)])
    return PageRow(name, tuple(cells), search)


def _sources(row: Sequence[QuotedCell]) -> list[str]:
    return list(dict.fromkeys(cell.source for cell in row if cell.source))


def _footnotes(cell: QuotedCell, table: QuotedTable) -> str:
    return " ".join(str(table.notes.index(note) + 1) for note in cell.notes)
