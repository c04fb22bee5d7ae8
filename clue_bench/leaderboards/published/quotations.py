"""All published tables, in the order in which the board shows them.

Input: the folder of published scores. Output: eight `QuotedTable`s. Nothing measured is ever in them.
"""

from pathlib import Path

from clue_bench.leaderboards.published.fact_layouts import model_table, speed_table, vocabulary_table
from clue_bench.leaderboards.published.printed import read_printed
from clue_bench.leaderboards.published.quoted import QuotedTable
from clue_bench.leaderboards.published.read import read_published
from clue_bench.leaderboards.published.score_layouts import LARGE, PAIRS, SMALL, V1, corpus_table, score_table
from clue_bench.leaderboards.published.sizes import Sizes


def quoted_tables(folder: Path) -> tuple[QuotedTable, ...]:
    """Return every published table from `folder`.

    Raises ClueBenchError naming file and line of a row that breaks a rule, or the table that lacks or repeats a cell.
    """
    scores, printed = read_published(folder), read_printed(folder / "tables")
    sizes = Sizes(scores, printed)
    return (
        *(score_table(layout, scores, printed) for layout in (SMALL, LARGE, PAIRS)),
        speed_table(printed, sizes),
        model_table(printed, sizes),
        vocabulary_table(printed),
        corpus_table(scores),
        score_table(V1, scores, printed),
    )
