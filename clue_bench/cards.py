"""Find and decode cards: `tasks/NAME.toml` and `pretrain/NAME.toml`.

Input: a card's name or a path that ends in `.toml`. Output: a frozen pydantic model, decoded strictly (an unknown key,
a wrong type or a missing value names file, key and the nearest right name).

A name is looked up in the built-in folder and in `<folder>/tasks` or `<folder>/pretrain` of each folder in
`CLUE_BENCH_PATH` (separated like PATH). Two hits are an error that names both. This module alone knows that the
built-in cards lie in the repository's root in a checkout and in `clue_bench/builtin` in a wheel.
It does not know what a task or a recipe contains: the rooms pass their model class.
"""

import os
import re
import tomllib
from collections.abc import Container, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import pydantic
from pydantic_core import ErrorDetails

from clue_bench.errors import NEAR, ClueBenchError, nearest
from clue_bench.files import expanded
from clue_bench.numbers import typed

Kind = Literal["tasks", "pretrain"]
ROWS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".xlsx", ".xls", ".txt")  # endings of files that are no cards
NOUN: dict[Kind, str] = {"tasks": "task", "pretrain": "recipe"}


class Card(pydantic.BaseModel):
    """Base of every card: frozen, strict types, no unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


NAME = r"[^\W_][\w.-]*"
MAX_NAME = 60  # characters; names of files have at most 255 bytes, and a Chinese character takes three
Name = Annotated[str, pydantic.Field(pattern=f"^{NAME}$", max_length=MAX_NAME)]
"""A name that also serves in names of files; Chinese characters are letters, too."""


def check_name(name: str) -> None:
    """Raise ClueBenchError unless `name`, given as --name, is a `Name`."""
    if not re.fullmatch(NAME, name) or len(name) > MAX_NAME:
        raise ClueBenchError(
            f"--name {name!r}: expected at most {MAX_NAME} letters, digits, dots, hyphens and underscores",
            "give e.g. --name my-model",
        )


def as_name(text: str, *, default: str) -> str:
    """Return `text` as a `Name`: other characters become hyphens; `default` if nothing is left."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-._")[:MAX_NAME] or default


AnyCard = TypeVar("AnyCard", bound=Card)

_NAMES_ELSEWHERE: dict[str, str] = {
    "learning_rate": "lr rate",
    "batch_size": "batch bs train_batch_size per_device_train_batch_size",
    "global_batch": "batch_size batch bs train_batch_size total_batch_size",
    "micro_batch": "per_device_train_batch_size device_batch_size gradient_accumulation_steps accumulation_steps",
    "epochs": "epoch epochs_num num_epochs num_train_epochs",
    "steps": "max_steps total_steps num_steps train_steps epochs epoch num_train_epochs",
    "max_length": "seq_length seq_len max_len max_seq_len max_seq_length sequence_length length",
    "warmup_share": "warmup warmup_ratio warmup_proportion warmup_steps num_warmup_steps",
    "weight_decay": "wd decay l2",
    "clip_norm": "max_grad_norm grad_clip gradient_clipping clip",
    "dropout": "hidden_dropout_prob attention_probs_dropout_prob resid_pdrop",
    "patience": "early_stopping_patience early_stopping",
    "label_smoothing": "label_smoothing_factor smoothing",
    "layer_decay": "layerwise_lr_decay llrd",
    "fgm_epsilon": "fgm adversarial",
    "r_drop_alpha": "rdrop r_drop",
    "ema_decay": "ema",
    "precision": "fp16 bf16 fp32 amp dtype",
    "layers": "num_layers num_hidden_layers layers_num n_layer depth",
    "heads": "num_heads num_attention_heads heads_num n_head",
    "hidden_size": "hidden width d_model n_embd emb_size",
    "embedding_size": "emb_size",
    "feed_forward_size": "intermediate_size feedforward_size ffn_size n_inner",
    "max_positions": "max_position_embeddings n_positions",
    "activation": "hidden_act hidden_activation",
    "layer_norm_eps": "layer_norm_epsilon",
    "objective": "target mask masking whole_word_masking",
    "mask_rate": "mlm_probability masking_rate mask_prob",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
    "adam_epsilon": "eps adam_eps epsilon",
    "log_every": "logging_steps report_steps log_interval log_steps",
    "save_every": "save_steps save_checkpoint_steps save_interval eval_steps",
    "held_out_share": "validation_split eval_share held_out",
}
"""What UER-py, transformers and others call our keys. A name may stand for one key of a recipe, another of a run."""

_OTHER_MEASURE = ("warmup_share", "micro_batch", "precision", "steps", "objective", "held_out_share")
"""Keys whose value is not that of their names elsewhere: a share of the steps, say, not their number."""


_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type"), "a table"),
    "string_type": "a text",
    "bool_type": "true, false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
}
"""What is expected of a value, by what pydantic calls another one."""


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
        path = expanded(reference)
        if not path.is_file():
            raise ClueBenchError(f"{reference}: no such {NOUN[kind]} card", "check the path")
        return path
    if kind == "tasks" and Path(reference.removesuffix(".gz")).suffix.lower() in ROWS:
        raise ClueBenchError(
            f"{reference}: a file of rows, expected the name of a task",
            f"give it as data: --data {reference} --text COLUMN --label COLUMN",
        )
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
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{path}: not valid TOML: not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:  # also numbers of 5,000 digits, and 1,000 brackets
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
        except (ValueError, RecursionError):
            decoded = {}
        values[key] = decoded["value"] if len(decoded) == 1 else text.strip()
    return values


class Key(NamedTuple):
    """A key that --set takes: what it means with its unit, and its default in words."""

    name: str
    meaning: str
    default: str = ""


def described_keys(model: type[Card]) -> list[Key]:
    """Return the keys of a card that say what they mean, in the order of its model."""
    return [Key(name, field.description) for name, field in model.model_fields.items() if field.description]


def _explain(source: str, model: type[Card], error: ErrorDetails, overridden: Container[str]) -> tuple[str, str]:
    """Return message and hint for a validation error of a card."""
    inner, keys = _walk(model, error["loc"])
    if (keys and (keys[0] in overridden or ".".join(keys) in overridden)) or (not keys and overridden):
        source = "--set" if keys else f"{source} with --set"
    where = ": ".join(part for part in (source, ".".join(keys)) if part)
    if error["type"] == "extra_forbidden":
        return explain_unknown_key(where, keys, error["input"], _meanings(inner), is_set=source == "--set")
    if error["type"] == "missing":
        return f"{where}: the key is missing", f"add a line: {keys[-1]} = …"
    if error["type"] == "value_error":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}", "change the value"
    meaning = _meanings(inner).get(keys[-1], "") if keys else ""
    hint = f"give --set {'.'.join(keys)}=… ({meaning})" if meaning and source == "--set" else "change the value"
    if error["type"] not in _EXPECTED:
        return f"{where}: found {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}", hint
    expected = _EXPECTED[error["type"]].format(**error.get("ctx", {}))
    return f"{where}: found {error['input']!r}, expected {expected.replace(' or ', ', ')}", hint


def explain_unknown_key(
    where: str, keys: Sequence[str], value: Any, known: Mapping[str, str], *, is_set: bool
) -> tuple[str, str]:
    """Return message and hint for the key on the path `keys`, which is none of `known` (name → meaning).

    Names of other toolkits lead to ours: `lr` is learning_rate, though "layers" is nearer to it by its letters.
    """
    *outer, key = keys
    meant = [name for name in known if key.lower().replace("-", "_") in _NAMES_ELSEWHERE.get(name, "").split()]
    guess = meant[0] if meant else next(iter(get_close_matches(key, sorted(known), n=1, cutoff=NEAR)), "")
    if not guess:
        return f"{where}: unknown key; {nearest(key, known)}", "use one of these keys"
    words = f"unknown key; it is called '{guess}' here" if meant else f"unknown key; did you mean '{guess}'?"
    if not is_set:
        return f"{where}: {words}", f"write {guess}"
    shown = f"… ({known[guess]})" if meant and guess in _OTHER_MEASURE else typed(value)
    return f"{where}: {words}", f"give --set {'.'.join([*outer, guess])}={shown}"


def _meanings(model: type[pydantic.BaseModel]) -> dict[str, str]:
    return {name: field.description or "" for name, field in model.model_fields.items()}


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
