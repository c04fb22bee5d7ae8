"""`clue-bench analyse`: the errors of finished runs, one HTML page each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.analysis.examine import Analysis


def analyse(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of finished fine-tuning runs.")],
    data: Annotated[
        Path, typer.Option(help="Folder with a folder or zip per task: the data that was predicted.")
    ] = Path("data"),
    task: Annotated[str, typer.Option(help="The task's card, if it is your own and not found by its name.")] = "",
    out: Annotated[Path | None, typer.Option(help="File of the page, for one run  [default: RUN/report.html]")] = None,
    json: Json = False,
) -> None:
    """Write a report per run: confusions, scores per label, hardest dev rows, calibration, learning curve.

    Example: clue-bench analyse runs/finetune-tnews-tiny-7e4e9938-s1 --data clue
    """
    from clue_bench import files
    from clue_bench.analysis.examine import examine
    from clue_bench.analysis.report import FILE, render
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.task import load_task

    if out is not None and len(runs) > 1:
        raise ClueBenchError(f"--out names one file, but {len(runs)} runs are given", "leave --out away")
    found, rows = [], []
    with terminal.bar("analyse", len(runs), count=True) as bar:
        for number, folder in enumerate(runs, 1):
            analysis = examine(folder, data, card=load_task(task) if task else None)
            page = out or folder / FILE
            files.write_text(page, render(analysis))
            found.append({**analysis.to_json(), "report": str(page)})
            rows.append((*_row(analysis), page))
            bar.update(number)
    if json:
        terminal.print_json({"runs": found})
    else:
        terminal.print_table(["run", "dev accuracy", "95% interval", "macro-F1", "ECE", "AURC", "report"], rows)


def _row(analysis: "Analysis") -> tuple[str, ...]:
    interval = analysis.interval
    return (
        analysis.run.record.run_id,
        f"{analysis.accuracy:.2%}",
        f"{interval.low:.2%} … {interval.high:.2%}",
        f"{analysis.macro_f1:.4f}",
        f"{analysis.calibration_error:.4f}",
        f"{analysis.risk.area:.4f}",
    )
