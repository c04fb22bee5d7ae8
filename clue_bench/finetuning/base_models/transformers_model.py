"""Models of `transformers` without a native network: ERNIE, ELECTRA, XLM-R and everything else that can classify.

Input: a checkpoint folder. Output: a `Classifier` around the model's own class for sequence classification, and the
folder that is written when it is trained. The base must be complete: transformers would warn and train a partly random
model; here that is an error.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from clue_bench.doors.checkpoint import checked_sha256, fill_folder, read_provenance
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import Classifier, TransformersClassifier, refuse_other_weights
from clue_bench.finetuning.base_models.pretrained import Pretrained, kind_of_model
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser
from clue_bench.finetuning.encode import TEXT, Tokeniser
from clue_bench.tasks.task import Kind
from clue_bench.weights.hf_classes import explained, quiet
from clue_bench.weights.read import open_weights

UNLIMITED = 2**20  # tokens; of models whose positions are relative
_DROPOUTS = (
    "hidden_dropout_prob",
    "hidden_dropout",
    "dropout",
    "dropout_rate",
    "resid_pdrop",
    "embd_pdrop",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "attn_pdrop",
    "classifier_dropout",
    "classifier_dropout_prob",
    "seq_classif_dropout",
    "summary_last_dropout",
)  # as the configurations of transformers call it: of the layers, of attention, of heads
_SAME = 1e-4  # how far logits may differ between a padded row and the same row without


class TransformersSizes(NamedTuple):
    """Sizes under the names of our own architectures."""

    layers: int
    hidden_size: int
    max_positions: int
    dropout: float


@dataclass(frozen=True)
class TransformersModel(Pretrained):
    """A checkpoint folder that `transformers` reads. `segment_types` is 0 if the model has no segments."""

    config: Any
    segment_types: int
    folder_tokeniser: FolderTokeniser

    @property
    def tokeniser(self) -> Tokeniser:
        """Return what turns rows into ids."""
        return self.folder_tokeniser.tokeniser

    @property
    def identity(self) -> dict[str, Any]:
        """Return what distinguishes the model from another of the same name."""
        architecture = self.config.to_dict()
        for key in ("_name_or_path", "transformers_version", "id2label", "label2id", "architectures"):
            architecture.pop(key, None)
        return {"architecture": architecture, "vocabulary": self.folder_tokeniser.sha256, "weights": self.sha256}

    def classifier(
        self, labels: tuple[str, ...], *, dropout: float, kind: Kind = "classification"
    ) -> TransformersClassifier:
        """Return the model with a new head, drawn from torch's global generator.

        Raises ClueBenchError if a part of the base is missing or its shape contradicts config.json, or if padding
        changes the outputs.
        """
        config = self._config(labels, dropout)
        with _explained(self.folder):
            fresh = _auto(kind).from_config(config)
            head = {name: tensor.clone() for name, tensor in fresh.state_dict().items() if _is_head(fresh, name)}
            del fresh
        model, faults = self._load(config, kind)
        _refuse(self.folder, model, faults, keep_head=False)
        model.load_state_dict(head, strict=False)
        return self._checked(model)

    def trained(self) -> TransformersClassifier:
        """Return the classifier as it was saved, with its head. Raises ClueBenchError if a part of it is missing."""
        model, faults = self._load(self.config, kind_of_model(self.folder))
        _refuse(self.folder, model, faults, keep_head=True)
        return self._checked(model)

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
        assert isinstance(classifier, TransformersClassifier)
        assert len(labels) == classifier.num_classes

        def fill(temporary: Path) -> None:
            with quiet():
                classifier.model.save_pretrained(temporary)
            self.folder_tokeniser.save(temporary)

        return fill_folder(folder, fill, provenance=provenance)

    def _config(self, labels: tuple[str, ...], dropout: float) -> Any:
        names = dict(enumerate(labels))
        with _explained(self.folder):
            config = type(self.config).from_dict(
                {**self.config.to_dict(), "id2label": names, "label2id": {v: k for k, v in names.items()}}
            )
        config.problem_type = "single_label_classification"  # an earlier task may have been a regression
        for key in _DROPOUTS:
            if hasattr(config, key):
                setattr(config, key, dropout)
        if getattr(config, "pad_token_id", None) is None:  # GPT2 and its relatives find the last token by it
            config.pad_token_id = self.folder_tokeniser.layout.pad
        return config

    def _load(self, config: Any, kind: Kind) -> tuple[Any, dict[str, Any]]:
        with _explained(self.folder):
            model, faults = _auto(kind).from_pretrained(
                self.folder,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        return model, faults

    @torch.no_grad()
    def _checked(self, model: Any) -> TransformersClassifier:
        """Return the classifier after checking that padding at the end of a row does not change its outputs."""
        classifier = TransformersClassifier(model, has_segments=self.segment_types > 0).eval()
        layout, text = self.tokeniser.layout, self.folder_tokeniser.ids(["中国a1"])[0]
        row = [part for token, _ in layout.single for part in (text if token == TEXT else [token])]
        if classifier.end is not None and classifier.end not in row:
            raise ClueBenchError(
                f"{self.folder}: {type(model).__name__} reads its answer at token {classifier.end} (eos_token_id), "
                "which its tokenizer puts into no row",
                f"set eos_token_id in config.json to {row[-1]}, the last token of a row here",
            )
        padded = [*row, *[layout.pad] * 3]
        logits = []
        for ids in (row, padded):
            ids_1S = torch.tensor([ids])
            keep_1S = torch.arange(len(ids))[None] < len(row)
            with _explained(self.folder):
                logits.append(classifier(ids_1S, torch.zeros_like(ids_1S), keep_1S))
        if not bool(logits[0].isfinite().all()):
            raise ClueBenchError(
                f"{self.folder}: its outputs are NaN or infinite", f"run clue-bench doctor {self.folder}"
            )
        if classifier.scores_tokens:
            logits[1] = logits[1][:, : len(row)]
        if not torch.allclose(logits[0], logits[1], atol=_SAME, rtol=_SAME):
            raise ClueBenchError(
                f"{self.folder}: padding at the end of a row changes the outputs of {type(model).__name__}",
                "set pad_token_id in config.json to the tokenizer's, or give a model that pads on the right",
            )
        return classifier.train()


def _auto(kind: Kind) -> Any:
    """Return what loads a model for a kind of task; a choice's score is a classifier's one output."""
    of_kind = {"span": AutoModelForQuestionAnswering, "tags": AutoModelForTokenClassification}
    return of_kind.get(kind, AutoModelForSequenceClassification)


def dropout_of(config: Any) -> float:
    """Return the dropout of a configuration's layers; of attention or the head where it says only that."""
    return next((float(share) for key in _DROPOUTS if (share := getattr(config, key, None)) is not None), 0.0)


def read_transformers_model(folder: Path) -> TransformersModel:
    """Read a checkpoint folder whose config.json transformers knows. Raises ClueBenchError."""
    provenance = read_provenance(folder)
    open_weights(folder)  # is there anything to load, and can it be read safely?
    with _explained(folder):
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model: Any = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
        layers, width, positions = int(config.num_hidden_layers), int(config.hidden_size), _max_positions(model, config)
        sizes = TransformersSizes(layers, width, positions, dropout_of(config))
        takes_segments = "token_type_ids" in inspect.signature(model.forward).parameters
        segment_types = int(getattr(config, "type_vocab_size", 0) or 0)
    segment_types = segment_types if segment_types > 1 and takes_segments else 0
    tokeniser = _tokeniser(folder, config, segment_types)
    return TransformersModel(
        folder=folder,
        provenance=provenance,
        sha256=checked_sha256(folder, provenance),
        sizes=sizes,
        num_parameters=sum(p.numel() for p in model.base_model.parameters()),
        notes=tokeniser.notes,
        config=config,
        segment_types=segment_types,
        folder_tokeniser=tokeniser,
    )


def _tokeniser(folder: Path, config: Any, segment_types: int) -> FolderTokeniser:
    # BART, T5 and their like classify the last end token, and refuse rows with different numbers of them.
    end = config.eos_token_id if getattr(config, "is_encoder_decoder", False) else None
    tokeniser = FolderTokeniser(folder, model_type=config.model_type, segment_types=segment_types, end=end)
    rows = getattr(config, "vocab_size", None)
    if not isinstance(rows, int) or tokeniser.size > rows:
        raise ClueBenchError(
            f"{folder}: the tokenizer has {tokeniser.size} tokens, config.json says {rows}",
            "copy the tokenizer that belongs to the weights",
        )
    return tokeniser


def _max_positions(model: Any, config: Any) -> int:
    """Return the tokens of the longest row. RoBERTa and its like count from the row after padding's: 512 of 514."""
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    padding = getattr(tables[0], "padding_idx", None) if tables else None
    rows = getattr(config, "max_position_embeddings", None) or UNLIMITED
    positions = rows if padding is None else rows - padding - 1
    return int(positions) if positions > 0 else UNLIMITED


def _explained(folder: Path) -> AbstractContextManager[None]:
    return explained(f"{folder}: transformers cannot load the model", f"run clue-bench doctor {folder}")


def _is_head(model: Any, name: str) -> bool:
    return not name.startswith(f"{model.base_model_prefix}.")


def _refuse(folder: Path, model: Any, faults: Mapping[str, Iterable[Any]], *, keep_head: bool) -> None:
    """Raise ClueBenchError if anything but the head, or a pooler that belongs to it, is not from the checkpoint."""

    def may_be_new(name: str) -> bool:
        return not keep_head and (_is_head(model, name) or ".pooler." in f".{name}")

    refuse_other_weights(
        folder,
        missing=sorted(name for name in faults["missing_keys"] if not may_be_new(name)),
        surplus=sorted(name for name in faults["unexpected_keys"] if _is_layer(name)),
        misshapen=sorted(fault for fault in faults["mismatched_keys"] if not may_be_new(fault[0])),
        is_head=lambda name: _is_head(model, name),
    )


def _is_layer(name: str) -> bool:
    """Return whether a parameter belongs to a numbered layer; buffers of old versions do not count."""
    return bool(re.search(r"\.\d+\.", name)) and name.endswith(("weight", "bias")) and ".masked_bias" not in name
