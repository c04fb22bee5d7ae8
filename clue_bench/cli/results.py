"""The verbs for finished runs: `compare`, `analyse`, `score`, `leaderboard` and `runs`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli.help import Group, Verb
from clue_bench.cli.options import TASK, Json, Label, OwnData, Records, Text, Text2, Wide, columns, complete_task
from clue_bench.cli.terminal import say, show, suggest, typed
from clue_bench.numbers import counted
from clue_bench.tables import terminal_width

AGAINST = "--against"
# "--against" separates two lists, which no option of click can do; so it stays among the arguments, in its place.
CONTEXT = {"ignore_unknown_options": True}

FIRST_RUN = "clue-bench finetune --task tnews --data DATA"

runs = typer.Typer(help="List and show run records.", cls=Group, no_args_is_help=True, rich_markup_mode=None)


@runs.command("list", cls=Verb)
def list_runs(records: Records = Path("runs"), wide: Wide = False, json: Json = False) -> None:
    """List every run, unfinished ones included, the latest last: which run was which.

    Of the settings, those that differ among the runs on the same task, or by the same recipe, are shown.
    """
    from clue_bench.api.runs import load_runs

    found = load_runs(records)
    show(found, as_json=json, wide=wide)
    if found:
        latest = max(found, key=lambda run: run.record.started_at)
        has_own = sum(run.folder == latest.folder for run in found) == 1
        words = [latest.folder] if has_own else [latest.run_id, "--records", records]
        suggest(typed("clue-bench", "runs", "show", *words), as_json=json)
    elif not json:
        say(f"{records}: no run records")
        suggest(FIRST_RUN)


@runs.command("show", cls=Verb)
def show_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its id from clue-bench runs list.")],
    records: Records = Path("runs"),
    command: Annotated[
        bool, typer.Option("--command", help="Print the command that does the run again, and nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """Print one run: its result, how it was made, and every setting with its meaning.

    Example: clue-bench runs show runs/finetune-tnews-tiny-7e4e9938-s1
    """
    from clue_bench.api.runs import find_run

    found = find_run(run, records)
    if command:
        typer.echo(typed("clue-bench", *found.command))
    else:
        show(found.details, as_json=json)


def leaderboard(
    records: Records = Path("runs"),
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder to write, too: README.md, speed.md, index.html, leaderboard.csv, .json, plots/.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file of --out differs from what the records give.")
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="Print the published tables, too; they share no column with ours.")
    ] = False,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Print the measured tables, with --published those of others; with --out write the board, too.

    Example: clue-bench leaderboard --records runs --out leaderboard
    """
    from clue_bench.api.boards import leaderboard

    board = leaderboard(records, out=out, check=check)
    if json or not check:
        show(board, as_json=json, wide=wide)
    if check or json:
        return
    for table in board.published_tables if published else ():
        typer.echo("\n" + table.in_full(None if wide else terminal_width()))
    if out is not None:
        say(f"the page: {out / 'index.html'}; every number with its conditions: {out / 'README.md'}")
    elif board.measured:
        suggest(typed("clue-bench", "leaderboard", "--records", records, "--out", "leaderboard"))
    else:
        suggest(FIRST_RUN)


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN…", help=f"Folders of two runs, A and B; or several seeds of A, {AGAINST}, those of B."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Give two models instead of runs: their names in tables, or their folders."),
    ] = None,
    records: Records = Path("runs"),
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Split with gold labels.")] = "dev",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Page of curves, of pretraining runs  [default: a file in the first run]"),
    ] = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Say whether two runs, two settings or two models differ, or lay the curves of pretraining runs over each other.

    Two runs, or two settings over several seeds, on the same rows: McNemar or Welch. Several runs
    on one side must be seeds of one setting; separate the two sides by --against. Two models: on every task that both
    have records of. Pretraining runs: losses, tokens and seconds, and a page with their curves.

    Example: clue-bench compare --model tiny --model base

    Example: clue-bench compare runs/tiny-s1 runs/tiny-s2 --against runs/base-s1 runs/base-s2

    Example: clue-bench compare runs/tiny runs/base
    """
    from clue_bench.api.boards import compare, compare_models

    if model:
        if len(model) != 2 or runs:
            raise typer.BadParameter(
                f"{len(model)} --model and {counted(len(runs or []), 'run')}: give two --model, or runs"
            )
        show(compare_models(*model, records=records), as_json=json, wide=wide)
        return
    show(compare(*sides_of(runs or []), split=split, out=out), as_json=json, wide=wide)


def sides_of(arguments: list[str]) -> tuple[list[Path], list[Path]]:
    """Return the folders of A and of B. Raises typer.BadParameter if they are not two sides."""
    if not arguments:
        raise typer.BadParameter("no runs: give the folders of two, or two --model")
    unknown = [argument for argument in arguments if argument.startswith("-") and argument != AGAINST]
    if unknown:
        raise typer.BadParameter(f"No such option: {unknown[0]}")
    if AGAINST not in arguments:
        if len(arguments) != 2:
            raise typer.BadParameter(
                f"{counted(len(arguments), 'run')}: give two, or put {AGAINST} between the two sides"
            )
        return [Path(arguments[0])], [Path(arguments[1])]
    place = arguments.index(AGAINST)
    a, b = arguments[:place], arguments[place + 1 :]
    if not a or not b or AGAINST in b:
        raise typer.BadParameter(f"give {AGAINST} once, with runs before and after it")
    return [Path(each) for each in a], [Path(each) for each in b]


def analyse(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of finished fine-tuning runs.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder or file that the runs read  [default: by their records]"),
    ] = None,
    task: Annotated[
        str, typer.Option(metavar="TASK", help="The task's card, if the run is older than cards in records.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write, for a single run  [default: RUN/report.html]")
    ] = None,
    json: Json = False,
) -> None:
    """Write a report for each run: confusions, scores per label, hardest dev rows, calibration, learning curve.

    Example: clue-bench analyse runs/finetune-tnews-tiny-7e4e9938-s1 --data clue
    """
    from clue_bench.api.boards import analyse

    written = analyse(runs, data=data, task=task or None, out=out)
    show(written, as_json=json)
    if len(runs) == 1:
        opener = "open" if sys.platform == "darwin" else "xdg-open"
        suggest(typed(opener, next(iter(written.pages))), as_json=json)


def score(
    predictions: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Rows with the columns id and label: .jsonl, .json, .csv, .tsv, .xlsx, .parquet; or one JSON object "
            "of ids and answers; - reads stdin.",
        ),
    ],
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help=f"{TASK}; not for your own rows.", autocompletion=complete_task)
    ] = None,
    data: OwnData = Path("data"),
    text: Text = None,
    text2: Text2 = None,
    label: Label = None,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Split with labels.")] = "dev",
    json: Json = False,
) -> None:
    """Score a file of predictions, whoever made it: the official metric, its interval, the majority class.

    Predictions are matched by id, which is the data's or the row's number from 0; missing, doubled and unknown ids and
    unknown labels are refused. Our own predictions/dev.jsonl and CLUE's submission files are read, too.

    Example: clue-bench score --task tnews --predictions mine.csv --data clue

    Example: clue-bench score --predictions mine.csv --data hotel.csv

    Example: clue-bench score --task cmrc2018 --predictions cmrc2018_predict.json --data clue --json
    """
    from clue_bench.api.scores import score

    scores = score(predictions, task=task, data=data, text=columns(text, text2), label=label, split=split)
    show(scores, as_json=json)
    for note in scores.notes:
        say(note)
