"""The columns of the measured speed table, in the layout of the cards: `8021(↓62.04%)`, `1k steps/350s(↑15.43%)`.

Input: a model's record, and that of the model that it is compared with. Output: cells. Arrows are computed from the
numbers shown, so that a reader can check them by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from clue_bench.doors.records import RunRecord
from clue_bench.doors.speed_results import Latency, Memory, SpeedResults, TrainingSpeed
from clue_bench.leaderboards.scores import half_up, relative_change, size_text, speed_change
from clue_bench.numbers import percent
from clue_bench.stats.timing import COVERAGE, NOISY, MedianInterval
from clue_bench.tables import MISSING, Cell

OVERLAP_MARK, NOISY_MARK, SCALED_MARK, OTHER_STEP_MARK, FEW_MARK = "≈", "‡", "§", "¶", "※"
NOTES = {
    OVERLAP_MARK: "The interval overlaps that of the row it is compared with: the difference may be noise.",
    NOISY_MARK: f"Noisy: the interval is wider than {percent(NOISY, 0)} of the median.",
    SCALED_MARK: "The card's step was too long to be timed. Shown is the time of a micro-batch with the update plus "
    "that of each further micro-batch, from steps of one micro-batch and of as many rows as the conditions name.",
    OTHER_STEP_MARK: "No arrow: its step has another number of rows or tokens than that of the row it would be "
    "compared with.",
    FEW_MARK: f"No arrow: too few repetitions for an interval of {percent(COVERAGE, 0)}, here or in the row it "
    "would be compared with.",
}

Change = Callable[[Decimal, Decimal], str]


@dataclass(frozen=True)
class Measured:
    """A record and its checked results."""

    record: RunRecord
    results: SpeedResults


@dataclass(frozen=True)
class SpeedCell:
    """One cell: its text, its number as shown, an arrow and marks that follow, and the ends of its interval."""

    text: str = MISSING
    value: Decimal | None = None
    change: str = ""
    marks: str = ""
    ends: tuple[Decimal, Decimal] | None = None

    @property
    def shown(self) -> Cell:
        """Return the cell of a table."""
        return Cell(f"{self.text}{self.change}", self.value, self.marks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "text": self.text,
            "value": None if self.value is None else float(self.value),
            "change": self.change,
            "marks": self.marks,
            "interval": None if self.ends is None else [float(end) for end in self.ends],
        }


@dataclass(frozen=True)
class Column:
    """A column: its name, whether its cells have intervals, and the cell of a model beside its baseline's record.

    `english` stands beside the name, which is that of the cards.
    """

    name: str
    english: str
    is_measured: bool
    cell: "MakeCell"


MakeCell = Callable[[Measured, Measured | None], SpeedCell]


def shown(value: float) -> Decimal:
    """Return a measured number with three significant digits, and all digits before the point."""
    number = Decimal(repr(value))
    return half_up(number, places=max(0, 2 - number.adjusted()))


def _counted(value: Decimal, text: str, base: Decimal | None) -> SpeedCell:
    return SpeedCell(text, value, "" if base is None else relative_change(value, base))


def _timed(
    interval: MedianInterval | None,
    base: MedianInterval | None,
    *,
    pattern: str = "{:,}",
    change: Change = relative_change,
) -> SpeedCell:
    """Return the cell of a measurement, with an arrow where `base` is given."""
    if interval is None:
        return SpeedCell()
    value, marks = shown(interval.median), NOISY_MARK * interval.is_noisy
    ends = (shown(interval.low), shown(interval.high)) if interval.coverage else None
    if interval.has_few_values or (base is not None and base.has_few_values):
        return SpeedCell(pattern.format(value), value, "", marks + FEW_MARK, ends)
    if base is None:
        return SpeedCell(pattern.format(value), value, "", marks, ends)
    marks = OVERLAP_MARK * interval.overlaps(base) + marks
    return SpeedCell(pattern.format(value), value, change(value, shown(base.median)), marks, ends)


def _vocabulary(row: Measured, base: Measured | None) -> SpeedCell:
    size = row.results.vocab_size
    return _counted(Decimal(size), str(size), None if base is None else Decimal(base.results.vocab_size))


def _parameters(row: Measured, base: Measured | None) -> SpeedCell:
    number = row.record.model.parameters
    text = size_text(number) if number >= 10**6 else f"{number:,}"
    return _counted(Decimal(number), text, None if base is None else Decimal(base.record.model.parameters))


def _weights(row: Measured, base: Measured | None) -> SpeedCell:
    value = shown(row.results.weights_mib)
    return _counted(value, f"{value} MiB", None if base is None else shown(base.results.weights_mib))


def _training(row: Measured, base: Measured | None) -> SpeedCell:
    step, other = row.results.training, None if base is None else base.results.training
    if step is None:
        return SpeedCell()
    is_same_step = other is not None and (step.global_batch, step.max_length) == (other.global_batch, other.max_length)
    reference = other.seconds_per_1000_steps if other is not None and is_same_step else None
    cell = _timed(step.seconds_per_1000_steps, reference, pattern="1k steps/{}s", change=speed_change)
    marks = SCALED_MARK * step.is_scaled + OTHER_STEP_MARK * (other is not None and not is_same_step)
    return replace(cell, marks=cell.marks + marks)


def _utilisation(of: Callable[[TrainingSpeed], MedianInterval | None]) -> MakeCell:
    """Return a function that makes cells in percent, without an arrow; none where an older record lacks the number."""

    def cell(row: Measured, _: Measured | None) -> SpeedCell:
        interval = of(row.results.training) if row.results.training else None
        if interval is None:
            return SpeedCell()
        median, low, high = (
            half_up(Decimal(repr(n)) * 100, places=1) for n in (interval.median, interval.low, interval.high)
        )
        marks = NOISY_MARK * interval.is_noisy + FEW_MARK * interval.has_few_values
        return SpeedCell(f"{median}%", median, "", marks, (low, high) if interval.coverage else None)

    return cell


def _rate(of: Callable[[SpeedResults], MedianInterval | None]) -> MakeCell:
    """Return a function that makes cells with an arrow."""
    return lambda row, base: _timed(of(row.results), None if base is None else of(base.results))


def _latency(batch: int, of: Callable[[Latency], MedianInterval]) -> MakeCell:
    """Return a function that makes cells without an arrow."""

    def cell(row: Measured, _: Measured | None) -> SpeedCell:
        found = row.results.prediction.latency(batch) if row.results.prediction else None
        return SpeedCell() if found is None else _timed(of(found), None)

    return cell


def _memory(row: Measured, _: Measured | None) -> SpeedCell:
    parts = (row.results.training, row.results.finetuning, row.results.prediction)
    return SpeedCell(" / ".join(MISSING if part is None else f"{_peak(part.memory):,}" for part in parts))


def _peak(memory: Memory) -> int:
    return memory.resident_mib if memory.device_mib is None else memory.device_mib


COLUMNS = (
    Column("词汇表大小", "vocabulary size", False, _vocabulary),
    Column("参数量", "parameters", False, _parameters),
    Column("存储大小", "size on disk", False, _weights),
    Column("训练速度", "training speed", True, _training),
    Column(
        "有效 token/s",
        "useful tokens",
        True,
        _rate(lambda r: r.training.useful_tokens_per_second if r.training else None),
    ),
    Column("MFU", "model FLOPs utilisation", True, _utilisation(lambda training: training.mfu)),
    Column("HFU", "hardware FLOPs utilisation", True, _utilisation(lambda training: training.hfu)),
    Column(
        "微调 行/s",
        "fine-tuning, rows/s",
        True,
        _rate(lambda r: r.finetuning.rows_per_second if r.finetuning else None),
    ),
    Column(
        "预测 行/s", "prediction, rows/s", True, _rate(lambda r: r.prediction.rows_per_second if r.prediction else None)
    ),
    Column("1 行 p50 ms", "latency, 1 row", True, _latency(1, lambda each: each.p50_ms)),
    Column("1 行 p95 ms", "latency, 1 row", True, _latency(1, lambda each: each.p95_ms)),
    Column("32 行 p50 ms", "latency, 32 rows", True, _latency(32, lambda each: each.p50_ms)),
    Column("32 行 p95 ms", "latency, 32 rows", True, _latency(32, lambda each: each.p95_ms)),
    Column("内存峰值 MiB", "peak of memory", False, _memory),
)
