"""Runs as results: one record with its folder, or many of them."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from clue_bench import files
from clue_bench.api.run_tables import detail_tables, list_table, record_kind, result_table
from clue_bench.doors.records import (
    CHECKPOINT,
    MAJORITY_CLASS,
    SUFFIX,
    RunRecord,
    read_record,
    read_runs,
    record_path,
    record_paths,
)
from clue_bench.doors.results import DevScores, PretrainResults, TaskResults
from clue_bench.errors import NEAR, ClueBenchError
from clue_bench.numbers import article, counted, percent
from clue_bench.tables import Shown, Table
from clue_bench.tasks.scores import WITH_CHOICES, named_f1
from clue_bench.weights import CONFIG

if TYPE_CHECKING:
    import pandas as pd

MAX_NAMED = 5  # runs in an error


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """A run of any kind: its record, and the folder with its files."""

    record: RunRecord
    folder: Path

    @classmethod
    def read(cls, folder: Path, run_id: str) -> "Run":
        """Read the run `run_id` in `folder`. Raises ClueBenchError if its record is not valid."""
        return cls(read_record(record_path(folder, run_id)), folder)

    @property
    def run_id(self) -> str:
        """Return the run's name."""
        return self.record.run_id

    @property
    def model(self) -> str:
        """Return what the model is called."""
        return self.record.model.name

    @property
    def task(self) -> str | None:
        """Return the task's name, None for pretraining."""
        return self.record.task.name if self.record.task else None

    @property
    def row_options(self) -> list[str]:
        """Return the options of `predict` that a row of the run's task needs besides its first text."""
        from clue_bench.tasks.task import carried_task, load_task

        facts = self.record.task
        card = facts and carried_task(facts.name, facts.card, where=str(self.folder))
        card = card or load_task(self.task or "")
        second = ["--text-pair", "TEXT"] if card.num_texts == 2 else []
        return [*second, *["--choice", "CHOICE"] * (2 * card.has_choices)]

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.record.seed

    @property
    def settings(self) -> dict[str, Any]:
        """Return every setting that was in force, defaults included."""
        return self.record.effective

    @property
    def checkpoint(self) -> Path:
        """Return the folder of the weights, which `transformers` loads too."""
        return self.folder / CHECKPOINT

    @property
    def scores(self) -> DevScores:
        """Return the scores on dev of a run on a task. Raises ClueBenchError for a run that has none."""
        results = self.record.results
        if not isinstance(results, TaskResults):
            raise ClueBenchError(
                f"{self.run_id}: no scores on dev: kind {self.record.kind}, status {self.record.status}",
                "give a completed run of finetune, bench or floor",
            )
        return results.dev

    @property
    def accuracy(self) -> float:
        """Return the accuracy on dev, as a share of 1. Raises ClueBenchError for a run that has none."""
        return self.scores.accuracy

    @property
    def clean_accuracy(self) -> float | None:
        """Return the accuracy on the dev rows that training does not repeat; None if the record does not say."""
        results = self.record.results
        clean = results.dev_clean if isinstance(results, TaskResults) else None
        return None if clean is None else clean.accuracy

    @property
    def macro_f1(self) -> float:
        """Return the macro-F1 on dev. Raises ClueBenchError for a run that has none, on questions with passages too."""
        return self._f1("macro_f1")

    @property
    def f1(self) -> float:
        """Return the mean F1 of answers found in passages. Raises ClueBenchError for a run on any other task."""
        return self._f1("f1")

    def _f1(self, key: str) -> float:
        found = named_f1(record_kind(self.record), self.scores.macro_f1)
        if key not in found:
            other = "".join(found) or "accuracy"
            raise ClueBenchError(f"{self.run_id}: no {key} of a run on {self.task}", f"take its {other}")
        return found[key]

    @property
    def loss(self) -> float:
        """Return the loss (nats), on dev for fine-tuning, of the last report for pretraining. Raises ClueBenchError."""
        results = self.record.results
        return results.loss if isinstance(results, PretrainResults) else self.scores.loss

    @property
    def warning(self) -> str:
        """Return what to show beside the scores, "" if nothing."""
        if MAJORITY_CLASS not in self.record.flags:
            return ""
        dev, kind = self.scores, record_kind(self.record)
        if kind in WITH_CHOICES:
            return (
                f"warning: {percent(dev.top_share, 1)} of the choices are number {dev.top_label} (from 0), and "
                f"always choosing number {dev.majority_label} scores {percent(dev.majority_share)}"
            )
        if kind == "tags":
            return "warning: not one entity is right, and finding none at all scores as much"
        if kind == "span":
            return (
                f"warning: {percent(dev.top_share, 1)} of the answers are '{dev.top_label}', and "
                f"always answering '{dev.majority_label}' scores {percent(dev.majority_share)}"
            )
        return (
            f"warning: majority class: {percent(dev.top_share, 1)} of the predictions are '{dev.top_label}', and "
            f"always answering '{dev.majority_label}' scores {percent(dev.majority_share)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return self.record.model_dump(mode="json")

    @property
    def tables(self) -> list[Table]:
        """Return one table: the run's results, and where its files are."""
        return [result_table(self.record, self.folder)]

    @property
    def command(self) -> list[str]:
        """Return the words that do this run again; folders are named as the record names them, without their paths.

        Raises ClueBenchError for a measurement of speed, which is of several models at once.
        """
        record, asked = self.record, self.record.asked
        if record.kind == "speed":
            raise ClueBenchError(f"{self.run_id}: of a session of several models", "see clue-bench speed --help")
        if record.kind == "pretrain":
            settings = {key: value for key, value in asked.get("settings", {}).items() if key != "name"}
            named = {key: asked.get(key) for key in ("corpus", "from", "pairs", "steps", "epochs", "freeze")}
            named["name"] = asked.get("settings", {}).get("name")
            return ["pretrain", *([asked["recipe"]] if asked.get("recipe") else []), *_options(named, settings, asked)]
        named = {"task": asked.get("task"), "data": asked.get("data", record.data.name)}
        card = record.task and record.task.card
        if card:  # rows of one's own
            named |= dict(zip(("text", "text2"), card["text_fields"], strict=False)) | {"label": card["label_field"]}
        if record.model.is_floor:
            return ["floor", *_options({**named, "seed": record.seed}, {}, asked)]
        from clue_bench.finetuning.settings import Settings

        known = Settings.model_fields.keys() - {"precision"}
        swept = {key: value for key, value in record.effective.items() if key in known}
        settings = asked.get("settings", swept)  # runs of a sweep lack them
        return ["finetune", *_options({**named, "model": asked.get("model"), "seed": record.seed}, settings, asked)]

    @property
    def details(self) -> "Details":
        """Return everything about the run as tables: result, circumstances, every setting with its meaning."""
        return Details(self)


@dataclass(frozen=True, repr=False)
class Details(Shown):
    """Everything about one run, for people."""

    run: Run

    @property
    def tables(self) -> list[Table]:
        """Return the result, the circumstances, and the settings."""
        return detail_tables(self.run.record, self.run.folder)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return self.run.to_json()


@dataclass(frozen=True, repr=False)
class Runs(Shown, Sequence[Run]):
    """Runs in the order of their records' paths."""

    runs: tuple[Run, ...]

    @overload
    def __getitem__(self, which: int) -> Run: ...
    @overload
    def __getitem__(self, which: slice) -> "Runs": ...
    def __getitem__(self, which: int | slice) -> "Run | Runs":
        """Return one run, or some as `Runs`."""
        return self.runs[which] if isinstance(which, int) else Runs(self.runs[which])

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def find(self, run_id: str) -> Run:
        """Return the run called `run_id`, or in the folder of that name. Raises ClueBenchError naming the nearest."""
        found = {run.folder.name: run for run in self.runs} | {run.run_id: run for run in self.runs}
        if run_id in found:
            return found[run_id]
        close = difflib.get_close_matches(run_id, found, n=1, cutoff=NEAR)
        if close:
            raise ClueBenchError(f"no run '{run_id}': did you mean '{close[0]}'?", f"give {found[close[0]].folder}")
        latest = sorted(self.runs, key=lambda run: run.record.started_at)[-MAX_NAMED:]
        raise ClueBenchError(
            f"no run '{run_id}' among {counted(len(self), 'run')}; the latest:",
            "give the folder of one, or see them all: clue-bench runs list",
            details=[str(run.folder) if len(record_paths(run.folder)) == 1 else run.run_id for run in latest],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the records as plain values."""
        return {"runs": [run.to_json() for run in self.runs]}

    @property
    def tables(self) -> list[Table]:
        """Return one table with a line for each run, the latest last: which run was which."""
        return [list_table([(run.record, run.folder) for run in self.runs])]

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a pandas frame with a row for each run, settings included."""
        import pandas as pd

        return pd.DataFrame([_frame_row(run) for run in self.runs])


def _options(named: dict[str, Any], settings: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Return options of a command: those with values, settings, and flags that were given."""
    words = [word for name, value in named.items() if value is not None for word in (f"--{name}", str(value))]
    for key, value in settings.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"]
    return words + [f"--{flag.replace('_', '-')}" for flag in ("debug_size", "cuda_graphs") if asked.get(flag)]


def find_run(reference: Path | str, records: Path | str = "runs") -> Run:
    """Return one run: by its folder, its record, or its id among those below `records`. Raises ClueBenchError."""
    path = files.expanded(reference)
    if not record_paths(path) and (path / CONFIG).is_file():  # a checkpoint in a run's folder
        path = path.parent
    if path.name.endswith(SUFFIX) and path.is_file():
        return Run(read_record(path), path.parent)
    paths = record_paths(path)
    if len(paths) == 1:
        return Run(read_record(paths[0]), path)
    if not path.is_dir():
        if not as_path(records, "records").is_dir():
            raise ClueBenchError(
                f"{reference}: no such folder, and no folder {records} whose runs could be called so",
                "give the folder of a run, or --records FOLDER",
            )
        return load_runs(records).find(str(reference))
    below = [str(found.folder if not paths else found.record.run_id) for found in read_runs(path)]
    if not below:
        raise ClueBenchError(
            f"{path}: no run record in it or below", "give the folder of a run; see clue-bench runs list"
        )
    where = "" if not paths else f" --records {path}"
    raise ClueBenchError(
        f"{path}: holds {len(below)} runs, expected one", f"run clue-bench runs show {below[-1]}{where}", details=below
    )


def as_path(value: object, what: str) -> Path:
    """Return a path; that of a run is its folder. Raises ClueBenchError for anything else, calling it `what`."""
    return Path(as_reference(value, what))


def as_reference(value: object, what: str) -> Path | str:
    """Return a path or a hub id as it was typed ("./tiny" is no id, and a Path would lose the "./"), or a run's folder.

    Raises ClueBenchError for anything else, calling it `what`.
    """
    if isinstance(value, Run):
        return value.folder
    if isinstance(value, str | Path) and str(value):
        return files.expanded(value) if str(value).startswith("~") else value
    found = "an empty text" if value == "" else f"{article(type(value).__name__)}"
    raise ClueBenchError(f"{what}: found {found}, expected a path or a run", f"give {what} as text, a Path, or a Run")


def check_seed(seed: object) -> None:
    """Raise ClueBenchError unless `seed` is a whole number from 0."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ClueBenchError(f"seed: found {seed!r}, expected a whole number from 0", "give seed=1, for example")


def check_choice(what: str, value: object, choices: Sequence[str]) -> None:
    """Raise ClueBenchError unless `value`, of the argument `what`, is one of `choices`."""
    if value not in choices:
        known = ", ".join(choices)
        raise ClueBenchError(f"{what}: found {value!r}, expected {known}", f"give one of {known}")


def as_settings(settings: object, *, steps: int | None = None) -> dict[str, Any]:
    """Return settings by their keys, with `steps` if given. Raises ClueBenchError for anything but a dictionary."""
    if settings is not None and not isinstance(settings, Mapping):
        raise ClueBenchError(
            f"settings: found {article(type(settings).__name__)}, expected a dictionary",
            'give settings={"learning_rate": 1e-4}, for example',
        )
    return {**(settings or {}), **({} if steps is None else {"steps": steps})}


def load_runs(folder: Path | str = "runs") -> Runs:
    """Load every run below `folder`, at any depth, unfinished ones included.

    Raises ClueBenchError if there is no such folder, or a record is not valid.
    """
    folder = as_path(folder, "folder")
    return Runs(tuple(Run(found.record, found.folder) for found in read_runs(folder)))


def _frame_row(run: Run) -> dict[str, Any]:
    record, results = run.record, run.record.results
    dev = results.dev if isinstance(results, TaskResults) else None
    return {
        "run_id": record.run_id,
        "kind": record.kind,
        "status": record.status,
        "task": run.task,
        "model": record.model.name,
        "parameters": record.model.parameters,
        "seed": record.seed,
        "accuracy": dev and dev.accuracy,
        "clean_accuracy": run.clean_accuracy,
        **{"macro_f1": None, "f1": None, **named_f1(record_kind(record), dev and dev.macro_f1)},
        "loss": run.loss if dev or isinstance(results, PretrainResults) else None,
        "seconds": None if record.status == "interrupted" else record.wall_seconds,
        "data": record.data.name,
        "revision": record.data.revision,
        "flags": " ".join(record.flags),
        "folder": str(run.folder),
        **{f"settings.{key}": value for key, value in record.effective.items()},
    }
