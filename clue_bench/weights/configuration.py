"""The JSON files of checkpoint folders, read without torch, so that a wrong folder is refused before torch is imported.

Input: a file. Output: its object, checked as far as any model's is. Whatever is wrong with it is one ClueBenchError.
"""

import json
from pathlib import Path
from typing import Any

from clue_bench.errors import ClueBenchError
from clue_bench.files import refuse_impostor

_LIMITS = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_hidden_groups", "inner_group_num"), 1_000),
    **dict.fromkeys(("hidden_size", "n_embd", "dim", "embedding_size", "intermediate_size", "n_inner"), 2**20),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "type_vocab_size", "num_labels"), 2**20),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 2**24),
    "vocab_size": 2**28,
}
"""Limits above any real model; building a larger one would take forever."""


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ClueBenchError naming the file if it is missing or something else."""
    refuse_impostor(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
        json.dumps(values, ensure_ascii=False).encode()  # half of a character, such as \ud800, is no text
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(f"{path}: not JSON: {one_line(error)}", "copy the file again") from error
    if not isinstance(values, dict):
        raise ClueBenchError(f"{path}: expected a JSON object", "copy the file again")
    return values


def read_config(path: Path) -> dict[str, Any]:
    """Read a model's configuration. Raises ClueBenchError as `read_object` does, and for sizes that no model has."""
    values = read_object(path)
    for key, limit in _LIMITS.items():
        value = values.get(key)
        if isinstance(value, int | float) and not -limit <= value <= limit:
            raise ClueBenchError(f"{path}: {key} is {value}, expected at most {limit:,}", "correct or copy the file")
    return values


def one_line(error: BaseException, *, max_length: int = 200) -> str:
    """Return an error's text in one line, or its kind where the text is torch's advice to run a file's code."""
    text = " ".join(str(error).split())
    return type(error).__name__ if not text or "weights_only" in text else text[:max_length].rstrip(". ")
