"""Checkpoints whose network is BERT's, under another name: BERTs that say roberta (hub models clue/*), and ERNIE.

Input: the values of a config.json, and tensors under the names of `transformers`. Output: the same as a BERT. ERNIE
adds a row for the kind of task to every token; where nobody names a task it is the first one, so adding that row to
each of the segments' gives the same network.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from clue_bench.weights.hf_config import claimed_class

_SEGMENTS, _TASKS = "token_type_embeddings.weight", "task_type_embeddings.weight"
_NOT_BERTS = ("bos_token_id", "eos_token_id", "use_task_id", "task_type_vocab_size")


class AsBert(NamedTuple):
    """A checkpoint read as a BERT; `note` says what it calls itself."""

    values: dict[str, Any]
    tensors: dict[str, Tensor]
    note: str


def is_bert_called_roberta(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether config.json `values` say roberta, and the weights are BERT's: hub models clue/*, for example.

    A RoBERTa has one segment, and 514 position rows for 512 tokens, the first two for padding.
    """
    if values.get("model_type") != "roberta":
        return False

    def rows(table: str) -> int:
        tables = [shape for name, shape in shapes.items() if name.endswith(f"embeddings.{table}.weight")]
        return tables[0][0] if tables and tables[0] else 0

    return rows("token_type_embeddings") == 2 and rows("position_embeddings") % 64 != 2


def as_bert(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> AsBert | None:
    """Return a checkpoint as a BERT if it is one under the name of RoBERTa or ERNIE, else None."""
    if is_bert_called_roberta(values, {name: tuple(tensor.shape) for name, tensor in tensors.items()}):
        note = "says roberta, the weights are BERT's (two segments, WordPiece): read as BERT"
        return AsBert(bert_values(values), _renamed(tensors, "roberta"), note)
    if values.get("model_type") != "ernie":
        return None
    named = _renamed(tensors, "ernie")
    note = "says ernie, which is BERT's network: read as BERT"
    tasks = next((name for name in named if name.endswith(_TASKS)), None)
    table = named.pop(tasks) if tasks else None
    segments = next((name for name in named if name.endswith(_SEGMENTS)), None)
    if table is not None and segments and values.get("use_task_id"):
        named[segments] = named[segments] + table[0]
        note += ", the row of its first task added to the segments'"
    return AsBert(bert_values(values), named, note)


def bert_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of config.json with BERT's names."""
    changed = {key: value for key, value in values.items() if key not in _NOT_BERTS}
    named = re.sub(r"^(Roberta|Ernie)", "Bert", claimed_class(values))
    return changed | {"model_type": "bert", "architectures": [named] if named else []}


def _renamed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {re.sub(rf"^{prefix}\.", "bert.", name): tensor for name, tensor in tensors.items()}
