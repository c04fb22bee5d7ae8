"""Send reports to trackers, programs that show the curves of many runs side by side.

Input: reports, one after another. Output: every number of a report, under its name in `TrainingReport`, at its step.

- TensorBoard: event files in OUT/tensorboard. `tensorboard --logdir runs` shows every run below `runs`.
- trackio: a run of the project `clue-bench` in trackio's own folder on this machine (TRACKIO_DIR, else beside the
  Hugging Face cache). `trackio show --project clue-bench` shows it. Nothing leaves the machine.

A run that continues after an interruption repeats some steps: their earlier numbers are dropped. Both packages are
imported at the first report, so that the first step does not wait for them.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.curve import read_reports
from clue_bench.pretraining.report import TrainingReport

Choice = Literal["auto", "none", "tensorboard", "trackio"]
"""The trackers; `auto` is TensorBoard if it is installed, else none."""

FOLDER = "tensorboard"
PROJECT = "clue-bench"


def pick_tracker(choice: Choice) -> Literal["none", "tensorboard", "trackio"]:
    """Return the tracker to use. Raises ClueBenchError if it was chosen by name and is not installed."""
    if choice not in get_args(Choice):
        known = ", ".join(get_args(Choice))
        raise ClueBenchError(f"tracker: found {choice!r}, expected {known}", f"give one of {known}")
    if choice == "auto":
        return "tensorboard" if find_spec("tensorboard") else "none"
    if choice != "none" and find_spec(choice) is None:
        raise ClueBenchError(
            f"--tracker {choice}: {choice} is not installed", f"run pip install 'clue-bench[{choice}]'"
        )
    return choice


def tracked(
    reports: Iterable[TrainingReport | None],
    choice: Literal["none", "tensorboard", "trackio"],
    *,
    out: Path,
    metrics: Path,
    name: str,
    config: dict[str, Any],
) -> Iterator[TrainingReport | None]:
    """Log `reports` of the run `name` in the folder `out`, and pass them on; None, for a step without one, too.

    `metrics` are the reports so far, `config` the recipe. Without any report nothing is opened or written.
    """
    tracker: TensorBoard | Trackio | None = None
    try:
        for report in reports:
            if report is not None and tracker is None:
                if choice == "tensorboard":
                    tracker = TensorBoard(out / FOLDER, first_step=report.step)
                elif choice == "trackio":
                    tracker = Trackio(out, metrics, name=name, config=config, first_step=report.step)
            if report is not None and tracker is not None:
                tracker.log(report)
            yield report
    finally:
        if tracker is not None:
            tracker.close()


def scalars(report: TrainingReport | dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a report, without its step and missing values."""
    values = report if isinstance(report, dict) else asdict(report)
    return {name: value for name, value in values.items() if value is not None and name != "step"}


class TensorBoard:
    """TensorBoard's event files."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        """Open `folder`; mark what an interrupted run wrote from `first_step` on as void."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step)

    def log(self, report: TrainingReport) -> None:
        """Write a report to disk, so that after a kill -9 the next run continues where this one ended."""
        for name, value in scalars(report).items():
            self._writer.add_scalar(name, value, report.step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Trackio:
    """A run in trackio's database."""

    def __init__(self, out: Path, metrics: Path, *, name: str, config: dict[str, Any], first_step: int) -> None:
        """Start afresh: trackio cannot drop single steps, so metrics.jsonl is logged again up to `first_step`."""
        _stay_on_this_machine()
        self._trackio = trackio = import_module("trackio")
        config = {**config, "out": str(out.resolve())}
        with contextlib.suppress(ValueError):  # there is no such project yet
            for run in list(trackio.Api().runs(PROJECT)):
                if run.name == name and (run.config or {}).get("out") == config["out"]:
                    run.delete()
        with contextlib.redirect_stdout(sys.stderr):  # trackio prints; stdout is for results
            self._run = trackio.init(
                PROJECT, name=name, config=config, embed=False, auto_log_gpu=False, auto_log_cpu=False
            )
        for earlier in read_reports(metrics):
            if earlier["step"] < first_step:
                self._run.log(scalars(earlier), step=earlier["step"])

    def log(self, report: TrainingReport) -> None:
        """Pass a report to trackio's thread, which writes twice a second."""
        self._run.log(scalars(report), step=report.step)

    def close(self) -> None:
        """Wait until everything is written."""
        with contextlib.redirect_stdout(sys.stderr):
            self._trackio.finish()


def _stay_on_this_machine() -> None:
    """Keep trackio from identifying the user at a hub, and from sending metrics to a space or a server."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    for variable in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID"):
        os.environ.pop(variable, None)
