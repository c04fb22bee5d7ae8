"""Door 3: run records. One JSON file per run; every number shown anywhere comes from one.

Format, version 1. `<run_id>.record.json`, UTF-8, one object with the keys of `Record` below
(docs/schema/record.schema.json is the JSON schema):

    format_version  1
    kind            "pretrain" | "finetune" | "speed"
    run_id          file name without ".record.json"; also the name of the run's folder
    status          "completed" | "failed" | "interrupted"; a run writes "interrupted" first and replaces it at its end,
                    so a run that was killed says so
    error           one line, null unless failed
    started_at, finished_at, wall_seconds
    asked           what the user typed: names and settings, as given
    effective       every setting that was in force, defaults included
    seed
    task            finetune only: name, title and column of the task card, and how its metric is called; the whole card
                    where it is not a built-in one
    data            what was read: name, revision and, per file, rows and md5 found and expected; where dev was held out
                    of train, which share, by which seed; which dev rows training repeats; source_md5 of a file of
                    one's own that held the training rows
    model           name, parameters, sha256 of the weights; for a fine-tuning run, of the checkpoint it started from;
                    is_floor (false where it is not said) for a no-pretraining baseline, which started from none: the
                    hash is then that of its specification, and parameters are the coefficients fitted on this task
    code, packages, hardware
    results         {} unless completed; else the numbers of this kind of run, see `results`
    flags           warnings about the result, e.g. "majority_class", to be shown beside the number

There are four types, distinguished by `kind` and `model.is_floor`; `RunRecord` is their union. Writer: `write_record`,
atomically; nothing else writes records. Reader: `read_record`, `read_records`; an invalid file is an error that names
it, never skipped.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pydantic

from clue_bench import files
from clue_bench.doors.results import (
    BaselineResults,
    Facts,
    FactsWithLateKeys,
    FinetuneResults,
    PretrainResults,
    Results,
    RowBits,
)
from clue_bench.doors.speed_results import SpeedResults
from clue_bench.errors import ClueBenchError

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
SUFFIX = ".record.json"
CHECKPOINT = "checkpoint"  # the folder of a run's model, in the run's folder
LOCK = ".lock"  # in a run's folder, held while a process does the run

MAJORITY_CLASS = "majority_class"
"""Flag: the model predicts (nearly) the most frequent class and nothing else, or is no better than doing so."""

NOISY_SPEED = "noisy_speed"
"""Flag: a speed's interval is wider than a tenth of its median."""

FEW_REPETITIONS = "few_repetitions"
"""Flag: there are too few repetitions of a speed measurement for intervals of 95 %."""

OFFICIAL = "official"
"""Data revision: row counts and md5 of every file read equal those of the task card."""

OFF = {
    "patience": 0,
    "class_balance": 0.0,
    "label_smoothing": 0.0,
    "layer_decay": 1.0,
    "ema_decay": 0.0,
    "fgm_epsilon": 0.0,
    "r_drop_alpha": 0.0,
}
"""Options of fine-tuning that do nothing at these values, their defaults."""

LATE = ("class_balance",)
"""Those that older records lack."""


class TaskFacts(FactsWithLateKeys):
    """Which task a fine-tuning run was on. `card_sha256` hashes every value of its card.

    `card` is the card itself, where it is not a built-in one: a task of one's own travels with its runs.
    """

    late_keys = ("card",)

    name: str
    title: str
    column: str
    metric: str
    card_sha256: str = ""
    card: dict[str, Any] | None = None


class FileFacts(FactsWithLateKeys):
    """One data file: what was found and what the card expects.

    `is_numbered`: rows of an official test set state no ids, so that these are their numbers, and nothing tells whether
    the order is the official one.
    """

    late_keys = ("is_numbered",)

    rows: int
    md5: str
    expected_rows: int | None
    expected_md5: str | None
    dropped_rows: int = 0
    is_numbered: bool | None = None

    @property
    def is_official(self) -> bool:
        """Return whether rows and md5 are the card's."""
        return (self.rows, self.md5) == (self.expected_rows, self.expected_md5)


class HeldOut(Facts):
    """Dev rows that were held out of training rows, because the data had no dev split."""

    share: float  # of the rows of each class
    seed: int
    rows: int


class DataFacts(FactsWithLateKeys):
    """The data that a run read. `revision` is "official", or "different-…" or "synthetic-…" with 8 digits of a hash.

    `repeated` says which dev rows have the texts of a training row, character by character; `passages` which questions
    of dev are the first ones of their passage or line, where rows are such.
    """

    late_keys = ("held_out", "repeated", "source_md5", "passages")

    name: str
    revision: str
    files: dict[str, FileFacts] = pydantic.Field(default_factory=dict)
    tokens: int | None = None
    corpus_sha256: str | None = None
    vocabulary_sha256: str | None = None
    held_out: HeldOut | None = None
    repeated: RowBits | None = None
    passages: RowBits | None = None
    source_md5: str | None = None  # of the file that the training rows were taken from, if it was one's own


class ModelFacts(FactsWithLateKeys):
    """The model of a run. `parameters` counts encoder and pooler, the field's usual figure, without any head.

    `origin` is the recipe or release that the model is, where `name` is one that its user has chosen.
    """

    late_keys = ("origin",)

    name: str
    parameters: int
    sha256: str
    layers: int
    hidden_size: int
    pretraining_tokens: int | None = None
    is_floor: bool = False  # without any pretraining, there to be beaten
    origin: str | None = None


R = TypeVar("R", bound=Results)
T = TypeVar("T", bound="Record[Any]")


class Record(Facts, Generic[R]):
    """One run: what was asked, what was effective, and what came of it. The module's docstring is the specification."""

    format_version: Literal[1] = 1
    kind: Literal["pretrain", "finetune", "speed"]
    run_id: str
    status: Literal["completed", "failed", "interrupted"]
    error: str | None = None
    started_at: str
    finished_at: str | None = None
    wall_seconds: float = 0.0
    asked: dict[str, Any]
    effective: dict[str, Any]
    seed: int
    task: TaskFacts | None = None
    data: DataFacts
    model: ModelFacts
    code: dict[str, str | bool]
    packages: dict[str, str]
    hardware: dict[str, str | int]
    results: R | None = pydantic.Field(default=None, validate_default=True)
    flags: list[str] = pydantic.Field(default_factory=list)

    @property
    def completed_results(self) -> R:
        """Return the results. Raises ClueBenchError if there are none, since the run is not completed."""
        if self.results is None:
            raise ClueBenchError(f"run '{self.run_id}' is {self.status}: it has no results", "repeat the run")
        return self.results

    @pydantic.field_validator("results", mode="before")
    @classmethod
    def _only_the_completed_have_results(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        return (value or {}) if info.data.get("status") == "completed" else (value or None)

    @pydantic.field_serializer("results", mode="wrap")
    def _nothing_is_an_empty_object(self, value: Any, serialize: pydantic.SerializerFunctionWrapHandler) -> Any:
        return {} if value is None else serialize(value)


class PretrainRecord(Record[PretrainResults]):
    """A pretraining run."""

    kind: Literal["pretrain"] = "pretrain"


class FinetuneRecord(Record[FinetuneResults]):
    """A fine-tuning run."""

    kind: Literal["finetune"] = "finetune"
    task: TaskFacts


class BaselineRecord(Record[BaselineResults]):
    """A no-pretraining baseline on a task, recorded like a fine-tuning run; `model.is_floor` says so."""

    kind: Literal["finetune"] = "finetune"
    task: TaskFacts


class SpeedRecord(Record[SpeedResults]):
    """The speed of one model of a session."""

    kind: Literal["speed"] = "speed"


TaskRecord = FinetuneRecord | BaselineRecord
RunRecord = PretrainRecord | FinetuneRecord | BaselineRecord | SpeedRecord


def _tag(values: Any) -> str | None:
    if isinstance(values, Record):
        return "baseline" if isinstance(values, BaselineRecord) else values.kind
    if not isinstance(values, Mapping):
        return None
    kind, model = values.get("kind"), values.get("model")
    is_floor = model.get("is_floor") if isinstance(model, Mapping) else getattr(model, "is_floor", False)
    return "baseline" if kind == "finetune" and is_floor is True else str(kind)


_READER: pydantic.TypeAdapter[RunRecord] = pydantic.TypeAdapter(
    Annotated[
        Annotated[PretrainRecord, pydantic.Tag("pretrain")]
        | Annotated[FinetuneRecord, pydantic.Tag("finetune")]
        | Annotated[BaselineRecord, pydantic.Tag("baseline")]
        | Annotated[SpeedRecord, pydantic.Tag("speed")],
        pydantic.Discriminator(_tag),
    ]
)


def parse_record(values: Mapping[str, Any]) -> RunRecord:
    """Decode a record from plain `values`. Raises ValidationError."""
    return _READER.validate_python(values)


def record_schema() -> dict[str, Any]:
    """Return the JSON schema of records, as docs/schema/record.schema.json has it."""
    schema = _READER.json_schema()
    for definition in schema["$defs"].values():
        results = definition["properties"].get("results")
        if results is not None and "status" in definition["properties"]:  # a record: without results it holds {}
            results.update(anyOf=[results["anyOf"][0], {"type": "object", "maxProperties": 0}], default={})
    schema["anyOf"] = schema.pop("oneOf")  # without results, records of two kinds look alike
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "clue-bench run record", **schema}


def write_schema(path: Path = Path("docs/schema/record.schema.json")) -> None:
    """Write the JSON schema of records to `path`."""
    files.write_json(path, record_schema())


def told_apart(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that tell runs apart: late options only where they are on, so that older ids stay."""
    return {k: v for k, v in settings.items() if k not in LATE or v != OFF[k]}


def in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a record with the options that older ones lack, of fine-tuning alone."""
    late = {key: OFF[key] for key in LATE} if "learning_rate" in settings and "batch_size" in settings else {}
    return {**late, **settings}


def record_path(folder: Path, run_id: str) -> Path:
    """Return the path of the record of `run_id` in `folder`."""
    return folder / f"{run_id}{SUFFIX}"


def record_paths(folder: Path) -> list[Path]:
    """Return the records directly in `folder`, sorted; a run's folder has one."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def claim_folder(
    folder: Path, run_id: str, *, hint: str = "give another --out, or the settings of that run to continue it"
) -> None:
    """Check that `folder` may hold the run `run_id`: it has no runs yet, or this very run.

    Raises ClueBenchError if it holds another run's record, or a checkpoint without a record.
    """
    others = [path.name for path in record_paths(folder) if path != record_path(folder, run_id)]
    if others:
        raise ClueBenchError(
            f"{folder} holds another run, {others[0].removesuffix(SUFFIX)}; asked for {run_id}",
            hint,
        )
    if (folder / CHECKPOINT).exists() and not record_path(folder, run_id).is_file():
        raise ClueBenchError(f"{folder}: a checkpoint, but no record of this run", "give another --out")


def completed_record(folder: Path, run_id: str, record_type: type[T], *, hint: str | None = None) -> T | None:
    """Return the record of `run_id` in `folder` if it says "completed"; the caller checks the run's files.

    Raises ClueBenchError if the folder holds another run.
    """
    claim_folder(folder, run_id, **({} if hint is None else {"hint": hint}))
    path = record_path(folder, run_id)
    record = read_record_of(path, record_type) if path.is_file() else None
    return record if record is not None and record.status == "completed" else None


def write_failed(folder: Path, record: RunRecord, *, error: str, finished_at: str, wall_seconds: float) -> None:
    """Replace the record of a run that ended with `error`."""
    ended = {"status": "failed", "error": error, "finished_at": finished_at, "wall_seconds": wall_seconds}
    write_record(folder, record.model_copy(update=ended))


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write `record` into `folder`, replacing an earlier one of the same run; return its path."""
    path = record_path(folder, record.run_id)
    files.write_json(path, record.model_dump(mode="json"))
    return path


class FolderInUseError(ClueBenchError):
    """Another process is doing this very run: the run has neither failed nor ended."""


def folder_in_use(folder: Path) -> FolderInUseError:
    """Return the error for a run's folder that another process has locked."""
    return FolderInUseError(
        f"{folder}: another process is doing this run",
        "wait for it, then type the same command again; or give another --out",
    )


def is_running(folder: Path, record: RunRecord) -> bool:
    """Return whether a process is doing the run at the moment: its record says "interrupted", its folder is locked."""
    return record.status == "interrupted" and files.is_held(folder / LOCK)


def read_record(path: Path) -> RunRecord:
    """Read one record. Raises ClueBenchError that names the file and its first mistake."""
    try:
        return _READER.validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        names_no_kind = first["type"] == "union_tag_invalid"
        key = "kind" if names_no_kind else ".".join(map(str, first["loc"][1:])) or "the file"  # loc[0] is the tag
        raise ClueBenchError(
            f"{path}: not a run record of format {FORMAT_VERSION}: {key}: {first['msg'].removeprefix('Value error, ')}",
            "move the file away, or repeat the run that wrote it",
        ) from error


def read_record_of(path: Path, record_type: type[T]) -> T:
    """Read one record of the given kind. Raises ClueBenchError, also for a record of another kind."""
    record = read_record(path)
    if not isinstance(record, record_type):
        raise ClueBenchError(
            f"{path}: a {type(record).__name__}, expected a {record_type.__name__}", "give the folder of another run"
        )
    return record


def read_records(folder: Path) -> Iterator[RunRecord]:
    """Yield every record under `folder`, at any depth, in the order of their paths; a copy counts once.

    Raises ClueBenchError as `read_runs` does.
    """
    return (found.record for found in read_runs(folder))


class FoundRun(NamedTuple):
    """A record, the folder that it lies in, and the folders of equal copies of it."""

    record: RunRecord
    folder: Path
    copies: tuple[Path, ...]


def read_runs(folder: Path) -> list[FoundRun]:
    """Return every record under `folder`, at any depth, in the order of their paths, each with its folder.

    Of equal records, as when one is copied to be published, the one in the folder of its own name counts. Of a run that
    was done more than once, in several folders, the complete one counts, and of several the newest; a warning names the
    others. Raises ClueBenchError if the folder does not exist, or a record is not valid.
    """
    if not folder.is_dir():
        raise ClueBenchError(f"{folder}: no such folder of run records", "run clue-bench finetune first")
    found: dict[str, FoundRun] = {}
    paths = [path for path in files.below(folder) if path.name.endswith(SUFFIX)]
    for path in sorted(paths, key=lambda each: (len(record_paths(each.parent)) > 1, each)):
        record = read_record(path)
        if path != record_path(path.parent, record.run_id):
            raise ClueBenchError(f"{path}: holds run_id '{record.run_id}'", "give the file its run's name")
        first = found.setdefault(record.run_id, FoundRun(record, path.parent, ()))
        if first.folder == path.parent:
            continue
        if first.record == record:
            found[record.run_id] = first._replace(copies=(*first.copies, path.parent))
            continue
        better, other = sorted((FoundRun(record, path.parent, ()), first), key=_standing, reverse=True)
        log.warning("%s: left out, the same run as %s, done again", other.folder, better.folder)
        found[record.run_id] = better
    return sorted(found.values(), key=lambda each: record_path(each.folder, each.record.run_id))


def _standing(found: FoundRun) -> tuple[bool, str]:
    """Return what decides among runs of one id: whether it is complete, and when it began."""
    return found.record.status == "completed", found.record.started_at
