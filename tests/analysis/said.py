"""What errors say, read off the source: every text that a message, a hint or a detail may be, 7 for what is put in.

An expression is taken apart as far as the source shows what it may be: literals, f-strings, choices, constants, what a
name was set to, what a parameter is given, what a function of ours returns. Tuples keep their parts apart.
"""

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

from clue_bench import numbers

ANYTHING = "7"  # fits every place of a table: a text, a word, a number
MOST = 60  # ways that an expression is followed
ERRORS = ("ClueBenchError", "Interrupted", "NotServed", "ValueError", "TypeError")  # and what is derived of these
Texts = list[Any]  # str, or tuple of such


class Source:
    """The modules below a folder that raise errors."""

    def __init__(self, folder: Path) -> None:
        self.said: list[ast.Call] = []
        self._functions: dict[str, list[Any]] = defaultdict(list)
        self._calls: dict[str, list[ast.Call]] = defaultdict(list)
        self._constants: dict[str, list[Any]] = defaultdict(list)
        self._bases: dict[str, set[str]] = {}  # of classes
        self._known: dict[ast.AST, Texts] = {}
        for path in sorted(folder.rglob("*.py")):
            if "Error" in (text := path.read_text(encoding="utf-8")):
                self._read(ast.parse(text), None, path)
        derived = [name for name, bases in self._bases.items() if bases & {*ERRORS}]
        self.said = [call for name in (*ERRORS, *derived) for call in self._calls[name]]

    def texts(self, call: ast.Call) -> Iterator[str]:
        """Yield what the arguments of an error may say."""
        for node in [*call.args, *(each.value for each in call.keywords)]:
            for text in self._of(node.value if isinstance(node, ast.Starred) else node):
                yield from text if isinstance(text, tuple) else (text,)

    def _read(self, node: Any, function: Any, path: Path) -> None:
        node.function, node.path = function, path
        if isinstance(node, ast.Call):
            self._calls[_called(node)].append(node)
        elif isinstance(node, ast.ClassDef):
            self._bases[node.name] = set(map(ast.unparse, node.bases))
        elif isinstance(node, ast.FunctionDef):
            self._functions[node.name].append(node)
            node.set_here = defaultdict(list)
            function = node
        for target, value, is_part in _settings(node):
            names = {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
            for name in names:
                where = self._constants if function is None else function.set_here
                where[name].append((target, value, is_part, path))
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context | ast.operator):
                self._read(child, function, path)

    def _of(self, node: Any) -> Texts:
        if node not in self._known:
            self._known[node] = [ANYTHING]  # what is asked for while it is found out
            found = list(dict.fromkeys(islice(self._find(node), MOST)))
            self._known[node] = found or [ANYTHING]
        return self._known[node]

    def _find(self, node: Any) -> Iterable[Any]:
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return ("".join(map(_plain, each)) for each in product(*map(self._of, parts)))
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                found = self._of(value)
                return found if isinstance(value, ast.IfExp) else list(filter(None, found)) or found
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return (_plain(a) + _plain(b) for a, b in product(self._of(left), self._of(right)))
            case ast.BinOp(left=left, op=ast.Mult()):
                return self._of(left)
            case ast.IfExp(body=one, orelse=other):
                return self._all(one, other)
            case ast.BoolOp(values=several):
                return filter(None, self._all(*several))
            case ast.List(elts=several) | ast.Set(elts=several):
                return self._all(*several)
            case ast.Dict(values=several):
                return self._all(*several)
            case ast.Tuple(elts=parts):
                return product(*map(self._of, parts))
            case ast.NamedExpr(value=value) | ast.Starred(value=value):
                return self._of(value)
            case ast.GeneratorExp(elt=each) | ast.ListComp(elt=each):
                return self._of(each)
            case ast.Subscript(value=value, slice=key) if not isinstance(key, ast.Slice):
                places = [key.value] if isinstance(key, ast.Constant) and isinstance(key.value, int) else None
                return [part for each in self._of(value) for part in _parts(each, places)]
            case ast.Name(id=name):
                return self._named(name, node)
            case ast.Attribute(attr=name) if name.isupper():
                return self._set(self._constants[name], name)
            case ast.Call():
                return self._returned(node)
        return [ANYTHING]

    def _all(self, *nodes: Any) -> Texts:
        return [text for node in nodes for text in self._of(node)]

    def _named(self, name: str, node: Any) -> Texts:
        function = node.function
        if function is not None and name in function.set_here:
            return self._set(function.set_here[name], name)
        if function is not None and name in (arguments := _arguments(function)):
            return self._given(function, name, arguments)
        return self._set(
            [each for each in self._constants[name] if each[3] == node.path] or self._constants[name], name
        )

    def _set(self, settings: list[Any], name: str) -> Texts:
        found = []
        for target, value, is_part, _ in settings:
            for text in self._of(value):
                for part in _parts(text, None) if is_part and isinstance(target, ast.Name) else [text]:
                    found += _matched(target, part, name)
        return found

    def _given(self, function: Any, name: str, arguments: list[str]) -> Texts:
        """Return the sentences among what a parameter is given: a word alone is a name, as of a task."""
        defaults = dict(zip(arguments[::-1], [*function.args.kw_defaults[::-1]], strict=False))
        nodes = [defaults[name]] if defaults.get(name) is not None else []
        for call in self._calls[function.name]:
            is_near = call.path == function.path  # type: ignore[attr-defined]
            if is_near or (
                not function.name.startswith("_") and isinstance(getattr(call.func, "value", None), ast.Name | None)
            ):
                plain = dict(zip([each for each in arguments if each not in ("self", "cls")], call.args, strict=False))
                nodes += [*([plain[name]] if name in plain else []), *(k.value for k in call.keywords if k.arg == name)]
        return [text for text in self._all(*nodes) if " " in _plain(text)] or [ANYTHING]

    def _returned(self, call: ast.Call) -> Iterable[Any]:
        name, first = _called(call), call.args[0] if call.args else None
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if name == "counted":
            _, one, *several = (self._of(each) for each in call.args)
            return [f"1 {each}" for each in one] + [
                f"7 {each}" for each in (several[0] if several else [f"{each}s" for each in one])
            ]
        if name == "article":
            return [text if text == ANYTHING else numbers.article(text) for text in self._of(first) if text]
        if name == "format" and owner is not None:
            return [text.replace("{}", ANYTHING) for text in self._of(owner)]
        if name == "join" and isinstance(owner, ast.Constant):
            several = 1 + any(map(str.isalpha, str(owner.value)))  # a list with words between its parts is a text
            return (str(owner.value).join([_plain(text)] * several) for text in self._of(first))
        if name in ("get", "next", "items", "values"):
            found = self._all(*([owner] if owner is not None else []), *call.args[name == "get" :])
            return [text for text in found if any(text)]
        if name in dir(builtins) or (owner is not None and not isinstance(owner, ast.Name)):
            return [ANYTHING]
        functions = self._functions[name]
        here = [each for each in functions if each.path == call.path]  # type: ignore[attr-defined]
        if len(here or functions) != 1:
            return [ANYTHING]
        inner = ast.walk((here or functions)[0])
        return self._all(*(node.value for node in inner if isinstance(node, ast.Return | ast.Yield) and node.value))


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _arguments(function: Any) -> list[str]:
    return [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]


def _settings(node: Any) -> list[tuple[Any, Any, bool]]:
    """Return what a statement sets: target, value, and whether it is set to one part of the value after the other."""
    if isinstance(node, ast.Assign):
        return [(target, node.value, False) for target in node.targets]
    if isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign) and node.value is not None:
        return [(node.target, node.value, False)]
    if isinstance(node, ast.For | ast.comprehension):
        return [(node.target, node.iter, True)]
    return []


def _parts(text: Any, places: list[int] | None) -> list[Any]:
    if not isinstance(text, tuple):
        return [text]
    return [
        text[place] for place in (range(len(text)) if places is None else places) if -len(text) <= place < len(text)
    ]


def _matched(target: Any, text: Any, name: str) -> Texts:
    if isinstance(target, ast.Name):
        return [text]
    elements = getattr(target, "elts", [])
    if len(elements) != len(text) or not isinstance(text, tuple):
        return [ANYTHING]
    pairs = zip(elements, text, strict=True)
    return [each for inner, part in pairs if name in ast.unparse(inner) for each in _matched(inner, part, name)]


def _plain(text: Any) -> str:
    return text if isinstance(text, str) else ANYTHING
