"""`clue-bench runs`: the records."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.doors.results import Results

app = typer.Typer(help="List and show run records. 运行记录。", no_args_is_help=True, rich_markup_mode=None)
Records = Annotated[Path, typer.Option(help="Folder that is searched for run records, at any depth.")]


@app.command("list")
def list_runs(records: Records = Path("runs"), json: Json = False) -> None:
    """List every run, the unfinished ones too."""
    from clue_bench.doors.records import read_records

    found = list(read_records(records))
    if json:
        terminal.print_json({"runs": [record.model_dump(mode="json") for record in found]})
        return
    rows = []
    for record in found:
        rows.append(
            (record.run_id, record.status, _result(record.results), record.data.revision, " ".join(record.flags))
        )
    terminal.print_table(["run", "status", "result", "data revision", "flags"], rows)


def _result(results: "Results | None") -> str:
    """Return a record's first number, of whatever kind it is."""
    from clue_bench.doors.results import PretrainResults, SpeedResults, TaskResults

    if isinstance(results, TaskResults):
        return f"dev {results.dev.accuracy:.2%}"
    if isinstance(results, PretrainResults):
        return f"loss {results.loss:.3f}"
    if isinstance(results, SpeedResults) and results.training:
        return f"{results.training.seconds_per_1000_steps.median:.3g} s/1k steps"
    if isinstance(results, SpeedResults) and results.prediction:
        return f"{results.prediction.rows_per_second.median:.3g} rows/s"
    return ""


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(help="A run's id, from clue-bench runs list.")],
    records: Records = Path("runs"),
    json: Json = False,
) -> None:
    """Print one record."""
    from clue_bench.doors.records import read_records
    from clue_bench.errors import ClueBenchError, nearest

    found = {record.run_id: record for record in read_records(records)}
    if run_id not in found:
        raise ClueBenchError(f"no run '{run_id}' in {records}: {nearest(run_id, found)}", "clue-bench runs list")
    values = found[run_id].model_dump(mode="json")
    if json:
        terminal.print_json(values)
    else:
        terminal.print_table(["key", "value"], values.items())
