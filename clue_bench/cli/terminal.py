"""Print results on stdout, as tables or as one JSON object, and messages on stderr."""

import codecs
import json
import re
import shlex
import sys
from collections.abc import Iterable
from typing import Any, Protocol

import typer

from clue_bench.api.progress import Progress
from clue_bench.language import is_chinese, translated
from clue_bench.tables import Cell, make_facts, make_table, terminal_width, text_width

SAFE = re.compile(r"[\w@%+=:,./-]+")  # what no shell reads as anything but itself


class Result(Protocol):
    """What the functions of `clue_bench.api` return; it prints well."""

    def in_full(self, width: int | None) -> str:
        """Return text for a terminal `width` columns wide; None for no limit."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        ...


def show(result: Result, *, as_json: bool, wide: bool = False) -> None:
    """Print a result as tables, or as one JSON object; `wide` shows every column, whatever the terminal's width."""
    if as_json:
        print_json(result.to_json())
    elif text := result.in_full(None if wide else terminal_width()):
        typer.echo(text)


def suggest(*commands: str, as_json: bool = False) -> None:
    """Print on stderr what to type next, a line each; nothing beside JSON, which no person reads."""
    if not as_json:
        start = translated("next:") if is_chinese() else "next: "
        for number, command in enumerate(commands):
            shown = f"{' ' * text_width(start) if number else start}{translated(command)}"
            Progress(True).note(shown, is_command=True)


def typed(*words: object) -> str:
    """Return a command as it is typed, with quotes where the shell needs them: not around Chinese."""
    return " ".join(word if SAFE.fullmatch(word) else shlex.quote(word) for word in map(str, words))


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print one JSON object on stdout, on one line without `indent`; cells of files may be dates, which become text.

    JSON is UTF-8: on a stdout of another encoding (GBK) every other character is an escape of JSON.
    """
    is_utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    typer.echo(json.dumps(value, ensure_ascii=not is_utf8, indent=indent, default=str))


def print_table(header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a plain table on stdout; Chinese characters take two columns."""
    cells = [[cell if isinstance(cell, Cell) else str(cell) for cell in row] for row in rows]
    typer.echo(make_table("", header, cells).to_text(terminal_width()))


def print_facts(columns: tuple[str, str], rows: Iterable[tuple[object, object]]) -> None:
    """Print a table of facts on stdout, as `make_facts` makes it."""
    typer.echo(make_facts(columns, [(name, str(value)) for name, value in rows]).to_text(terminal_width()))


def say(text: str) -> None:
    """Print a message on stderr."""
    Progress(True).note(text)


bar = Progress(True).bar
