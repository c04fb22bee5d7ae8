"""What every reader of this room gives and every writer takes: a model in the Hugging Face layout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from clue_bench.conversion.dead import Dropped
from clue_bench.errors import ClueBenchError

PADDING_ROW = "uer_padding_segment"  # in provenance.json: numbers with blanks between, so that they take one line


@dataclass(frozen=True)
class Source:
    """What was read, for reports and provenance. `tensors` and `parameters` count everything in the files."""

    files: tuple[Path, ...]
    sha256: str  # of the file; of the lines "sha256  name" where there are several
    bytes: int
    tensors: int
    parameters: int


@dataclass(frozen=True)
class Model:
    """A model in the Hugging Face layout.

    `tensors` and `config` (of config.json) have the names of transformers. `notes` are for the user: what was assumed
    or repaired. `facts` go into provenance.json under "converted"; `inherited` are its other entries.
    """

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    source: Source
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    inherited: Mapping[str, Any] = field(default_factory=dict)


def labelled(config: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return config.json of a classifier with `number` labels, whose names the source does not know."""
    names = [f"LABEL_{index}" for index in range(number)]
    return {
        **config,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def rows_of(words: Tensor, *, vocabulary: int, where: str) -> None:
    """Raise ClueBenchError unless the word embedding has a row for each of the `vocabulary` tokens, and no other."""
    if len(words) != vocabulary:
        raise ClueBenchError(
            f"{where}: the word embedding has {len(words):,} rows, the vocabulary {vocabulary:,} tokens",
            "give the vocabulary that the model was trained with: --vocab vocab.txt, or the .model of sentencepiece",
        )
