"""Layouts of the published tables of facts: training speed, model list, token types of the vocabularies.

Input: what is printed besides scores. Output: `QuotedTable`s. Relative columns and totals are computed from the
numbers shown; a footnote says where the source prints others.
"""

import re
from decimal import Decimal

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.arrows import relative_change, speed_change
from clue_bench.leaderboards.published.printed import CLUE, GOOGLE, Printed, PrintedCell
from clue_bench.leaderboards.published.quoted import Link, QuotedCell, QuotedTable
from clue_bench.leaderboards.published.sizes import Sizes, printed_size
from clue_bench.leaderboards.scores import MISSING, half_up

SPEED_COLUMNS = ("模型", "词汇表", "词汇表大小", "参数量", "训练设备", "训练速度")
MODEL_COLUMNS = ("参数量", "存储大小", "语料", "词汇表")
LINKS = ("TensorFlow", "Hugging Face")
TOTAL = "Total"


def speed_table(printed: Printed, sizes: Sizes) -> QuotedTable:
    """Return the table of training speeds, each row held against the first. Raises ClueBenchError naming a bad cell."""
    rows = []
    first: dict[str, Decimal] = {}
    for name in printed.tables["speed"]:
        cells = {column: printed.cell("speed", name, column) for column in SPEED_COLUMNS}
        model, vocabulary = cells["模型"].printed, cells["词汇表"].printed
        size = sizes.cell(model, printed_size(cells["参数量"].printed), cells["参数量"], vocabulary)
        numbers = {
            "词汇表大小": _number(cells["词汇表大小"], r"([0-9]+)"),
            "参数量": _number(cells["参数量"], r"([0-9.]+)M") if size.value is None else size.value,
            "训练速度": _number(cells["训练速度"], r"1k steps/([0-9.]+)s"),
        }
        shown = {
            "词汇表大小": str(numbers["词汇表大小"]),
            "参数量": size.text,
            "训练速度": f"1k steps/{numbers['训练速度']}s",
        }
        for column in shown if first else ():
            change = speed_change if column == "训练速度" else relative_change
            shown[column] += change(numbers[column], first[column])
        first = first or numbers
        link = printed.link(model)
        row = [QuotedCell(model, model, links=(Link(model, link),) * bool(link), source=cells["模型"].source)]
        for column in SPEED_COLUMNS[1:]:
            notes = size.notes if column == "参数量" else ()
            row.append(_computed(cells[column], shown.get(column, cells[column].printed), numbers.get(column), notes))
        rows.append(tuple(row))
    return QuotedTable("speed", "training speed", SPEED_COLUMNS, tuple(rows), remarks=(_counted_change(printed),))


def model_table(printed: Printed, sizes: Sizes) -> QuotedTable:
    """Return the list of released models. Raises ClueBenchError naming a missing cell."""
    rows = []
    for model in printed.tables["models"]:
        cells = [printed.cell("models", model, column) for column in MODEL_COLUMNS]
        links = tuple(Link(text, printed.cell("models", model, text).printed) for text in LINKS)
        names = " ".join(LINKS)
        page = printed.link(model)
        rows.append(
            (
                QuotedCell(model, model, links=(Link(model, page),) * bool(page)),
                sizes.cell(model, cells[0].printed, cells[0]),
                *(QuotedCell(cell.printed, cell.printed, source=cell.source, remark=cell.note) for cell in cells[1:]),
                QuotedCell(names, names, links=links, source=printed.cell("models", model, LINKS[0]).source),
            )
        )
    header = ("模型简称", *MODEL_COLUMNS, "直接下载")
    files = ", ".join(
        f"{shape.model} {half_up(Decimal(shape.parameters * 4) / 2**20, places=1)} MiB"
        for model in printed.tables["models"]
        if (shape := printed.shape(model)) is not None
    )
    remarks = (
        f"Sizes of files as printed; the counted parameters in fp32 take: {files}.",
        "Links as the sources print them, not checked: CLUE's storage has refused the task data since 2023 (CLUE#173). "
        "The Hugging Face folders call BERT weights RoBERTa and lack a tokenizer configuration "
        "(CLUEPretrainedModels#23): clue-bench doctor says what a folder holds.",
    )
    return QuotedTable("models", "released models", header, tuple(rows), remarks=remarks)


def vocabulary_table(printed: Printed) -> QuotedTable:
    """Return the counts of token types of Google's and CLUE's vocabulary. Raises ClueBenchError naming a bad cell."""
    columns = ("Google", "CLUE")
    totals = dict.fromkeys(columns, Decimal(0))
    rows = []
    for kind in printed.tables["vocabulary"]:
        row = [QuotedCell(kind, kind)]
        for column in columns:
            cell = printed.cell("vocabulary", kind, column)
            if kind != TOTAL and cell.printed != MISSING:
                totals[column] += _number(cell, r"([0-9]+)")
            row.append(_computed(cell, str(totals[column]) if kind == TOTAL else cell.printed, None))
        rows.append(tuple(row))
    remarks = ("– stands for none, where the source prints a cross. clue-bench vocab stats counts any vocabulary.",)
    header = ("Token Type", *columns)
    return QuotedTable(
        "vocabulary", "token types of the vocabularies (CLUECorpus2020)", header, tuple(rows), "", remarks
    )


def _computed(cell: PrintedCell, shown: str, value: Decimal | None, notes: tuple[str, ...] = ()) -> QuotedCell:
    """Return the cell that shows `shown`, with a footnote where the source prints something else."""
    if shown != cell.printed:
        notes = (*notes, f"{cell.row}, {cell.column}: the source prints {cell.printed}; computed, it is {shown}.")
    return QuotedCell(shown, cell.printed, notes, value=value, source=cell.source, remark=cell.note)


def _number(cell: PrintedCell, pattern: str) -> Decimal:
    """Return the number in a printed cell, which an arrow may follow. Raises ClueBenchError."""
    found = re.fullmatch(pattern + r"(?:\([^()]*\))?", cell.printed)
    if found is None:
        raise ClueBenchError(f"published table, {cell.row}, {cell.column}: found {cell.printed}", f"expected {pattern}")
    return Decimal(found[1])


def _counted_change(printed: Printed) -> str:
    """Return what the vocabulary saves in counted parameters; the table's arrows are of the sizes shown."""
    google, clue = printed.shape("BERT-base", GOOGLE), printed.shape("BERT-base", CLUE)
    if google is None or clue is None:
        return "Arrows are against the first row, computed from the numbers shown."
    change = relative_change(Decimal(clue.parameters), Decimal(google.parameters))
    return (
        "Arrows are against the first row, computed from the numbers shown; of counted parameters, BERT-base has "
        f"{google.parameters:,} and {clue.parameters:,} {change}."
    )
