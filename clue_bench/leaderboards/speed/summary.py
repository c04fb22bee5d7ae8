"""Measured speeds in short, for a terminal: one table, and sentences that say which model is how much faster.

Input: the speeds of one session. Output: a table, and a sentence for every model beside the one that the others are
compared with. A sentence says "faster" only if the intervals of the two medians have nothing in common.
"""

from collections.abc import Callable

from clue_bench.doors.speed_results import SpeedResults
from clue_bench.leaderboards.scores import size_text
from clue_bench.leaderboards.speed.columns import FEW_MARK, NOISY_MARK, NOTES, SCALED_MARK, Measured, shown
from clue_bench.leaderboards.speed.tables import SpeedTable
from clue_bench.numbers import count, times
from clue_bench.stats.timing import MedianInterval
from clue_bench.tables import MISSING, Cell, Column, Table, make_table

Rate = Callable[[SpeedResults], MedianInterval | None]

RATES: dict[str, Rate] = {
    "training": lambda results: results.training.useful_tokens_per_second if results.training else None,
    "fine-tuning": lambda results: results.finetuning.rows_per_second if results.finetuning else None,
    "prediction": lambda results: results.prediction.rows_per_second if results.prediction else None,
}
"""What is measured → its rate: more is faster."""


def speed_summary(table: SpeedTable) -> Table:
    """Return the models with their sizes and speeds, and the sentences as notes."""
    measured = ("train tokens/s", "finetune rows/s", "predict rows/s", "1 row p50")
    details = ("parameters", "1 row p95", "size", "1k steps")
    columns: list[str | Column] = ["model", *(Column(name, is_number=True) for name in measured)]
    columns += [Column(name, is_number=True, is_detail=True) for name in details]
    rows = [_row(row) for row in table.rows]
    marks = "".join(cell.mark for row in rows for cell in row if isinstance(cell, Cell))
    notes = [f"{mark} {NOTES[mark]}" for mark in (NOISY_MARK, FEW_MARK, SCALED_MARK) if mark in marks]
    title = f"{table.machine_name}, {table.machine.get('cores', '?')} cores, session {table.session}"
    return make_table(title, columns, rows, notes=[*speed_sentences(table), *notes, *table.not_measured])


def speed_sentences(table: SpeedTable) -> list[str]:
    """Return, for every other model, how much faster or slower than the baseline it is at each thing measured."""
    if not table.rows:
        return []
    base = table.baseline
    sentences = []
    for row in table.rows:
        if row is base:
            continue
        facts = [
            fact
            for what, rate in RATES.items()
            if (fact := _compared(what, rate(row.results), rate(base.results), is_same=_same_step(row, base, what)))
        ]
        if facts:
            sentences.append(f"{row.record.model.name} against {base.record.model.name}: {'; '.join(facts)}.")
    return sentences


def _compared(what: str, one: MedianInterval | None, other: MedianInterval | None, *, is_same: bool) -> str:
    """Return how two rates differ in words, "" if one of them is missing."""
    if one is None or other is None:
        return ""
    if not is_same:
        return f"{what} not comparable, since the steps differ in rows or tokens"
    if one.has_few_values or other.has_few_values:
        ratio = f"{times(max(one.median, other.median) / min(one.median, other.median))}"
        faster = "faster" if one.median >= other.median else "slower"
        return f"{ratio} {faster} at {what}, from too few repetitions for an interval"
    if one.overlaps(other):
        return f"no difference at {what} beyond the noise"
    if one.median > other.median:
        return f"{times(one.median / other.median)} faster at {what}"
    return f"{times(other.median / one.median)} slower at {what}"


def _same_step(row: Measured, base: Measured, what: str) -> bool:
    one, other = row.results.training, base.results.training
    if what != "training" or one is None or other is None:
        return True
    return (one.global_batch, one.max_length) == (other.global_batch, other.max_length)


def _row(row: Measured) -> list[object]:
    results = row.results
    latency = results.prediction.latency(1) if results.prediction else None
    step = results.training
    number = row.record.model.parameters
    return [
        row.record.model.name,
        *(_rate(rate(results)) for rate in RATES.values()),
        _rate(latency.p50_ms if latency else None, " ms"),
        size_text(number) if number >= 10**6 else count(number),
        _rate(latency.p95_ms if latency else None, " ms"),
        f"{shown(results.weights_mib)} MiB",
        _rate(step.seconds_per_1000_steps, " s", SCALED_MARK * step.is_scaled) if step else MISSING,
    ]


def _rate(interval: MedianInterval | None, unit: str = "", mark: str = "") -> Cell:
    if interval is None:
        return Cell(MISSING)
    mark += NOISY_MARK * interval.is_noisy + FEW_MARK * interval.has_few_values
    return Cell(f"{shown(interval.median):,}{unit}", interval.median, mark)
