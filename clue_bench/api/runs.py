"""Runs as results: one record with its folder, or many of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from clue_bench.doors.records import MAJORITY_CLASS, RunRecord, read_record, read_runs, record_path
from clue_bench.doors.results import DevScores, PretrainResults, SpeedResults, TaskResults
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.tables import Shown, Table, make_table

if TYPE_CHECKING:
    import pandas as pd

CHECKPOINT = "checkpoint"  # in a run's folder
MAX_PERPLEXITY = 1e6  # above this the digits mean nothing


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
                f"{self.run_id}: a {self.record.status} {self.record.kind} run has no scores on dev",
                "give a completed run of finetune, bench or floor",
            )
        return results.dev

    @property
    def accuracy(self) -> float:
        """Return the accuracy on dev, as a share of 1. Raises ClueBenchError for a run that has none."""
        return self.scores.accuracy

    @property
    def macro_f1(self) -> float:
        """Return the macro-F1 on dev. Raises ClueBenchError for a run that has none."""
        return self.scores.macro_f1

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
        dev = self.scores
        return (
            f"warning: majority class: {dev.top_share:.1%} of the predictions are '{dev.top_label}', and "
            f"always answering '{dev.majority_label}' scores {dev.majority_share:.2%}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return self.record.model_dump(mode="json")

    @property
    def tables(self) -> list[Table]:
        """Return one table: the run's results, and where its files are."""
        record, results = self.record, self.record.results
        if isinstance(results, PretrainResults):
            rows = [("checkpoint", str(self.checkpoint)), ("loss curve", str(self.folder / "loss.svg"))]
            rows += [("parameters", f"{record.model.parameters:,}"), *pretraining_rows(results)]
        elif isinstance(results, TaskResults):
            dev = results.dev
            rows = [("dev accuracy", f"{dev.accuracy:.2%}"), ("dev macro-F1", f"{dev.macro_f1:.4f}")]
            rows += [("majority class", f"{dev.majority_share:.2%} of dev is '{dev.majority_label}'")]
            rows += [("best step", f"{results.best_step} of {results.total_steps}")] if results.total_steps else []
            rows += [("data", f"{record.data.name}, revision {record.data.revision}")]
            rows += [("seconds", f"{record.wall_seconds:.0f}"), ("folder", str(self.folder))]
        else:
            rows = [("status", record.status), *([("error", record.error)] if record.error else [])]
            rows += [("folder", str(self.folder))]
        done = {"pretrain": "pretrained", "finetune": "finetuned", "speed": "measured"}[record.kind]
        header = done if record.status == "completed" else record.kind
        return [make_table("", [header, record.run_id], rows)]


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
        """Return the run called `run_id`. Raises ClueBenchError naming the nearest one."""
        found = {run.run_id: run for run in self.runs}
        if run_id not in found:
            raise ClueBenchError(f"no run '{run_id}': {nearest(run_id, found)}", "run clue-bench runs list")
        return found[run_id]

    def to_json(self) -> dict[str, Any]:
        """Return the records as plain values."""
        return {"runs": [run.to_json() for run in self.runs]}

    @property
    def tables(self) -> list[Table]:
        """Return one table with a line for each run."""
        rows = [
            (run.run_id, run.record.status, _headline(run), run.record.data.revision, " ".join(run.record.flags))
            for run in self.runs
        ]
        return [make_table("", ["run", "status", "result", "data revision", "flags"], rows)]

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a pandas frame with a row for each run, settings included."""
        import pandas as pd

        return pd.DataFrame([_frame_row(run) for run in self.runs])


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
        return value
    found = "an empty text" if value == "" else f"a {type(value).__name__}"
    raise ClueBenchError(f"{what}: found {found}, expected a path or a run", f"give {what} as text, a Path, or a Run")


def check_seed(seed: object) -> None:
    """Raise ClueBenchError unless `seed` is a whole number from 0."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ClueBenchError(f"seed: found {seed!r}, expected a whole number from 0", "give seed=1, for example")


def load_runs(folder: Path | str = "runs") -> Runs:
    """Load every run below `folder`, at any depth, unfinished ones included.

    Raises ClueBenchError if there is no such folder, or a record is not valid.
    """
    folder = as_path(folder, "folder")
    return Runs(tuple(Run(found.record, found.folder) for found in read_runs(folder)))


def pretraining_rows(results: PretrainResults) -> list[tuple[str, str]]:
    """Return the displayed results of a finished pretraining run, in words and with units."""
    shown = []
    for key, (words, form) in PRETRAINING.items():
        value = getattr(results, key)
        is_the_loss = key == "lm_loss" and value == results.loss
        if value is not None and not is_the_loss:
            shown.append((words, form(value)))
    return shown


def number_text(number: float) -> str:
    """Return a large number in three digits: "1.23 M", "45.6 G"."""
    for prefix in ("", " k", " M", " G"):
        if number < 999.5:
            return f"{number:.3g}{prefix}"
        number /= 1000
    return f"{number:,.4g} T"


def percent_text(share: float) -> str:
    """Return a share of 1 in per cent."""
    return f"{share:.1%}"


def perplexity_text(value: float) -> str:
    """Return a perplexity in four digits."""
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" if value < MAX_PERPLEXITY else "above 1,000,000"


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _nats(loss: float) -> str:
    return f"{loss:.3f}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


PRETRAINING: dict[str, tuple[str, Callable[[float], str]]] = {
    "step": ("steps", _whole),
    "tokens": ("tokens trained on", _whole),
    "epochs": ("epochs of the last stage", lambda number: f"{number:.3g}"),
    "loss": ("loss (nats)", _nats),
    "lm_loss": ("loss, tokens", _nats),
    "sop_loss": ("loss, sentence order", _nats),
    "pair_loss": ("loss, labelled pairs", _nats),
    "lm_accuracy": ("accuracy, tokens", percent_text),
    "sop_accuracy": ("accuracy, sentence order", percent_text),
    "pair_accuracy": ("accuracy, labelled pairs", percent_text),
    "held_out_loss": ("held-out loss (nats)", _nats),
    "held_out_perplexity": ("held-out perplexity", perplexity_text),
    "held_out_accuracy": ("held-out accuracy, tokens", percent_text),
    "held_out_sop_accuracy": ("held-out accuracy, order", percent_text),
    "skipped": ("steps skipped", _whole),
    "seconds": ("training time", _time),
    "mean_tokens_per_second": ("tokens per second", _whole),
    "matrix_product_flops_per_second": ("matrix products reach", lambda number: f"{number_text(number)}FLOP/s"),
    "mfu": ("MFU, of that", percent_text),
    "peak_memory_mib": ("peak memory", lambda mib: f"{mib:,} MiB"),
}
"""Results by key: their display names, and how their values are formatted. Results that are None are left out."""


def _headline(run: Run) -> str:
    """Return the main number of a run of any kind."""
    results = run.record.results
    if isinstance(results, TaskResults):
        return f"dev {results.dev.accuracy:.2%}"
    if isinstance(results, PretrainResults):
        return f"loss {results.loss:.3f}"
    if isinstance(results, SpeedResults) and results.training:
        return f"{results.training.seconds_per_1000_steps.median:.3g} s/1k steps"
    if isinstance(results, SpeedResults) and results.prediction:
        return f"{results.prediction.rows_per_second.median:.3g} rows/s"
    return ""


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
        "macro_f1": dev and dev.macro_f1,
        "loss": run.loss if dev or isinstance(results, PretrainResults) else None,
        "seconds": record.wall_seconds,
        "data": record.data.name,
        "revision": record.data.revision,
        "flags": " ".join(record.flags),
        "folder": str(run.folder),
        **{f"settings.{key}": value for key, value in record.effective.items()},
    }
