"""Speeds that may stand in one picture: of one speed table, which is one machine and one session.

Input: all records. Output: `Speeds` of measured models. A speed record belongs to a model if it is of the same
weights, else if name, parameters, layers and width are the same: speed does not depend on what was learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clue_bench.doors.records import ModelFacts, RunRecord
from clue_bench.leaderboards.speed.columns import Measured
from clue_bench.leaderboards.speed.tables import SpeedTable, speed_tables

UNIT = "行 rows/s"


@dataclass(frozen=True)
class Speeds:
    """Speeds that may be compared: of one machine, in one session. `by_sha256`: weights → value in `unit`."""

    by_sha256: Mapping[str, float]
    unit: str
    condition: str


def session_speeds(records: Sequence[RunRecord]) -> Speeds | None:
    """Return prediction speeds of the session with most of the measured models, the latest of equals; None without."""
    scored = [record for record in records if (record.kind, record.status) == ("finetune", "completed")]
    measured = {record.model.sha256: record.model for record in scored if not record.model.is_floor}
    best: Speeds | None = None
    for table in speed_tables(records):  # the latest first
        runs = [row for row in table.rows if row.results.prediction is not None]
        if not runs:
            continue
        found = {sha256: _speed(model, runs) for sha256, model in sorted(measured.items())}
        speeds = {sha256: speed for sha256, speed in found.items() if speed is not None}
        if best is None or len(speeds) > len(best.by_sha256):
            best = Speeds(speeds, UNIT, _condition(table, runs))
    return best


def _speed(model: ModelFacts, runs: Sequence[Measured]) -> float | None:
    """Return rows per second of a model; None if the session has no such model."""
    for key in (_weights, _shape):
        for run in runs:
            if key(run.record.model) == key(model) and run.results.prediction is not None:
                return run.results.prediction.rows_per_second.median
    return None


def _weights(model: ModelFacts) -> str:
    return model.sha256


def _shape(model: ModelFacts) -> tuple[str, int, int, int]:
    return model.name, model.parameters, model.layers, model.hidden_size


def _condition(table: SpeedTable, runs: Sequence[Measured]) -> str:
    lengths = {run.results.prediction.max_length for run in runs if run.results.prediction is not None}
    precisions = {run.results.prediction.precision for run in runs if run.results.prediction is not None}
    machine = ", ".join(f"{key} {value}" for key, value in table.machine.items())
    tokens = " or ".join(f"{length}" for length in sorted(lengths))
    return (
        f"prediction from texts, at most {tokens} tokens, {' or '.join(sorted(precisions))}, median over repetitions; "
        f"{machine}; session {table.session}"
    )
