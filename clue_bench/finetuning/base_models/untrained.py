"""A model without its pretraining: the same architecture and vocabulary, all weights drawn anew.

Input: a `Pretrained` that runs on our networks. Output: one that knows nothing, so that the difference between the two
is what pretraining is worth. Each run draws its weights from its own seed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clue_bench.doors.checkpoint import base_name, model_name
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import Classifier, new_classifier
from clue_bench.finetuning.base_models.pretrained import Own, Pretrained
from clue_bench.finetuning.encode import Tokeniser
from clue_bench.models.config import Sizes


@dataclass(frozen=True)
class Untrained:
    """The architecture of `own`, without its weights."""

    own: Own

    @property
    def folder(self) -> Path:
        """Where the architecture was read."""
        return self.own.folder

    @property
    def name(self) -> str:
        """What to call it; tasks that the weights were fine-tuned on are forgotten with them."""
        return model_name(self.folder, self.provenance)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken otherwise than it is written."""
        return self.own.notes

    @property
    def sha256(self) -> str:
        """Hash of the architecture and the vocabulary, since there are no weights."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def provenance(self) -> dict[str, Any]:
        """Nothing made it: no token was seen."""
        return {"model": f"{base_name(self.folder, self.own.provenance)}-untrained", "tokens_seen": 0}

    @property
    def sizes(self) -> Sizes:
        """Layers, hidden size and positions."""
        return self.own.sizes

    @property
    def num_parameters(self) -> int:
        """Parameters without any head."""
        return self.own.num_parameters

    @property
    def identity(self) -> dict[str, Any]:
        """Architecture and vocabulary."""
        return {**self.own.identity, "weights": "drawn from the run's seed"}

    @property
    def tokeniser(self) -> Tokeniser:
        """What turns rows into ids."""
        return self.own.tokeniser

    def classifier(self, labels: tuple[str, ...], *, dropout: float) -> Classifier:
        """Return the model with new weights, drawn from torch's global generator."""
        return new_classifier(replace(self.own.checkpoint.config, dropout=dropout), len(labels))

    def trained(self) -> Classifier:
        """There is none. Raises ClueBenchError."""
        raise ClueBenchError(f"{self.name} has never been trained", "give the --out of a fine-tuning run")

    def write(
        self, folder: Path, classifier: Classifier, *, labels: tuple[str, ...], provenance: Mapping[str, Any]
    ) -> str:
        """Write a classifier of this model as a checkpoint folder; return the sha256 of its weights."""
        return self.own.write(folder, classifier, labels=labels, provenance=provenance)


def untrained(start: Pretrained) -> Untrained:
    """Return `start` without its weights. Raises ClueBenchError for a network of transformers."""
    if not isinstance(start, Own):
        raise ClueBenchError(
            f"{start.folder}: a network of transformers; only BERT, ALBERT, RoFormer and GPT2 can start untrained",
            "leave out --untrained",
        )
    return Untrained(start)
