"""Models of `transformers` that have no network of ours: ERNIE, ELECTRA, XLM-R and whatever else it can classify with.

Input: a checkpoint folder. Output: a `Classifier` around the model's own class for sequence classification, and the
folder that is written when it is trained. The base must be there as a whole: transformers would warn and train a model
that is random in part; here that is an error.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from clue_bench.doors.checkpoint import fill_folder, model_name, read_provenance, weights_sha256
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import Classifier
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser, quiet
from clue_bench.finetuning.base_models.transformers_classifier import ForeignClassifier
from clue_bench.finetuning.encode import TEXT, Tokeniser
from clue_bench.weights.read import PICKLE, WEIGHTS

UNLIMITED = 2**20  # tokens; of models whose positions are relative
_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "classifier_dropout_prob",
    "attention_dropout",
    "hidden_dropout",
    "dropout",
    "dropout_rate",
    "seq_classif_dropout",
    "embd_pdrop",
    "attn_pdrop",
    "resid_pdrop",
    "summary_last_dropout",
)  # as the configurations of transformers call it
_FAILURES = (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError)
_SAME = 1e-4  # how far logits may differ between a padded row and the same row without


@dataclass(frozen=True)
class ForeignSizes:
    """Sizes as our own architectures name them. `parameters` are those of the base, without the head."""

    layers: int
    hidden_size: int
    max_positions: int
    parameters: int
    segment_types: int
    has_segments: bool


@dataclass(frozen=True)
class Foreign:
    """A checkpoint folder that `transformers` reads."""

    folder: Path
    config: Any
    notes: tuple[str, ...] = ()

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What provenance.json says, nothing if there is none."""
        return read_provenance(self.folder)

    @property
    def name(self) -> str:
        """What to call the model."""
        return model_name(self.folder, self.provenance)

    @cached_property
    def sha256(self) -> str:
        """Hash of the weights."""
        sha256 = weights_sha256(self.folder)
        if sha256 is None:
            raise ClueBenchError(
                f"{self.folder}: neither {WEIGHTS} nor {PICKLE}", "copy the weights beside config.json"
            )
        return sha256

    @cached_property
    def sizes(self) -> ForeignSizes:
        """Sizes, from the model without its weights."""
        with torch.device("meta"), _explained(self.folder):
            model = _class().from_config(self.config)
        tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
        padding = getattr(tables[0], "padding_idx", None) if tables else None
        positions = getattr(self.config, "max_position_embeddings", None) or UNLIMITED
        # RoBERTa and its kin count positions from the row after the padding's: 512 tokens of 514 rows.
        positions = positions if padding is None else positions - padding - 1
        segment_types = int(getattr(self.config, "type_vocab_size", 0) or 0)
        return ForeignSizes(
            layers=int(self.config.num_hidden_layers),
            hidden_size=int(self.config.hidden_size),
            max_positions=positions if positions > 0 else UNLIMITED,
            parameters=sum(p.numel() for p in model.base_model.parameters()),
            segment_types=segment_types,
            has_segments=segment_types > 1 and _takes(model, "token_type_ids"),
        )

    @cached_property
    def _tokenizer(self) -> FolderTokeniser:
        sizes = self.sizes
        types = sizes.segment_types if sizes.has_segments else 0
        tokenizer = FolderTokeniser(self.folder, model_type=self.config.model_type, segment_types=types)
        if tokenizer.size > self.config.vocab_size:
            raise ClueBenchError(
                f"{self.folder}: the tokenizer has {tokenizer.size} tokens, config.json says {self.config.vocab_size}",
                "the tokenizer belongs to another model",
            )
        return tokenizer

    @property
    def tokeniser(self) -> Tokeniser:
        """What turns rows into ids."""
        return self._tokenizer.tokeniser

    @property
    def num_parameters(self) -> int:
        """Parameters without the head."""
        return self.sizes.parameters

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes the model from another of the same name."""
        architecture = self.config.to_dict()
        for key in ("_name_or_path", "transformers_version", "id2label", "label2id", "architectures"):
            architecture.pop(key, None)
        return {"architecture": architecture, "vocabulary": self._tokenizer.sha256, "weights": self.sha256}

    def classifier(self, labels: tuple[str, ...], *, dropout: float) -> ForeignClassifier:
        """Return the model with a new head, drawn from torch's global generator.

        Raises ClueBenchError if a part of the base is missing or of another shape than config.json says, or if padding
        changes what the model says.
        """
        config = self._config(labels, dropout)
        with _explained(self.folder):
            fresh = _class().from_config(config)
            head = {name: tensor.clone() for name, tensor in fresh.state_dict().items() if _is_head(fresh, name)}
            del fresh
        model, faults = self._load(config)
        _refuse(self.folder, model, faults, keep_head=False)
        model.load_state_dict(head, strict=False)
        return self._checked(model)

    def trained(self) -> ForeignClassifier:
        """Return the classifier as it was saved, head and all. Raises ClueBenchError if a part of it is missing."""
        model, faults = self._load(self.config)
        _refuse(self.folder, model, faults, keep_head=True)
        return self._checked(model)

    def write(
        self, folder: Path, classifier: Classifier, *, labels: tuple[str, ...], provenance: Mapping[str, Any]
    ) -> str:
        """Write a classifier of this model as a checkpoint folder; return the sha256 of its weights."""
        assert isinstance(classifier, ForeignClassifier)
        assert len(labels) == classifier.num_classes

        def fill(temporary: Path) -> None:
            with quiet():
                classifier.model.save_pretrained(temporary)
            self._tokenizer.save(temporary)

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
        if getattr(config, "pad_token_id", None) is None:  # GPT2 and its kin find the last token by it
            config.pad_token_id = self._tokenizer.layout.pad
        return config

    def _load(self, config: Any) -> tuple[Any, dict[str, Any]]:
        with quiet(), _explained(self.folder):
            model, faults = _class().from_pretrained(
                self.folder,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        return model, faults

    @torch.no_grad()
    def _checked(self, model: Any) -> ForeignClassifier:
        """Return the classifier, after a look at whether it sees padding, which always stands at the end here."""
        classifier = ForeignClassifier(model, has_segments=self.sizes.has_segments).eval()
        layout, text = self.tokeniser.layout, self._tokenizer.ids(["中国a1"])[0]
        row = [part for token, _ in layout.single for part in (text if token == TEXT else [token])]
        padded = [*row, *[layout.pad] * 3]
        logits = []
        for ids in (row, padded):
            ids_1S = torch.tensor([ids])
            keep_1S = torch.arange(len(ids))[None] < len(row)
            with _explained(self.folder):
                logits.append(classifier(ids_1S, torch.zeros_like(ids_1S), keep_1S))
        if not torch.allclose(logits[0], logits[1], atol=_SAME, rtol=_SAME):
            raise ClueBenchError(
                f"{self.folder}: padding at the end of a row changes what {type(model).__name__} says of it",
                "is pad_token_id in config.json the tokenizer's? Models that pad on the left cannot be fine-tuned here",
            )
        return classifier.train()


def read_foreign(folder: Path) -> Foreign:
    """Return the checkpoint folder, whose config.json transformers must know. Raises ClueBenchError."""
    from transformers import AutoConfig

    with quiet(), _explained(folder):
        config = AutoConfig.from_pretrained(folder)
    _ = Foreign(folder, config).sha256  # is there anything to load?
    return Foreign(folder, config)


def _class() -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn the errors of transformers into one line."""
    try:
        yield
    except (UnpicklingError, SafetensorError) as error:
        raise ClueBenchError(f"{folder}: weights damaged or cut short: {error}", "copy the files again") from error
    except _FAILURES as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "Unrecognized configuration class" in reason:
            reason = "it has no class for sequence classification of this model_type"
        raise ClueBenchError(
            f"{folder}: transformers cannot load the model: {reason[:300]}", f"clue-bench doctor {folder}"
        ) from error


def _takes(model: Any, argument: str) -> bool:
    import inspect

    return argument in inspect.signature(model.forward).parameters


def _is_head(model: Any, name: str) -> bool:
    return not name.startswith(f"{model.base_model_prefix}.")


def _refuse(folder: Path, model: Any, faults: Mapping[str, Iterable[Any]], *, keep_head: bool) -> None:
    """Raise ClueBenchError if anything but the head (or a pooler, which comes with a head) is not the checkpoint's."""

    def may_be_new(name: str) -> bool:
        return not keep_head and (_is_head(model, name) or ".pooler." in f".{name}")

    wrong = sorted(name for name, *_ in faults["mismatched_keys"] if not may_be_new(name))
    if wrong:
        raise ClueBenchError(
            f"{folder}: {wrong[0]} has another shape than config.json says",
            "config.json and weights belong to different models",
        )
    missing = sorted(name for name in faults["missing_keys"] if not may_be_new(name))
    if missing:
        part = "classifier" if all(_is_head(model, name) for name in missing) else "encoder"
        raise ClueBenchError(
            f"{folder}: {len(missing)} {part} parameters are missing, e.g. {missing[0]}",
            "is the checkpoint complete?" if part == "encoder" else "give the --out of a fine-tuning run",
        )
    strangers = sorted(name for name in faults["unexpected_keys"] if _is_layer(name))
    if strangers:
        raise ClueBenchError(
            f"{folder}: {len(strangers)} parameters have no place in config.json, e.g. {strangers[0]}",
            "config.json and weights belong to different models",
        )


def _is_layer(name: str) -> bool:
    """Whether a parameter belongs to a numbered layer; buffers of old versions do not count."""
    return bool(re.search(r"\.\d+\.", name)) and name.endswith(("weight", "bias")) and ".masked_bias" not in name
