"""Help pages, and complaints about words that no command takes, in the language in use.

Input: a command of typer, or its complaint. Output: the page, as wide as the terminal, at most 78 columns; or what is
wrong and what to type, as for every other error.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from clue_bench.language import is_chinese, translated
from clue_bench.layout import text_width, wrap

if TYPE_CHECKING:
    from clue_bench.cards import Key

MOST = 30  # columns of the names in a list, where a longer one has a line of its own
EXAMPLE = "Example:"
# A word of a shell: a part in quotes stays whole, with its blanks.
SHELL_WORD = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+")
# What typer and pydantic say, and what we say instead; the first that is found in a complaint.
COMPLAINTS = {
    r"Missing (?:option|argument) '(.+?)'\.": "{0} is missing",
    r"No such option: (\S+) \(Possible options: (.+)\)": "no option {0}; did you mean {1}?",
    r"No such option: (\S+)": "no option {0}",
    r"Option '(.+?)' requires (?:an argument|\d+ arguments)": "{0} needs a value behind it",
    r"Option '(.+?)' does not take a value": "{0} takes no value",
    r"Got unexpected extra arguments?(?:\(s\))? \((.+)\)": "no use for {0}",
    r"No such command '(.+?)'\. Did you mean (.+)\?": "no command {0}; did you mean {1}?",
    r"No such command '(.+?)'": "no command {0}",
    r"Missing command": "a command is missing",
    r"Invalid value for '(.+?)': .*?greater than or equal to (\S+)": "{0}: expected at least {1}",
    r"Invalid value for '(.+?)': .*?valid integer": "{0}: expected a whole number",
    r"Invalid value for '(.+?)': .*?valid number": "{0}: expected a number",
    r"^Invalid value: (.+)": "{0}",
    r"Invalid value for '(.+?)': (?:Value error, )?'(.*?)' is not one of (.+?)\.?$": "{0}: found {1}, expected {2}",
}

# What typer says of its own options, and what we say instead.
OPTIONS = {
    "Show this message and exit.": "Show this page.",
    "Install completion for the current shell.": "Have the current shell complete commands, options and names.",
    "Show completion for the current shell, to copy it or customize the installation.": "Print what "
    "--install-completion would install.",
}


class _Page:
    """What commands and groups have in common: their page, and their sentence in lists."""

    def get_short_help_str(self: Any, limit: int = 45) -> str:
        """Return the first sentence of the help, whole: lists of commands wrap it."""
        return translated(super().get_short_help_str(limit=1_000))  # type: ignore[misc]

    def format_help(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write("\n".join(_page(self, ctx, formatter.width)) + "\n")

    def parse_args(self: Any, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a complaint says which command it is about."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        try:
            self.refuse_repetition(ctx, args)
            parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        except typer.TyperException as error:
            vars(error)["ctx"] = getattr(error, "ctx", None) or ctx
            raise
        return parsed

    def refuse_repetition(self: Any, ctx: Any, args: list[str]) -> None:
        """Complain of an option with one value that is given twice: the first value would be lost without a word."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for param in given:
            is_single = param.param_type_name == "option" and not (param.multiple or param.is_flag or param.count)
            if is_single and given.count(param) > 1:
                raise typer.BadParameter(f"{param.opts[0]} takes one value, found {given.count(param)}", ctx=ctx)

    def settings(self) -> tuple[str, "list[Key]"]:
        """Return a heading and the keys of --set, if the command takes any."""
        return "", []


class Verb(_Page, TyperCommand):
    """A command."""


class Group(_Page, TyperGroup):
    """A group of commands."""


class _WithSettings(Verb):
    """A command that takes --set; its help ends with the keys, made from the model that decodes them."""

    keys = ""  # module:function that returns them
    title = "Settings, for --set KEY=VALUE"

    def settings(self) -> tuple[str, "list[Key]"]:
        """Return a heading and the keys of --set."""
        return self.title, keys_of(self)


class RecipeVerb(_WithSettings):
    """A command whose --set changes a recipe."""

    keys = "clue_bench.pretraining.recipe:recipe_keys"
    title = "Settings, for --set KEY=VALUE; the values are those of recipes show RECIPE"


class SettingsVerb(_WithSettings):
    """A command whose --set changes the settings of fine-tuning."""

    keys = "clue_bench.finetuning.settings:setting_keys"


def keys_of(command: Any) -> "list[Key]":
    """Return the keys that a command's --set takes."""
    module, _, function = getattr(command, "keys", "").partition(":")
    found: list[Key] = getattr(import_module(module), function)() if module else []
    return found


def complaint(error: typer.TyperException) -> tuple[str, str]:
    """Return what is wrong with the words that were typed, and what to type."""
    message = " ".join(error.format_message().split())
    for pattern, ours in COMPLAINTS.items():
        if found := re.search(pattern, message):
            message = ours.format(*(part.replace("'", "") for part in found.groups()))
            break
    context = getattr(error, "ctx", None)
    return message, f"run {context.command_path if context else 'clue-bench'} --help"


def _page(command: Any, ctx: Any, width: int) -> Iterator[str]:
    usage = [ctx.command_path, *_usage(command)]
    yield from _listed([(translated("Usage:"), " ".join(usage))], width, indent=0)
    for paragraph in _paragraphs(command.help):
        yield ""
        yield from _indented(paragraph, width, 2)
    params = [param for param in command.get_params(ctx) if not param.hidden]
    arguments = [param for param in params if param.param_type_name == "argument"]
    options = [param for param in params if param.param_type_name == "option"]
    title, keys = command.settings()
    inner = getattr(command, "commands", {}).items()
    # An argument is shown by its name alone, without Python's type.
    sections = [
        ("Arguments", [(_metavar(param), _described(param.get_help_record(ctx)[1])) for param in arguments]),
        ("Options", [(name, _described(text)) for name, text in (param.get_help_record(ctx) for param in options)]),
        ("Commands", [(name, each.get_short_help_str()) for name, each in inner]),
        (title, [(key.name, _described(_with_default(key))) for key in keys]),
    ]
    for heading, rows in sections:
        if rows:
            yield from ("", f"{translated(heading)}{'：' if is_chinese() else ':'}")
            yield from _listed(rows, width)
    for paragraph in _paragraphs(command.epilog):
        yield ""
        yield from _indented(paragraph, width, 2)


def _usage(command: Any) -> Iterator[str]:
    """Yield the words of the usage line: what has to be there by name, the rest in brackets."""
    needed = [param for param in command.params if param.required]
    for param in needed:
        if param.param_type_name == "option":
            yield f"{param.opts[0]} {param.metavar}"
    yield "[OPTIONS]"
    for param in command.params:
        if param.param_type_name == "argument":
            yield _metavar(param) if param.required else f"[{_metavar(param)}]"
    if hasattr(command, "commands"):
        yield "COMMAND …"


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in filter(None, inspect.cleandoc(text or "").split("\n\n")):
        yield translated(" ".join(paragraph.split()))


def _with_default(key: "Key") -> str:
    return f"{key.meaning}  [default: {translated(key.default)}]" if key.default else key.meaning


def _described(text: str) -> str:
    """Return the help of an option in the language in use: a sentence, and in brackets what holds for its value."""
    sentence, *notes = text.split("  [")
    sentence = OPTIONS.get(sentence, sentence)
    shown = []
    for note in notes:
        range_ = re.sub(r"(\S+)<=x<=(\S+)", r"\1 to \2", note.removesuffix("]"))
        parts = re.sub(r"\bx>=(\S+)", r"at least \1", range_).split("; ")
        shown.append(f"[{'；'.join(map(translated, parts)) if is_chinese() else '; '.join(parts)}]")
    return "  ".join([translated(sentence), *shown])


def _listed(rows: Sequence[tuple[str, str]], width: int, indent: int = 2) -> Iterator[str]:
    """Yield the lines of names and what is said of each, in two columns."""
    names = min(max(text_width(name) for name, _ in rows), MOST)
    begin = indent + names + (2 if indent else 1)
    for name, text in rows:
        lines = wrap(text, width - begin)
        beside = lines.pop(0) if lines and text_width(name) <= names else ""
        yield f"{' ' * indent}{name}{' ' * (begin - indent - text_width(name))}{beside}".rstrip()
        yield from (f"{' ' * begin}{line}" for line in lines)


def _indented(text: str, width: int, indent: int) -> Iterator[str]:
    """Yield the lines of a paragraph; those of an example can be copied into a shell."""
    is_example = text.startswith((EXAMPLE, translated(EXAMPLE)))
    lines = _example(text, width - indent) if is_example else wrap(text, width - indent)
    yield from (f"{' ' * indent}{line}" for line in lines)


def _example(text: str, width: int) -> list[str]:
    """Return a command in lines that end with a backslash where it goes on, never within a word of the shell."""
    end = " \\"
    first, *others = SHELL_WORD.findall(text)
    lines = [first]
    for word in others:
        if text_width(f"{lines[-1]} {word}{end}") <= width:
            lines[-1] += f" {word}"
        else:
            lines[-1] += end
            lines.append(word)
    return lines
