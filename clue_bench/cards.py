"""Find and decode cards: `tasks/NAME.toml` and `pretrain/NAME.toml`.

Input: a card's name or a path that ends in `.toml`. Output: a frozen pydantic model, decoded strictly (an unknown key,
a wrong type or a missing value names file, key and the nearest right name).

A name is looked up in the built-in folder and in `<folder>/tasks` or `<folder>/pretrain` of each folder in
`CLUE_BENCH_PATH` (separated like PATH). Two hits are an error that names both. This module alone knows that the
built-in cards lie in the repository's root in a checkout and in `clue_bench/builtin` in a wheel.
It does not know what a task or a recipe contains: the rooms pass their model class.
"""

import os
import tomllib
from collections.abc import Container
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import pydantic
from pydantic_core import ErrorDetails

from clue_bench.errors import ClueBenchError, nearest

Kind = Literal["tasks", "pretrain"]
NOUN: dict[Kind, str] = {"tasks": "task", "pretrain": "recipe"}


class Card(pydantic.BaseModel):
    """Base of every card: frozen, strict types, no unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that also serves in names of files."""

AnyCard = TypeVar("AnyCard", bound=Card)


def builtin_folder(name: str) -> Path:
    """Return the built-in folder `tasks`, `pretrain` or `leaderboards/published`, in the wheel or in the checkout."""
    package = Path(__file__).parent
    inside_wheel = package / "builtin" / name
    return inside_wheel if inside_wheel.is_dir() else package.parent / name


def card_paths(kind: Kind) -> dict[str, list[Path]]:
    """Return every card of `kind` as name → paths (more than one path means a clash), sorted by name."""
    folders = [builtin_folder(kind)]
    folders += [Path(entry) / kind for entry in os.environ.get("CLUE_BENCH_PATH", "").split(os.pathsep) if entry]
    found: dict[str, list[Path]] = {}
    for folder in {folder.resolve(): folder for folder in reversed(folders)}.values():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, []).append(path)
    return dict(sorted(found.items()))


def find_card(kind: Kind, reference: str) -> Path:
    """Return the path of the card called `reference`, a name or a path ending in `.toml`.

    Raises ClueBenchError if there is none, or more than one.
    """
    if reference.endswith(".toml"):
        if not Path(reference).is_file():
            raise ClueBenchError(f"{reference}: no such {NOUN[kind]} card", "check the path")
        return Path(reference)
    paths = card_paths(kind)
    hits = paths.get(reference, [])
    if len(hits) > 1:
        places = " and ".join(str(path) for path in hits)
        raise ClueBenchError(
            f"two {NOUN[kind]} cards are called '{reference}': {places}",
            "rename one, or give the path of the one you mean",
        )
    if not hits:
        raise ClueBenchError(
            f"no {NOUN[kind]} is called '{reference}': {nearest(reference, paths)}",
            f"run clue-bench {NOUN[kind]}s list",
        )
    return hits[0]


def load_card(path: Path, model: type[AnyCard], overrides: dict[str, Any] | None = None) -> AnyCard:
    """Decode the card at `path`, with `overrides` laid over its keys; "table.key" reaches into a table.

    Raises ClueBenchError naming the file, the key and what was expected.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClueBenchError(f"{path}: not valid TOML: {error}", "fix the line it names") from error
    return decode(model, values, where=str(path), overrides=overrides)


def decode(
    model: type[AnyCard], values: dict[str, Any], *, where: str, overrides: dict[str, Any] | None = None
) -> AnyCard:
    """Return `values`, with `overrides` of --set laid over them, as a card. `where` names their source in errors.

    Raises ClueBenchError naming the source, the key and what was expected.
    """
    laid: dict[str, Any] = dict(values)
    for key, value in (overrides or {}).items():
        table, dot, inner = key.partition(".")
        if dot:
            found = laid.get(table)
            laid[table] = {**(found if isinstance(found, dict) else {}), inner: value}
        else:
            laid[key] = value
    try:
        return model.model_validate(laid)
    except pydantic.ValidationError as error:
        # An unknown key first, for a misspelt key is also a missing one.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise ClueBenchError(*_explain(where, model, first, overrides or {})) from error


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """Turn `key=value` settings into card values; a value is read as TOML, and as a plain string if it is no TOML.

    Raises ClueBenchError for a setting without "=" or a key given twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ClueBenchError(f"--set {setting}: expected key=value", "write it as in --set learning_rate=1e-4")
        if key in values:
            raise ClueBenchError(f"--set {key} is given twice", "keep one of them")
        try:
            decoded = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            decoded = {}
        values[key] = decoded["value"] if len(decoded) == 1 else text.strip()
    return values


def _explain(source: str, model: type[Card], error: ErrorDetails, overridden: Container[str]) -> tuple[str, str]:
    """Return message and hint for a validation error of a card."""
    inner, keys = _walk(model, error["loc"])
    if (keys and (keys[0] in overridden or ".".join(keys) in overridden)) or (not keys and overridden):
        source = "--set" if keys else f"{source} with --set"
    where = ": ".join(part for part in (source, ".".join(keys)) if part)
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key; {nearest(keys[-1], inner.model_fields)}", "use one of its keys"
    if error["type"] == "missing":
        return f"{where}: the key is missing", f"add a line: {keys[-1]} = …"
    if error["type"] == "value_error":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}", "change the value"
    return f"{where}: found {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}", "change the value"


def _walk(model: type[Card], loc: tuple[int | str, ...]) -> tuple[type[pydantic.BaseModel], list[str]]:
    """Return the innermost model on the path `loc`, and the keys of that path that are in the file."""
    annotation: Any = model
    inner: type[pydantic.BaseModel] = model
    keys: list[str] = []
    for part in loc:
        if get_origin(annotation) is UnionType and NoneType in get_args(annotation):  # a part that may be missing
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            inner = annotation
            field = annotation.model_fields.get(str(part))
            annotation = field.annotation if field else None
        elif get_origin(annotation) in (dict, list):
            annotation = get_args(annotation)[-1]
        else:
            break  # pydantic appends which member of a union it tried; no such key is in the file
        keys.append(str(part))
    return inner, keys
