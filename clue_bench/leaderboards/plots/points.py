"""The data of the board's pictures: models as points, pretraining runs as curves.

Input: a measured table and all records. Output: per column, points of models with their score in percent, its binomial
error (1 sigma), parameters and pretraining tokens; the speeds of one session; the Pareto front; loss curves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clue_bench.doors.records import ModelFacts, PretrainRecord, RunRecord
from clue_bench.doors.results import Curve
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.cells import MeasuredModel, MeasuredTable, cell_address
from clue_bench.leaderboards.scores import SCORE, SCORE_COLUMNS, error_of_mean, score_of
from clue_bench.leaderboards.speed.columns import Measured
from clue_bench.leaderboards.speed.tables import SpeedTable, speed_tables

P = TypeVar("P")


@dataclass(frozen=True)
class ScoredPoint:
    """A model in one column. `percent` and `error` are in percentage points, `tokens` is None if unknown."""

    label: str
    sha256: str
    parameters: int
    tokens: int | None
    percent: float
    error: float
    address: str


@dataclass(frozen=True)
class ColumnPoints:
    """The models of one column, and its best floor as (name, percent), None if none was run."""

    column: str
    kind: str  # of its task
    condition: str
    points: tuple[ScoredPoint, ...]
    floor: tuple[str, float] | None


@dataclass(frozen=True)
class Speeds:
    """Rows predicted per second, on one machine in one session: sha256 of weights → value."""

    by_sha256: Mapping[str, float]
    condition: str


@dataclass(frozen=True)
class RunCurve:
    """A run's curve, comparable with those of runs of the same objective and vocabulary."""

    model: str
    objective: str
    vocabulary: str
    curve: Curve


def column_points(table: MeasuredTable, tokens: dict[str, int]) -> list[ColumnPoints]:
    """Return the points of Score, if a model has one, and of every column, without floors."""
    columns = []
    models = [model for model in table.models if not model.is_floor]
    scored = [model for model in models if score_of(model.percents) is not None]
    if scored:
        points = tuple(_point(model, SCORE, table, tokens) for model in scored)
        floors = [(each.label, score) for each in table.models if each.is_floor and (score := score_of(each.percents))]
        best = max(floors, key=lambda each: each[1], default=None)
        floor = None if best is None else (best[0], float(best[1]))
        columns.append(ColumnPoints(SCORE, "classification", f"mean of {', '.join(SCORE_COLUMNS)}", points, floor))
    for column in table.columns:
        points = tuple(_point(model, column.name, table, tokens) for model in models if column.name in model.cells)
        best_floor = table.floor_of(column.name)
        floor = None if best_floor is None else (best_floor.label, float(best_floor.cells[column.name].percent))
        kind = next(model.cells[column.name].kind for model in table.models if column.name in model.cells)
        about = f"{column.revision}, {column.dev_rows:,} dev rows"
        columns.append(ColumnPoints(column.name, kind, about, points, floor))
    return columns


def _point(model: MeasuredModel, column: str, table: MeasuredTable, tokens: dict[str, int]) -> ScoredPoint:
    score = score_of(model.percents)
    if column == SCORE:
        assert score is not None
        percent, error = score, error_of_mean([model.cells[name].sampling_error for name in SCORE_COLUMNS])
    else:
        cell = model.cells[column]
        percent, error = cell.percent, cell.sampling_error
    return ScoredPoint(
        label=model.label,
        sha256=model.sha256,
        parameters=max(model.parameters),
        tokens=tokens.get(model.sha256),
        percent=float(percent),
        error=float(error or 0),
        address=cell_address(table.address, model.label, column),
    )


def pretraining_tokens(records: Iterable[RunRecord]) -> dict[str, int]:
    """Return sha256 of weights → tokens that they were pretrained on, if any record says so.

    Pretraining records say so about the checkpoint they wrote, fine-tuning records about the one they started from.
    Raises ClueBenchError that names two contradictory runs.
    """
    found: dict[str, tuple[int, str]] = {}
    for record in sorted(records, key=lambda record: record.run_id):
        tokens, sha256 = record.model.pretraining_tokens, record.model.sha256
        if tokens is None or not sha256:
            continue
        earlier = found.setdefault(sha256, (tokens, record.run_id))
        if earlier[0] != tokens:
            raise ClueBenchError(
                f"runs '{earlier[1]}' and '{record.run_id}': the same weights, {sha256[:8]}, "
                f"pretrained on {earlier[0]:,} and on {tokens:,} tokens",
                "move the wrong record away",
            )
    return {sha256: tokens for sha256, (tokens, _) in found.items()}


def session_speeds(records: Sequence[RunRecord]) -> Speeds | None:
    """Return the speeds of the session with most of the measured models, the latest among equals; None without any.

    A speed belongs to a model with the same weights, else to one with the same name, parameters, layers and width:
    speed does not depend on what was learned.
    """
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
            best = Speeds(speeds, _speed_condition(table, runs))
    return best


def _speed(model: ModelFacts, runs: Sequence[Measured]) -> float | None:
    """Return rows per second of a model; None if the session has no such model."""

    def shape(facts: ModelFacts) -> tuple[object, ...]:
        return facts.name, facts.parameters, facts.layers, facts.hidden_size

    same = [run for run in runs if run.record.model.sha256 == model.sha256]
    same += [run for run in runs if shape(run.record.model) == shape(model)]
    return same[0].results.prediction.rows_per_second.median if same and same[0].results.prediction else None


def _speed_condition(table: SpeedTable, runs: Sequence[Measured]) -> str:
    results = [run.results.prediction for run in runs if run.results.prediction is not None]
    lengths = " or ".join(f"{length}" for length in sorted({each.max_length for each in results}))
    precisions = " or ".join(sorted({each.precision for each in results}))
    machine = ", ".join(f"{key} {value}" for key, value in table.machine.items())
    return (
        f"prediction from texts, at most {lengths} tokens, {precisions}, median over repetitions; "
        f"{machine}; session {table.session}"
    )


def pareto_front(points: Iterable[P], *, speed: Callable[[P], float], score: Callable[[P], float]) -> list[P]:
    """Return the points that no other point beats in speed or score without losing in the other; fastest first."""
    front: list[P] = []
    for point in sorted(points, key=lambda each: (-speed(each), -score(each))):
        if not front or score(point) > score(front[-1]):
            front.append(point)
        elif (speed(point), score(point)) == (speed(front[-1]), score(front[-1])):
            front.append(point)  # two of one speed and score: neither is better
    return front


def staircase(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the line below which every point is beaten: the best score at each speed or a higher one."""
    line: list[tuple[float, float]] = []
    for speed, score in front:
        if line:
            line.append((speed, line[-1][1]))
        line.append((speed, score))
    return line


def read_curves(records: Iterable[RunRecord]) -> tuple[list[RunCurve], list[str]]:
    """Return the curves of the completed pretraining runs, and the run_ids of those without a curve."""
    found, without = [], []
    for record in sorted(records, key=lambda record: record.run_id):
        if not isinstance(record, PretrainRecord) or record.status != "completed":
            continue
        if (curve := record.completed_results.curve) is None:
            without.append(record.run_id)
            continue
        objective = str(record.effective.get("objective", "not known"))
        if record.effective.get("bag_weight"):  # in the loss of training, not in that of the held-out part
            objective += " + bag"
        vocabulary = (record.data.vocabulary_sha256 or "")[:8]
        found.append(RunCurve(record.model.name, objective, vocabulary, curve))
    return found, without
