"""Comparisons, leaderboards and reports of runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, Runs, as_path, as_reference
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded
from clue_bench.numbers import percent
from clue_bench.tables import Column, Shown, Table, make_table
from clue_bench.tasks.scores import score_names

if TYPE_CHECKING:
    from clue_bench.analysis.comparison import Comparison
    from clue_bench.analysis.examine import Analysis
    from clue_bench.analysis.pretraining_runs import PretrainingComparison
    from clue_bench.doors.records import RunRecord
    from clue_bench.leaderboards.leaderboard import Leaderboard
    from clue_bench.leaderboards.two_models import ModelComparison

Side = Run | Path | str | Runs | Sequence[Run | Path | str]


def compare(
    a: Side, b: Side, *, split: str = "dev", out: Path | str | None = None
) -> "Comparison | PretrainingComparison":
    """Compare two runs, or two settings over several seeds, on the same rows: McNemar or Welch.

    Several runs on one side must be seeds of one setting. Pretraining runs are compared by their curves, which the page
    `out` lays over each other, by default a file in the first run's folder. Raises ClueBenchError unless both sides
    used the same rows, or all are pretraining runs.
    """
    from clue_bench.analysis.comparison import compare_runs
    from clue_bench.doors.records import read_record, record_paths

    sides = _folders(a), _folders(b)
    folders = [*sides[0], *sides[1]]
    kinds = {read_record(path).kind for folder in folders for path in record_paths(folder)}
    if kinds == {"pretrain"}:
        return _compare_pretraining(folders, out)
    if "pretrain" in kinds:
        raise ClueBenchError(
            f"runs of different kinds, {' and '.join(sorted(kinds))}", "compare pretraining runs with pretraining runs"
        )
    if out is not None:
        raise ClueBenchError("--out: only pretraining runs have curves to draw", "leave out --out")
    return compare_runs(*sides, split=split)


def _compare_pretraining(folders: list[Path], out: Path | str | None) -> "PretrainingComparison":
    from dataclasses import replace

    from clue_bench import files
    from clue_bench.analysis.pretraining_runs import compare_pretraining, render

    compared = compare_pretraining(folders)
    page = folders[0] / f"compared-with-{folders[1].resolve().name}.html" if out is None else expanded(out)
    files.write_text(page, render(compared))
    return replace(compared, page=page)


def compare_models(a: Path | str | Run, b: Path | str | Run, *, records: Path | str = "runs") -> "ModelComparison":
    """Compare two models on every task that both have been run on, from the records below the folder `records`.

    A model is the name of its rows in tables, its folder, a hub id, or the run that made it. Raises ClueBenchError if
    one of them has no completed run, or they have no task in common.
    """
    from clue_bench.doors.records import read_records
    from clue_bench.leaderboards.two_models import compare_two_models

    found = list(read_records(as_path(records, "records")))
    return compare_two_models(found, _model_reference(a, found), _model_reference(b, found))


def _model_reference(model: Path | str | Run, records: "Sequence[RunRecord]") -> str:
    """Return what tables know a model by: the hash of a folder's weights, or a name."""
    from clue_bench.doors.checkpoint import weights_sha256
    from clue_bench.doors.records import CHECKPOINT

    reference = as_reference(model, "model")
    for folder in (Path(reference) / CHECKPOINT, Path(reference)):
        found = weights_sha256(folder) if folder.is_dir() else None
        if found is not None and any(record.model.sha256 == found for record in records if record.task):
            return found
    return Path(reference).name if Path(reference).is_dir() else str(reference).replace("/", "-")


def leaderboard(records: Side = "runs", *, out: Path | str | None = None, check: bool = False) -> "Leaderboard":
    """Return the leaderboard of run records, with the published scores in tables of their own.

    `records` are runs, or folders to search for their records; a run that is found twice counts once.
    `out` is a folder to write its files to; with `check` they are only compared. Raises ClueBenchError if a file in
    `out` differs, or was not written by a leaderboard.
    """
    from clue_bench.cards import builtin_folder
    from clue_bench.leaderboards.files import board_files, differing_files

    folder = None if out is None else expanded(out)
    if folder is None and check:
        raise ClueBenchError("--check needs the folder to check", "add --out FOLDER")
    if folder is not None and not folder.is_dir() and (folder.exists() or folder.suffix == ".md"):
        raise ClueBenchError(
            f"{folder}: --out is a folder, with the Markdown in its README.md", f"give --out {folder.stem}"
        )
    if folder is not None and not check:
        check_ours(folder)
    built = board_files(_records(records), builtin_folder("leaderboards/published"))
    if folder is not None and check:
        if differing := differing_files(folder, built.texts):
            raise ClueBenchError(
                f"{folder} differs from what the records in {records} give: {', '.join(differing)}",
                f"run clue-bench leaderboard --records {records} --out {folder}",
            )
    elif folder is not None:
        write_board(folder, built.texts)
    return built.board


def _records(given: Side) -> "list[RunRecord]":
    """Return the records of runs and of folders, each run once: as it ended, and of several times, the last."""
    from clue_bench.doors.records import read_records

    found: dict[str, RunRecord] = {}
    for each in given if isinstance(given, Sequence) and not isinstance(given, str) else [given]:
        for record in [each.record] if isinstance(each, Run) else read_records(as_path(each, "records")):
            known = found.setdefault(record.run_id, record)
            found[record.run_id] = max(known, record, key=lambda run: (run.status == "completed", run.started_at))
    return list(found.values())


def write_board(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a board, and remove those of an earlier one that the records no longer give.

    Raises ClueBenchError if the folder has files of these names that no board wrote.
    """
    from clue_bench import files
    from clue_bench.leaderboards.files import FILES, JSON

    check_ours(folder)
    for name in sorted(texts, key=lambda each: each != JSON):  # first the file that marks the folder as a board's
        files.write_text(folder / name, texts[name])
    for name in FILES:
        if name not in texts:
            (folder / name).unlink(missing_ok=True)


def check_ours(folder: Path) -> None:
    """Raise ClueBenchError if `folder` has files named like a board's but no board's JSON beside them."""
    from clue_bench.leaderboards.files import FILES, JSON

    try:
        values = json.loads((folder / JSON).read_bytes())
    except (OSError, ValueError):
        values = None
    if isinstance(values, dict) and {"measured", "published"} <= values.keys():
        return
    if foreign := [name for name in FILES if (folder / name).exists()]:
        raise ClueBenchError(
            f"{folder}: has {', '.join(foreign)}, which no board wrote; nothing is overwritten",
            f"move it away, or give a folder of its own, e.g. --out {folder / 'leaderboard'}",
        )


@dataclass(frozen=True, repr=False)
class Analyses(Shown):
    """The error analyses of finished runs; each run has a page that shows its own."""

    pages: "dict[Path, Analysis]"

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"runs": [{**each.to_json(), "report": str(page)} for page, each in self.pages.items()]}

    @property
    def tables(self) -> list[Table]:
        """Return one table with a line for each run."""
        accuracy, f1 = score_names(each.task.kind for each in self.pages.values())
        rows = [
            (
                each.run.record.run_id,
                percent(each.accuracy),
                f"{percent(each.interval.low)} … {percent(each.interval.high)}" + of_f1,
                *([percent(each.macro_f1) if each.f1_name else ""] if f1 else []),
                f"{each.calibration_error:.4f}",
                f"{each.risk.area:.4f}",
                str(page),
            )
            for page, each in self.pages.items()
            for of_f1 in [" (macro-F1)" * (each.task.kind == "tags")]
        ]
        columns: list[str | Column] = ["run", f"dev {accuracy}", "95 % interval", *filter(None, [f1]), "ECE", "AURC"]
        return [make_table("", [*columns, Column("report", is_below=True)], rows)]


def analyse(
    runs: Side,
    *,
    data: Path | str | None = None,
    task: str | None = None,
    out: Path | str | None = None,
    progress: bool = True,
) -> Analyses:
    """Write a report for each run: confusions, scores per label, hardest dev rows, calibration, learning curve.

    `data` is the folder or file that the runs read, by default the rows that they kept, else the folder that their
    records name. `task` is their card if they do not carry it and it cannot be found by name, and `out` the file of a
    single report, by default report.html in the run's folder. Raises ClueBenchError.
    """
    from clue_bench import files
    from clue_bench.analysis.examine import examine
    from clue_bench.analysis.report import FILE, render
    from clue_bench.tasks.task import load_task

    folders = _folders(runs)
    if out is not None and len(folders) > 1:
        raise ClueBenchError(f"--out names one file, but {len(folders)} runs are given", "leave out --out")
    pages: dict[Path, Analysis] = {}
    with Progress(progress).bar("analyse", len(folders), count=True) as bar:
        for folder in folders:
            analysis = examine(folder, None if data is None else expanded(data), card=load_task(task) if task else None)
            page = folder / FILE if out is None else expanded(out)
            files.write_text(page, render(analysis))
            pages[page] = analysis
            bar.update(len(pages))
    return Analyses(pages)


def _folders(side: Side) -> list[Path]:
    runs: Sequence[Any] = [side] if isinstance(side, Run | Path | str) else side
    if not isinstance(runs, Sequence) or not runs:
        raise ClueBenchError("a side without a run", "give a run, its folder, or several seeds of one setting")
    return [as_path(run, "run") for run in runs]
