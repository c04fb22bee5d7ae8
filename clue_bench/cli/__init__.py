"""The command line: one file per verb, which parses, calls a plain function and prints.

Exit codes: 0 done, 1 the user can fix it (one line what, one line how), 2 usage, 3 a bug of ours.
Results go to stdout, as a plain table or with --json as one JSON object; progress and messages go to stderr.
torch, transformers and pandas are imported inside commands, so that --help answers at once.
"""

import io
import os
import sys
import traceback

import typer

from clue_bench import __version__
from clue_bench.cli import cards, corpus, data, runs, vocab
from clue_bench.cli.analyse import analyse
from clue_bench.cli.bench import bench
from clue_bench.cli.compare import CONTEXT, compare
from clue_bench.cli.convert import convert
from clue_bench.cli.doctor import doctor
from clue_bench.cli.finetune import finetune
from clue_bench.cli.floor import floor
from clue_bench.cli.leaderboard import leaderboard
from clue_bench.cli.predict import predict
from clue_bench.cli.pretrain import pretrain
from clue_bench.cli.quickstart import quickstart
from clue_bench.cli.serve import serve
from clue_bench.cli.speed import speed
from clue_bench.cli.submit import submit
from clue_bench.errors import ClueBenchError

app = typer.Typer(
    name="clue-bench",
    help="Pretrain Chinese language models and measure them on CLUE. 预训练中文语言模型,并在 CLUE 上评测。",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart")(quickstart)
app.add_typer(cards.tasks, name="tasks")
app.add_typer(cards.recipes, name="recipes")
app.add_typer(data.app, name="data")
app.add_typer(vocab.app, name="vocab")
app.add_typer(corpus.app, name="corpus")
app.command("pretrain")(pretrain)
app.command("finetune")(finetune)
app.command("bench")(bench)
app.command("predict")(predict)
app.command("submit")(submit)
app.command("serve")(serve)
app.command("floor")(floor)
app.command("analyse")(analyse)
app.command("compare", context_settings=CONTEXT)(compare)
app.command("speed")(speed)
app.command("leaderboard")(leaderboard)
app.add_typer(runs.app, name="runs")
app.command("doctor")(doctor)
app.command("convert")(convert)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line and turn exceptions into exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no Chinese shows escapes instead of failing
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except ClueBenchError as error:
        _complain(f"error: {error.message}", f"hint: {error.hint}" if error.hint else "")
        sys.exit(1)
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _complain(f"error: {error.filename or 'a file'}: {error.strerror or error}", "hint: check the path")
        sys.exit(1)
    except Exception:  # noqa: BLE001  the last resort: say that it is our fault, and exit with 3
        _complain(traceback.format_exc(), "This is a bug of clue-bench: please report it with the lines above.")
        sys.exit(3)


def _complain(*lines: str) -> None:
    for line in lines:
        if line:
            typer.echo(line, err=True)
