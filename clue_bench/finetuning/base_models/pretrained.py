"""Base models: what a fine-tuning run starts from, a checkpoint folder, a model on the Hugging Face hub, or in memory.

Input: a folder, an id, or a model of `transformers` with its tokenizer. Output: a `Pretrained`: names, sizes, a
tokeniser, classifiers with its weights, and the writer of a fine-tuned one. BERT, ALBERT, RoFormer and GPT2 run on our
own networks, everything else on those of `transformers` (`transformers_model`). A checkpoint that was fine-tuned on
another task works, too: its head is dropped, everything else is kept, and the name says which task came before. A model
without its pretraining (`untrained`) has the same architecture and vocabulary, and weights from each run's seed: the
difference between the two is what pretraining is worth.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from clue_bench.cards import check_name
from clue_bench.doors.checkpoint import (
    Checkpoint,
    base_name,
    finetunings,
    learned_positions,
    model_name,
    stated_positions,
    write_checkpoint,
)
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import Classifier, NativeClassifier, classifier_from, new_classifier
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser
from clue_bench.finetuning.encode import Tokeniser, bert_tokeniser
from clue_bench.models.config import Sizes
from clue_bench.models.local_attention import are_continued
from clue_bench.numbers import article
from clue_bench.tasks.task import CHOICE, SPAN, Kind
from clue_bench.weights import CONFIG, hf_config
from clue_bench.weights.configuration import read_config
from clue_bench.weights.hf_config import claimed_class
from clue_bench.weights.positions import MIN_UNUSED, trained_rows


@dataclass(frozen=True)
class Pretrained(ABC):
    """A base model: what a run starts from.

    `sha256` is the hash of its weights, `num_parameters` leaves out every head, and `notes` tell the user where the
    files were not taken at their word.
    """

    folder: Path
    provenance: dict[str, Any]  # the contents of provenance.json
    sha256: str
    sizes: Sizes
    num_parameters: int
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the model's name, safe as a part of a file name."""
        return model_name(self.folder, self.provenance)

    def called(self, name: str) -> Self:
        """Return the same model under another name, for records and tables. Raises ClueBenchError for a bad name."""
        check_name(name)
        recipe = self.provenance.get("recipe")
        made = {"recipe": {**recipe, "name": name}} if isinstance(recipe, dict) else {"model": name}
        return replace(self, provenance={**self.provenance, **made, "origin": self.origin or self.name})

    @property
    def origin(self) -> str | None:
        """Return the name that the model had before `called`, None if it still has it, or was fine-tuned since."""
        return None if finetunings(self.provenance) else self.provenance.get("origin")

    @property
    def pretrained_length(self) -> int:
        """Return the tokens of the rows that the model was pretrained on; all of its positions where nothing says so.

        Rotary positions need no training.
        """
        return learned_positions(self.provenance, self.sizes.max_positions)

    def beyond_pretraining(self, longest: int) -> str:
        """Return a warning if rows of `longest` tokens reach positions that pretraining never did, else ""."""
        learned = self.pretrained_length
        if longest <= learned:
            return ""
        about = f"rows of up to {longest:,} tokens; the model was pretrained on rows of {learned:,}"
        if self.has_continued_positions:
            return f"{about}: the positions behind continue their waves, no row of pretraining has reached them"
        return f"{about}: the positions behind are untrained. Shorter rows: --set max_length={learned}"

    @property
    def has_continued_positions(self) -> bool:
        """Return whether the positions behind `pretrained_length` were made from those that were trained."""
        return False

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what distinguishes the model from another of the same name: architecture, vocabulary, weights."""

    @property
    @abstractmethod
    def tokeniser(self) -> Tokeniser:
        """Return what turns rows into ids."""

    @abstractmethod
    def classifier(self, labels: tuple[str, ...], *, dropout: float, kind: Kind = "classification") -> Classifier:
        """Return the model with a new head, drawn from torch's global generator.

        Raises ClueBenchError if a part of the network is missing or its shape contradicts config.json.
        """

    @abstractmethod
    def trained(self) -> Classifier:
        """Return a fine-tuned model with its saved head. Raises ClueBenchError if there is none."""

    @abstractmethod
    def write(
        self,
        folder: Path,
        classifier: Classifier,
        *,
        labels: tuple[str, ...],
        provenance: Mapping[str, Any],
        kind: Kind = "classification",
    ) -> str:
        """Write a classifier of this model as a checkpoint folder; return the sha256 of its weights."""


@dataclass(frozen=True)
class NativeModel(Pretrained):
    """A checkpoint that runs on a native network; the native encoder tokenises if `folder_tokeniser` is None."""

    checkpoint: Checkpoint
    folder_tokeniser: FolderTokeniser | None

    @cached_property
    def pretrained_length(self) -> int:
        """Return the tokens of the rows that the model was pretrained on, measured where provenance.json is silent."""
        config, tensors = self.checkpoint.config, self.checkpoint.tensors
        name = "position.weight" if config.family == "gpt2" else "encoder.embeddings.position.weight"
        if config.family == "roformer":
            return config.max_positions
        if stated_positions(self.provenance) is None and name in tensors:
            measured = trained_rows(tensors[name].float())
            return measured if measured and config.max_positions - measured >= MIN_UNUSED else config.max_positions
        return super().pretrained_length

    @property
    def has_continued_positions(self) -> bool:
        """Return whether the positions behind `pretrained_length` go on with the waves before, as the weights show."""
        positions = self.checkpoint.tensors.get("encoder.embeddings.position.weight")
        head_size = self.checkpoint.config.head_size
        return positions is not None and are_continued(
            positions.float(), learned=self.pretrained_length, head_size=head_size
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Return architecture, vocabulary and weights."""
        return {**_architecture(self.checkpoint, self.folder_tokeniser), "weights": self.checkpoint.sha256}

    @cached_property
    def tokeniser(self) -> Tokeniser:
        """Return what turns rows into ids."""
        if self.folder_tokeniser is not None:
            return self.folder_tokeniser.tokeniser
        config = self.checkpoint.config
        has_segments = config.family != "gpt2" and config.segment_types > 1
        return bert_tokeniser(self.checkpoint.vocabulary, has_segments=has_segments)

    def classifier(self, labels: tuple[str, ...], *, dropout: float, kind: Kind = "classification") -> Classifier:
        """Return the model with a new head."""
        config = replace(self.checkpoint.config, dropout=dropout)
        return classifier_from(self.checkpoint, config, len(labels), kind=kind)

    def trained(self) -> Classifier:
        """Return a fine-tuned model with its head."""
        num_classes = len(output_names(self.folder))
        kind = kind_of_model(self.folder)
        return classifier_from(self.checkpoint, self.checkpoint.config, num_classes, kind=kind, keep_head=True)

    def write(
        self,
        folder: Path,
        classifier: Classifier,
        *,
        labels: tuple[str, ...],
        provenance: Mapping[str, Any],
        kind: Kind = "classification",
    ) -> str:
        """Write a classifier of this model as a checkpoint folder; return the sha256 of its weights."""
        assert isinstance(classifier, NativeClassifier)
        config = classifier.config
        return write_checkpoint(
            folder,
            classifier.checkpoint_state(),
            architecture=hf_config.classifier_class(config.family, kind),
            config=config,
            vocabulary=self.checkpoint.vocabulary,
            labels=labels,
            provenance=provenance,
            save_tokenizer=None if self.folder_tokeniser is None else self.folder_tokeniser.save,
        )


class Untrained(NativeModel):
    """A model without its pretraining, whose weights are drawn from the run's seed."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return architecture and vocabulary."""
        return {**_architecture(self.checkpoint, self.folder_tokeniser), "weights": "drawn from the run's seed"}

    @property
    def pretrained_length(self) -> int:
        """Return all positions: none is more untrained than another."""
        return self.sizes.max_positions

    def classifier(self, labels: tuple[str, ...], *, dropout: float, kind: Kind = "classification") -> Classifier:
        """Return the model with new weights, drawn from torch's global generator."""
        return new_classifier(replace(self.checkpoint.config, dropout=dropout), len(labels), kind)

    def trained(self) -> Classifier:
        """Raise ClueBenchError: there is none."""
        raise ClueBenchError(f"{self.name} has never been trained", "give the --out of a fine-tuning run")


def untrained(base: Pretrained) -> Untrained:
    """Return `base` without its pretrained weights. Raises ClueBenchError for a network of transformers."""
    if not isinstance(base, NativeModel):
        raise ClueBenchError(
            f"{base.folder}: a network of transformers; only BERT, ALBERT, RoFormer and GPT2 can start untrained",
            "leave out --untrained",
        )
    bare = Untrained(
        folder=base.folder,
        provenance={"model": f"{base_name(base.folder, base.provenance)}-untrained", "tokens_seen": 0},
        sha256="",  # set below, from architecture and vocabulary, since there are no weights
        sizes=base.sizes,
        num_parameters=base.num_parameters,
        notes=base.notes,
        checkpoint=base.checkpoint,
        folder_tokeniser=base.folder_tokeniser,
    )
    identity = json.dumps(bare.identity, sort_keys=True).encode()
    return replace(bare, sha256=hashlib.sha256(identity).hexdigest())


def nameless_labels(number: int) -> list[str]:
    """Return what transformers calls labels without names."""
    return [f"LABEL_{place}" for place in range(number)]


_OTHER_HEADS = ("ForNextSentencePrediction",)


def kind_of_model(folder: Path) -> Kind:
    """Return what kind of task a fine-tuned model is for, as its config.json says."""
    values = read_config(folder / CONFIG)
    claimed = claimed_class(values)
    if claimed.endswith("ForQuestionAnswering"):
        return "span"
    if claimed.endswith("ForTokenClassification"):
        return "tags"
    is_choice = claimed.endswith("ForMultipleChoice") or values.get("id2label") == {"0": CHOICE}
    return "choice" if is_choice else "classification"


def output_names(folder: Path) -> tuple[str, ...]:
    """Return the names of a classifier's outputs from config.json; a model of choices has one, of spans two.

    transformers leaves the names of two nameless classes out, LABEL_0 and LABEL_1. Raises ClueBenchError if the folder
    holds no classifier.
    """
    if (kind := kind_of_model(folder)) in ("choice", "span"):
        return (CHOICE,) if kind == "choice" else SPAN
    values = read_config(folder / CONFIG)
    names = values.get("id2label")
    kinds = values.get("architectures")
    if names is None and isinstance(kinds, list) and any("ForSequenceClassification" in str(kind) for kind in kinds):
        number = values.get("num_labels", 2)
        listed = nameless_labels(number if isinstance(number, int) else 2)
        names = {str(place): label for place, label in enumerate(listed)}
    claimed, tune = claimed_class(values), f"fine-tune it: clue-bench finetune --task T --model {folder}"
    if claimed.endswith(_OTHER_HEADS):
        raise ClueBenchError(f"{folder}: {article(claimed)}, which gives no label to a whole text", tune)
    if not isinstance(names, dict) or not names:
        is_causal = claimed.endswith(("LMHeadModel", "ForCausalLM"))
        raise ClueBenchError(
            f"{folder}: no id2label in {CONFIG}, so no fine-tuned classifier",
            f"{tune}; to continue texts, run clue-bench generate --model {folder}" if is_causal else tune,
        )
    if set(names) != {str(number) for number in range(len(names))} or len(set(map(str, names.values()))) < len(names):
        raise ClueBenchError(
            f"{folder / CONFIG}: id2label is {str(names)[:80]}, expected a name of its own for each output",
            "correct id2label",
        )
    return tuple(str(names[str(number)]) for number in range(len(names)))


def provenance_after(
    base: Pretrained, *, task: str, settings: Mapping[str, Any], seed: int, card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the provenance of a model fine-tuned from `base`, including every earlier task.

    `card` is the task's, where it is not a built-in one.
    """
    kept = {key: value for key, value in base.provenance.items() if key not in ("weights_sha256", "card")}
    made = {"task": task, "settings": dict(settings), "seed": seed, "started_from_sha256": base.sha256}
    made |= {} if card is None else {"card": dict(card)}
    earlier = finetunings(base.provenance)
    chain = {"earlier": earlier} if earlier else {}
    return {**kept, "model": base_name(base.folder, base.provenance), **made, **chain}


def _architecture(checkpoint: Checkpoint, tokeniser: FolderTokeniser | None) -> dict[str, Any]:
    vocabulary = checkpoint.vocabulary.sha256 if tokeniser is None else tokeniser.sha256
    return {"architecture": vars(checkpoint.config), "vocabulary": vocabulary}
