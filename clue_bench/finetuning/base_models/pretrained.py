"""What a fine-tuning run starts from: any checkpoint folder, or a model of the Hugging Face hub.

Input: a folder or an id. Output: a `Pretrained`: names, sizes, a tokeniser, classifiers with its weights, and the
writer of a fine-tuned one. BERT, ALBERT, RoFormer and GPT2 run on our own networks, everything else on those of
`transformers` (`foreign`). A checkpoint that was fine-tuned on another task serves too: its head is dropped, all else
is kept, and the name says which task came before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from clue_bench.doors.checkpoint import (
    CONFIG,
    Checkpoint,
    base_name,
    checkpoint_vocabulary,
    find_folder,
    finetunings,
    read_checkpoint,
    write_checkpoint,
)
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import Classifier, OwnClassifier, classifier_from
from clue_bench.finetuning.base_models.tokenisers import FILES, FolderTokeniser, is_ours
from clue_bench.finetuning.encode import Tokeniser, bert_tokeniser
from clue_bench.models.config import Sizes, count_parameters
from clue_bench.weights import hf_config
from clue_bench.weights.hf_names import is_bert_called_roberta
from clue_bench.weights.read import read_object, read_weights


class Pretrained(Protocol):
    """A model to start from, ours or of transformers. `notes` are for the user to see."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        ...

    @property
    def name(self) -> str:
        """What to call it, safe as a part of a file's name."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken otherwise than it is written."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        ...

    @property
    def provenance(self) -> dict[str, Any]:
        """What made it, as far as provenance.json says."""
        ...

    @property
    def sizes(self) -> Sizes:
        """Layers, hidden size and positions."""
        ...

    @property
    def num_parameters(self) -> int:
        """Parameters without any head."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes it from another model of the same name: architecture, vocabulary, weights."""
        ...

    @property
    def tokeniser(self) -> Tokeniser:
        """What turns rows into ids."""
        ...

    def classifier(self, labels: tuple[str, ...], *, dropout: float) -> Classifier:
        """Return the model with a new head, drawn from torch's global generator."""
        ...

    def trained(self) -> Classifier:
        """Return a fine-tuned model with the head that it was saved with."""
        ...

    def write(
        self, folder: Path, classifier: Classifier, *, labels: tuple[str, ...], provenance: Mapping[str, Any]
    ) -> str:
        """Write a classifier of this model as a checkpoint folder; return the sha256 of its weights."""
        ...


@dataclass(frozen=True)
class Own:
    """A checkpoint that runs on our networks; tokenised by our encoder if `foreign_tokenizer` is None."""

    checkpoint: Checkpoint
    foreign_tokenizer: FolderTokeniser | None = None

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.checkpoint.folder

    @property
    def name(self) -> str:
        """What to call it."""
        return self.checkpoint.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken otherwise than it is written."""
        return self.checkpoint.notes

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        return self.checkpoint.sha256

    @property
    def provenance(self) -> dict[str, Any]:
        """What made it."""
        return self.checkpoint.provenance

    @property
    def sizes(self) -> Sizes:
        """Layers, hidden size and positions."""
        return self.checkpoint.config

    @property
    def num_parameters(self) -> int:
        """Parameters without any head."""
        return count_parameters(self.checkpoint.config)

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes it from another model of the same name."""
        files = self.foreign_tokenizer
        return {
            "architecture": vars(self.checkpoint.config),
            "vocabulary": self.checkpoint.vocabulary.sha256 if files is None else files.sha256,
            "weights": self.sha256,
        }

    @cached_property
    def tokeniser(self) -> Tokeniser:
        """What turns rows into ids."""
        if self.foreign_tokenizer is not None:
            return self.foreign_tokenizer.tokeniser
        config = self.checkpoint.config
        has_segments = config.family != "gpt2" and config.segment_types > 1
        return bert_tokeniser(self.checkpoint.vocabulary, has_segments=has_segments)

    def classifier(self, labels: tuple[str, ...], *, dropout: float) -> Classifier:
        """Return the model with a new head. Raises ClueBenchError if its weights are not whole."""
        return classifier_from(self.checkpoint, replace(self.checkpoint.config, dropout=dropout), len(labels))

    def trained(self) -> Classifier:
        """Return a fine-tuned model with its head. Raises ClueBenchError if there is none."""
        labels = read_object(self.folder / CONFIG).get("id2label")
        if not isinstance(labels, dict):
            raise ClueBenchError(
                f"{self.folder}: no id2label in {CONFIG}, so no fine-tuned classifier",
                f"clue-bench finetune --task T --model {self.folder}",
            )
        return classifier_from(self.checkpoint, self.checkpoint.config, len(labels), keep_head=True)

    def write(
        self, folder: Path, classifier: Classifier, *, labels: tuple[str, ...], provenance: Mapping[str, Any]
    ) -> str:
        """Write a classifier of this model as a checkpoint folder; return the sha256 of its weights."""
        assert isinstance(classifier, OwnClassifier)
        config = classifier.config
        return write_checkpoint(
            folder,
            classifier.checkpoint_state(),
            architecture=hf_config.classifier_class(config.family),
            config=config,
            vocabulary=self.checkpoint.vocabulary,
            labels=labels,
            provenance=provenance,
            save_tokenizer=None if self.foreign_tokenizer is None else self.foreign_tokenizer.save,
        )


def open_pretrained(model: str | Path) -> Pretrained:
    """Open what `model` means: a checkpoint folder, a run's folder, or an id of the hub; a folder wins.

    Raises ClueBenchError naming the file and what is wrong with it.
    """
    folder = find_folder(model)
    values = read_object(folder / CONFIG)
    if not any((folder / name).is_file() for name in FILES):
        raise ClueBenchError(
            f"{folder}: no tokenizer: neither vocab.txt, spiece.model nor tokenizer.json",
            "copy the tokenizer beside the weights",
        )
    if _runs_here(folder, values):
        checkpoint = read_checkpoint(folder)
        family = checkpoint.config.family
        if is_ours(folder, family):
            return Own(checkpoint)
        types = 0 if family == "gpt2" else checkpoint.config.segment_types
        return Own(checkpoint, FolderTokeniser(folder, model_type=family, segment_types=types))
    from clue_bench.finetuning.base_models.transformers_model import read_foreign

    return read_foreign(folder)


def provenance_after(start: Pretrained, *, task: str, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the provenance of a model that was fine-tuned from `start`, with every task before this one."""
    kept = {key: value for key, value in start.provenance.items() if key != "weights_sha256"}
    made = {"task": task, "settings": dict(settings), "seed": seed, "started_from_sha256": start.sha256}
    earlier = finetunings(start.provenance)
    chain = {"earlier": earlier} if earlier else {}
    return {**kept, "model": base_name(start.folder, start.provenance), **made, **chain}


def _runs_here(folder: Path, values: Mapping[str, Any]) -> bool:
    """Whether architecture and vocabulary are such as ours can be."""
    if values.get("model_type") == "roberta":  # BERT under a wrong name, perhaps; no RoBERTa has a vocab.txt
        shapes = {name: tuple(tensor.shape) for name, tensor in read_weights(folder).items()}
        return (folder / "vocab.txt").is_file() and is_bert_called_roberta(values, shapes)
    if not hf_config.computes(values):
        return False
    try:
        checkpoint_vocabulary(folder)
    except ClueBenchError:
        # Byte pairs, or other special tokens. A damaged vocab.txt is no other tokenizer's: `read_checkpoint` names it.
        return (folder / "vocab.txt").is_file()
    return True
