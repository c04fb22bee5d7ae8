"""The command line: it parses, calls the verbs in `clue_bench.api`, and prints what they return.

Exit codes: 0 success, 1 an error that the user can fix (one line what, one line how), 2 wrong usage, 3 a bug in
clue-bench, 130 stopped by Ctrl-C or SIGTERM: the same command continues.
Results go to stdout, as a plain table or with --json as one JSON object; progress and messages go to stderr.
torch, transformers and pandas are imported inside commands, so that --help answers at once.
"""

import io
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from clue_bench import __version__
from clue_bench.cli import inputs, models, results
from clue_bench.cli.generation import generate
from clue_bench.cli.help import Group, RecipeVerb, SettingsVerb, Verb, complaint
from clue_bench.cli.terminal import say
from clue_bench.cli.training import bench, finetune, floor, pretrain, quickstart
from clue_bench.errors import INTERRUPTED, STOPPED, ClueBenchError, Interrupted, about_environment
from clue_bench.files import DISK_IS_FULL, FREE_SPACE
from clue_bench.language import Language, is_chinese, language_of_locale, translated, using

SECONDS_BETWEEN_SIGNALS = 0.1  # of which one has come during an import


@contextmanager
def _until_the_reader_goes() -> Iterator[None]:
    """End the command quietly where the reader of stdout has gone (`… | head`), which is no failure."""
    try:
        yield
    except BrokenPipeError:
        if not _has_no_reader(sys.stdout.fileno()):
            raise  # another pipe, e.g. that of a worker process
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def _has_no_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are told without asking for them
    return any(events & select.POLLERR for _, events in poll.poll(0))


class _Commands(Group):
    """All verbs; an interruption that says how to continue is no error, but what was asked for is not there."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, with --lang in front, wherever it was typed."""
        args = _language_apart(args)
        if "--lang" in args[1:-1]:
            place = args.index("--lang")
            args = [*args[place : place + 2], *args[:place], *args[place + 2 :]]
        with _until_the_reader_goes():
            return super().parse_args(ctx, args)

    def main(self, *args: Any, **others: Any) -> Any:
        """Run a command; words that it does not take are an error like any other, with exit code 2."""
        is_alone = others.get("standalone_mode", True)
        try:
            code = super().main(*args, **{**others, "standalone_mode": False})
        except typer.TyperException as error:
            if not is_alone:
                raise
            _complain("error:", *complaint(error))
            sys.exit(2)
        if is_alone:
            sys.exit(code or 0)
        return code

    def invoke(self, ctx: Any) -> Any:
        try:
            with _until_the_reader_goes():
                return super().invoke(ctx)
        except Interrupted as interruption:
            _complain("", interruption.message, interruption.hint)
            raise typer.Exit(STOPPED) from interruption
        except KeyboardInterrupt as interruption:  # before there was anything to keep, such as while torch is imported
            _complain("", *INTERRUPTED)
            raise typer.Exit(STOPPED) from interruption


app = typer.Typer(
    name="clue-bench",
    cls=_Commands,
    help="Pretrain Chinese language models and measure them on CLUE.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart", cls=RecipeVerb)(quickstart)
app.add_typer(inputs.tasks, name="tasks")
app.add_typer(inputs.recipes, name="recipes")
app.add_typer(inputs.data, name="data")
app.add_typer(inputs.vocab, name="vocab")
app.add_typer(inputs.corpus, name="corpus")
app.command("pretrain", cls=RecipeVerb)(pretrain)
app.command("finetune", cls=SettingsVerb)(finetune)
app.command("bench", cls=SettingsVerb)(bench)
app.command("predict", cls=Verb)(models.predict)
app.command("generate", cls=Verb)(generate)
app.command("submit", cls=Verb)(models.submit)
app.command("serve", cls=Verb)(models.serve)
app.command("floor", cls=Verb)(floor)
app.command("analyse", cls=Verb)(results.analyse)
app.command("compare", cls=Verb, context_settings=results.CONTEXT)(results.compare)
app.command("score", cls=Verb)(results.score)
app.command("speed", cls=RecipeVerb)(models.speed)
app.command("leaderboard", cls=Verb)(results.leaderboard)
app.add_typer(results.runs, name="runs")
app.command("doctor", cls=Verb)(models.doctor)
app.command("convert", cls=Verb)(models.convert)


@app.callback(invoke_without_command=True)
def _before_every_verb(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    lang: Annotated[
        Language | None,
        typer.Option(help="Language of results and reports; also after the verb.  [default: the locale's]"),
    ] = None,
) -> None:
    context.with_resource(using(lang or language_of_locale()))
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


class _Warnings(logging.Handler):
    """What the engine warns of while it works: a line between those of the progress display, in the user's language."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"warning: {record.getMessage()}")


WARNINGS = _Warnings(logging.WARNING)


def main() -> None:
    """Run the command line and turn exceptions into exit codes."""
    logging.getLogger("clue_bench").addHandler(WARNINGS)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: `>&-`; the next file that is opened would get its number
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Chinese shows escapes instead of failing
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    with using(_language(sys.argv[1:])):  # for --help, which comes before any option, and for errors, which come after
        _run()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does, but not in the middle of an import: libraries in C++ such as PyTorch abort at exceptions."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            threading.Timer(SECONDS_BETWEEN_SIGNALS, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _run() -> None:
    try:
        app()
    except KeyboardInterrupt:  # before a verb was called
        _complain("", *INTERRUPTED)
        sys.exit(STOPPED)
    except ClueBenchError as error:
        _complain("error:", error.message, error.hint)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  the last resort
        _explain(error)


def _explain(error: Exception) -> None:
    """Print what is known of an exception that is none of ours and exit, with 3 if it is our fault."""
    if known := about_environment(error):
        _complain("error:", known.message, known.hint)
        sys.exit(1)
    if isinstance(error, OSError):
        hint = FREE_SPACE if error.errno in DISK_IS_FULL else "check the path"
        _complain("error:", f"{error.filename or 'a file'}: {error.strerror or error}", hint)
        sys.exit(1)
    typer.echo("".join(traceback.format_exception(error)), err=True)
    typer.echo("This is a bug in clue-bench: please report it with the lines above.", err=True)
    sys.exit(3)


def _language_apart(arguments: list[str]) -> list[str]:
    """Return the arguments with --lang=zh as two."""
    return [part for each in arguments for part in (each.split("=", 1) if each.startswith("--lang=") else [each])]


def _language(arguments: list[str]) -> Language:
    """Return the language that --lang asks for, else the locale's."""
    asked = [after for option, after in pairwise(_language_apart(arguments)) if option == "--lang"]
    return "zh" if asked == ["zh"] else "en" if asked else language_of_locale()


def _complain(kind: str, message: str, hint: str) -> None:
    """Print a message and what to type, in the language in use."""
    blank = "" if is_chinese() else " "
    for head, text in ((kind, message), ("hint:", hint)):
        if text:
            lines = "\n".join(map(translated, text.split("\n")))  # details stand below, a line each
            typer.echo(f"{translated(head)}{blank if head else ''}{lines}", err=True)
