"""Write the parts of the documentation that the code knows better: a hook of mkdocs.

Input: a page with markers, each alone in its line. Output: the page with what stands for them:

    <!-- commands NAME… -->     the help of these verbs of the command line
    <!-- python NAME… -->       signature, docstring and members of these names of `import clue_bench`
    <!-- docstring MODULE -->   a module's docstring, which specifies a file format
    <!-- recipes -->            every card of pretrain/: its header and its values
    <!-- file PATH -->          a Markdown file of the repository, one heading lower
    <!-- notebook PATH -->      the cells of a notebook

A link to a file outside of docs/, relative as in the repository, becomes one to the repository's site.
Nothing that is generated is committed, so nothing can be out of date. A marker that names what is not there raises.
"""

import ast
import html
import importlib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

import clue_bench
from clue_bench.cli import app

ROOT = Path(__file__).parent.parent
WIDTH = 96
MARKER = re.compile(r"^<!-- (\w+)(?: ([^>]+?))? -->$", re.MULTILINE)
Definition = ast.FunctionDef | ast.ClassDef


def on_page_markdown(markdown: str, *, config: Any, page: Any, **_: Any) -> str:
    """Return a page with every marker replaced; mkdocs calls this. Raises KeyError for an unknown marker."""

    def replaced(match: re.Match[str]) -> str:
        words, what = (match[2] or "").split(), match[1]
        return "\n\n".join(PARTS[what](*words))

    text = MARKER.sub(replaced, _with_repository(markdown, Path("docs", page.file.src_uri).parent, pages="docs"))
    return text.replace("REPOSITORY/", f"{config['repo_url']}/blob/main/")


def _with_repository(markdown: str, folder: Path, *, pages: str | None) -> str:
    """Return a text of `folder`, its links marked as the repository's, where they work as written, but for `pages`."""

    def marked(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / match[1]))
        is_page = path.parts[0] == pages and path.suffix not in (".py", ".ipynb")  # as mkdocs.yml excludes them
        return match[0] if is_page else f"](REPOSITORY/{path.as_posix()}{match[2]})"

    return re.sub(r"\]\((?!https?:|#|/)([^)#\s]+)([^)]*)\)", marked, markdown)


def commands(*verbs: str) -> Iterator[str]:
    """Yield a section for each verb, with the help that the terminal shows; a verb's own verbs have sections below."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="clue-bench", max_content_width=WIDTH, terminal_width=WIDTH)
    for verb in verbs:
        yield from _command(command.commands[verb], verb, context, level=3)  # type: ignore[attr-defined]


def _command(command: Any, name: str, parent: Any, *, level: int) -> Iterator[str]:
    context = typer.Context(command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH)
    context.help_option_names = ["-h", "--help"]
    yield f"{'#' * level} {context.command_path}"
    yield f"```text\n{command.get_help(context).strip()}\n```"
    for below, each in getattr(command, "commands", {}).items():
        yield from _command(each, below, context, level=level + 1)


def python(*names: str) -> Iterator[str]:
    """Yield a section for each public name."""
    for name in names:
        value = getattr(clue_bench, name)
        source = Path(inspect.getsourcefile(value) or "")
        tree = ast.parse(source.read_text(encoding="utf-8"))
        (found,) = (node for node in tree.body if isinstance(node, Definition) and node.name == name)
        yield f"### {name}"
        yield f"```python\n{_signature(found)}\n```"
        yield _docstring(found)
        if isinstance(found, ast.ClassDef):
            yield from _members(found)


def _signature(found: Definition, prefix: str = "cb.") -> str:
    """Return a function's signature as it is written, one parameter a line if it is long; a class's fields."""
    if isinstance(found, ast.ClassDef):
        fields = [node for node in found.body if isinstance(node, ast.AnnAssign)]
        lines = [f"    {ast.unparse(field)}" for field in fields if not ast.unparse(field.target).startswith("_")]
        return "\n".join([f"class {prefix}{found.name}" + ":" * bool(lines), *lines])
    given = found.args
    positional = [*given.posonlyargs, *given.args]
    values = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    parts = [_parameter(each, value) for each, value in zip(positional, values, strict=True)]
    parts = [part for part in parts if part not in ("self", "cls")]
    if given.vararg or given.kwonlyargs:
        parts.append(f"*{given.vararg.arg}" if given.vararg else "*")
    parts += [_parameter(each, value) for each, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append(f"**{given.kwarg.arg}")
    result = f" -> {_type(found.returns)}" if found.returns else ""
    line = f"{prefix}{found.name}({', '.join(parts)}){result}"
    return line if len(line) <= WIDTH else f"{prefix}{found.name}(\n    " + ",\n    ".join(parts) + f",\n){result}"


def _parameter(given: ast.arg, value: ast.expr | None) -> str:
    name = given.arg + (f": {_type(given.annotation)}" if given.annotation else "")
    return name if value is None else f"{name} = {ast.unparse(value)}" if given.annotation else f"{name}={value}"


def _type(annotation: ast.expr) -> str:
    quoted = isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)
    return str(annotation.value) if quoted else ast.unparse(annotation)  # type: ignore[attr-defined]


def _docstring(found: Definition) -> str:
    return html.escape(ast.get_docstring(found) or "", quote=False)


def _members(found: ast.ClassDef) -> Iterator[str]:
    """Yield a line for each public property and method, with the first line of its docstring."""
    lines = []
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            is_property = any(ast.unparse(each).endswith("property") for each in node.decorator_list)
            shown = node.name if is_property else " ".join(_signature(node, "").split())
            lines.append(f"- `.{shown}`: {_docstring(node).splitlines()[0]}")
    if lines:
        yield "\n".join(lines)


def docstring(module: str) -> Iterator[str]:
    """Yield a module's docstring, as it is written."""
    yield f"```text\n{inspect.getdoc(importlib.import_module(module))}\n```"


def recipes() -> Iterator[str]:
    """Yield a section for each recipe: the comment at its head, and the card."""
    for path in sorted((ROOT / "pretrain").glob("*.toml")):
        yield f"### {path.stem}"
        yield f"```toml\n{path.read_text(encoding='utf-8').strip()}\n```"


def file(path: str) -> Iterator[str]:
    """Yield a Markdown file without its title, its links to neighbours as links to the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    yield _with_repository(re.sub(r"\A# .*\n", "", text), Path(path).parent, pages=None)


def notebook(path: str) -> Iterator[str]:
    """Yield the cells of a notebook: its text without the title, its code as code."""
    for cell in json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        yield re.sub(r"\A# .*\n", "", text) if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"


PARTS: dict[str, Callable[..., Iterator[str]]] = {
    "commands": commands,
    "python": python,
    "docstring": docstring,
    "recipes": recipes,
    "file": file,
    "notebook": notebook,
}
