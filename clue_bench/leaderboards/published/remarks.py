"""What a reader of the published tables has to know, in sentences, with their numbers computed.

Input: a table of quoted scores. Output: its remarks: how far a lead exceeds its sampling error, who is near the floor,
what the table may not be compared with, and where the source prints other sizes.
"""

from collections.abc import Sequence
from decimal import Decimal

from clue_bench.leaderboards.published.quoted import QuotedCell, QuotedTable
from clue_bench.leaderboards.published.read import PublishedScore
from clue_bench.leaderboards.sampling import TEST_1_0, error_of_difference
from clue_bench.leaderboards.scores import half_up, percentage

AFQMC_DEV_MAJORITY = percentage(Decimal(2978) / 4316)
"""Percent of the most frequent class, "0", counted in the official dev.json; the labels of test are not public."""

NOT_BESIDE = (
    "Single submissions to CLUE's test 1.0: not comparable with dev scores, which are often maxima over evaluations "
    "and settings, nor with scores that read TNEWS's keywords (UER's cards), worth 9 to 10 points."
)
READING_SOURCE = "CLUEbenchmark/CLUE README, 阅读理解任务"


def score_remarks(table: QuotedTable, scores: Sequence[PublishedScore], *, has_pairs: bool) -> tuple[str, ...]:
    """Return the remarks of a table whose columns are 模型, Score, 参数 and tasks."""
    remarks = [NOT_BESIDE] if table.split == TEST_1_0 else []
    remarks += _pair_leads(table.rows) if has_pairs else _lead(table.rows)
    remarks += _near_floor(table)
    remarks += _other_sizes(table, scores)
    return tuple(remarks)


def _lead(rows: Sequence[tuple[QuotedCell, ...]]) -> list[str]:
    """Return how far the best Score is over the second."""
    ranked = sorted(rows, key=lambda row: -(row[1].value or Decimal(0)))
    return [_difference(ranked[0], ranked[1])] if len(ranked) > 1 else []


def _pair_leads(rows: Sequence[tuple[QuotedCell, ...]]) -> list[str]:
    by_name = {row[0].text: row for row in rows}
    return [
        _difference(row, by_name[name.replace("-pair", "-clue")])
        for name, row in by_name.items()
        if name.endswith("-pair") and name.replace("-pair", "-clue") in by_name
    ]


def _difference(over: tuple[QuotedCell, ...], under: tuple[QuotedCell, ...]) -> str:
    """Return by how much one Score exceeds another, against the sampling error of the two."""
    assert over[1].value is not None
    assert under[1].value is not None
    points = over[1].value - under[1].value
    sentence = f"{over[0].text} is {points} points of Score over {under[0].text}"
    if over[1].sampling_error is None or under[1].sampling_error is None:
        return f"{sentence}."
    error = error_of_difference(over[1].sampling_error, under[1].sampling_error)
    return (
        f"{sentence}: {half_up(points / error, places=1)} times the sampling error of such a difference (± "
        f"{half_up(error)}, unpaired; the predictions, which a paired test needs, are not published)."
    )


def _near_floor(table: QuotedTable) -> list[str]:
    """Return which models are within two sampling errors of always answering AFQMC's most frequent class."""
    place = table.header.index("AFQMC")
    near = [
        row[0].text
        for row in table.rows
        if (cell := row[place]).value is not None
        and cell.sampling_error is not None
        and cell.value - AFQMC_DEV_MAJORITY < 2 * cell.sampling_error
    ]
    if not near:
        return []
    return [
        f"AFQMC: always answering the most frequent class scores {AFQMC_DEV_MAJORITY}% on dev; within two sampling "
        f"errors of that: {', '.join(near)}."
    ]


def _other_sizes(table: QuotedTable, scores: Sequence[PublishedScore]) -> list[str]:
    """Return which sizes the reading table of the same README prints otherwise, where this one stands as printed."""
    sizes = {score.model: score.params for score in scores if score.source == READING_SOURCE}
    if table.name != "clue-v1":
        return []
    others = [
        f"{row[0].text} {sizes[row[0].text]}"
        for row in table.rows
        if sizes.get(row[0].text, row[2].text) != row[2].text
    ]
    return [
        f"Sizes as printed; the reading table of the same README prints others: {', '.join(others)}. BERT-base over "
        "21128 tokens is counted under small models."
    ]
