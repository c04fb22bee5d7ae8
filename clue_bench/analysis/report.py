"""The report of a run: its analysis in one HTML file.

Input: a run's folder, a folder of task data. Output: a page that needs nothing else: no request leaves it (its own
policy forbids them), it opens from file://, follows the reader's light or dark setting and fits a phone. Everything
that comes from data is escaped by jinja2 or by the XML writer; only the page's own script may run.
"""

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from clue_bench import files
from clue_bench.analysis import pictures
from clue_bench.analysis.calibration import NUM_BINS
from clue_bench.analysis.examine import Analysis, examine
from clue_bench.doors.records import MAJORITY_CLASS
from clue_bench.tasks.task import Task

FILE = "report.html"
COVERAGES = (0.5, 0.8)
SHORT_TEXT = 160  # characters of an example that are shown before one asks for the rest

FLAGS = {
    MAJORITY_CLASS: "majority class: the model says (nearly) nothing but the most frequent label, or is no better than "
    "always saying it. The score shows no skill."
}
"""What the flags of a record mean; others are shown as they stand."""


def write_report(run_folder: Path, data: Path, out: Path, *, card: Task | None = None) -> None:
    """Write the report of the run in `run_folder` to the file `out`, atomically.

    `data` is the folder of task data that the run read; `card` the task's, looked up by its name if None. Raises
    ClueBenchError if the run is not finished, or the data are not those that it predicted.
    """
    files.write_text(out, render(examine(run_folder, data, card=card)))


def render(analysis: Analysis) -> str:
    """Return the page."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(percent=_percent, number=_number)
    script = _file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    record = analysis.run.record
    evaluations = record.results.get("evaluations", [])
    best_step = record.results.get("best_step", 0)
    names = [label_name(analysis.task, number) for number in range(len(analysis.task.labels))]
    learning = (
        pictures.loss_picture(evaluations, best_step=best_step),
        pictures.accuracy_picture(evaluations, best_step=best_step, majority_share=analysis.majority_share),
    )
    return environment.from_string(_file("report.html")).render(
        analysis=analysis,
        record=record,
        task=analysis.task,
        names=names,
        name_of=dict(zip(analysis.task.labels, names, strict=True)),
        flags=[FLAGS.get(flag, flag.replace("_", " ")) for flag in record.flags],
        sizes=_block_sizes(analysis),
        confusion=Markup(pictures.confusion_picture(analysis.block, names)),  # noqa: S704  written by the XML writer
        reliability=Markup(pictures.reliability_picture(analysis.bins)),  # noqa: S704
        risk_coverage=Markup(pictures.risk_coverage_picture(analysis.risk)),  # noqa: S704
        learning=[Markup(picture) for picture in learning if picture],  # noqa: S704
        evaluations=evaluations,
        best_step=best_step,
        coverages=[(share, analysis.risk.accuracy_at(share)) for share in COVERAGES],
        num_bins=NUM_BINS,
        short_text=SHORT_TEXT,
        style=Markup(_file("report.css")),  # noqa: S704  our own
        script=Markup(script),  # noqa: S704  our own
        script_hash=f"sha256-{digest}",
    )


def as_json(analysis: Analysis) -> dict[str, Any]:
    """Return the report's figures as plain values; shares are of 1."""
    risk = analysis.risk
    return {
        "run_id": analysis.run.record.run_id,
        "task": analysis.task.name,
        "dev_rows": len(analysis.run.predictions),
        "accuracy": analysis.accuracy,
        "interval": analysis.interval._asdict(),
        "macro_f1": analysis.macro_f1,
        "majority_label": analysis.majority_label,
        "majority_share": analysis.majority_share,
        "calibration_error": analysis.calibration_error,
        "area_under_risk_coverage": risk.area,
        "accuracy_at_coverage": {str(share): risk.accuracy_at(share) for share in COVERAGES},
        "flags": analysis.run.record.flags,
    }


def label_name(task: Task, number: int) -> str:
    """Return a label with its description, where that says more."""
    label, description = task.labels[number], task.label_descriptions[number]
    return f"{label} {description}" if description and description != label else label


def _block_sizes(analysis: Analysis) -> dict[str, int]:
    """Return how much of the rows and errors the shown block of the confusion matrix has."""
    return {"rows": int(analysis.block.counts.sum()), "errors": analysis.block.errors}


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _percent(share: Any, digits: int = 2) -> str:
    return f"{share:.{digits}%}"


def _number(value: Any, digits: int = 4) -> str:
    """Return an integer with separators, anything else with so many digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"
