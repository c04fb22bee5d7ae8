"""Addresses of tables and cells: what a permalink names. They stay what they are when other rows are added.

Input: tables and names. Output: text such as `clue-1/roberta-tiny-clue/AFQMC`.
"""

from clue_bench.leaderboards.measured.cells import MeasuredTable
from clue_bench.leaderboards.published.quoted import QuotedTable


def measured_address(table: MeasuredTable) -> str:
    """Return the address of a measured table."""
    return f"{table.dataset}-{table.number}"


def quoted_address(table: QuotedTable) -> str:
    """Return the address of a published table."""
    return f"published-{table.name}"


def cell_address(table: str, row: str, column: str) -> str:
    """Return the address of a cell, by the address of its table, the shown name of its row and its column."""
    return f"{table}/{row}/{column}"
