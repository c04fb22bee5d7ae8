"""`clue-bench submit`: the zip for CLUE's score server, written from runs or checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json
from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    from clue_bench.prediction.submission.check import Report
    from clue_bench.prediction.submission.write import RunAnswers


def submit(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN…", help="Folders of fine-tuning runs.")] = None,
    check: Annotated[Path | None, typer.Option(metavar="ZIP", help="Check this zip and write nothing.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the test files, to compare ids with.")] = None,
    out: Annotated[Path, typer.Option(help="The zip to write; CLUE wants its name to begin with submit.")] = Path(
        "submit.zip"
    ),
    task: Annotated[list[str] | None, typer.Option(help="A .toml file of your own task; several are allowed.")] = None,
    json: Json = False,
) -> None:
    """Write CLUE's submission from runs, one a task, or check one: names, counts, order, ids, labels.

    Example: clue-bench submit runs/afqmc runs/tnews --data clue --out submit_team.zip

    Example: clue-bench submit --check submit_team.zip --data clue
    """
    from clue_bench.prediction.submission.check import check_submission
    from clue_bench.prediction.submission.names import known_slots
    from clue_bench.prediction.submission.write import read_run, write_submission

    if bool(runs) == (check is not None):
        found = "both" if runs else "neither"
        raise ClueBenchError(f"found {found} RUN… and --check, expected one of them", "clue-bench submit --help")
    known = known_slots(task or [])
    answers: list[RunAnswers] = []
    if check is None:
        answers = [read_run(run, known) for run in runs or []]
        report, zipped = write_submission(out, answers, known=known, data=data), out
    else:
        report, zipped = check_submission(check, known=known, data=data), check
    if json:
        terminal.print_json(_as_json(report, zipped, answers))
    else:
        _print(report, answers)
    _say_remarks(report, zipped, answers)


def _as_json(report: "Report", zipped: Path, answers: "list[RunAnswers]") -> dict[str, object]:
    run_of = {name: run.record.run_id for run in answers for name in run.files}
    files = [
        {
            "name": file.slot.name,
            "task": file.slot.task.name,
            "split": file.slot.split,
            "rows": file.rows,
            "ids": file.ids,
            "run_id": run_of.get(file.slot.name),
        }
        for file in report.files
    ]
    return {"zip": str(zipped), "valid": True, "files": files, "missing": report.missing, "notes": report.notes}


def _print(report: "Report", answers: "list[RunAnswers]") -> None:
    run_of = {name: run.record.run_id for run in answers for name in run.files}
    terminal.print_table(
        ["file", "task", "split", "rows", "ids", "run" if answers else ""],
        (
            (
                file.slot.name,
                file.slot.task.name,
                file.slot.split,
                f"{file.rows:,}",
                file.ids,
                run_of.get(file.slot.name, ""),
            )
            for file in report.files
        ),
    )


def _say_remarks(report: "Report", zipped: Path, answers: "list[RunAnswers]") -> None:
    """Say what a person must know beside the table: flags, other revisions of test files, what is missing."""
    for run in answers:
        if run.record.flags:
            terminal.say(f"warning: {run.folder}: flagged {', '.join(run.record.flags)}")
        for split, facts in run.record.data.files.items():
            if split not in ("train", "dev") and not facts.is_official:
                terminal.say(f"warning: {run.folder}: predicted another {split} file than the official one")
    for note in report.notes:
        terminal.say(f"note: {note}")
    terminal.say(
        f"{zipped}: valid, {len(report.files)} files; CLUE's that are not in it: {', '.join(report.missing) or 'none'}"
    )
