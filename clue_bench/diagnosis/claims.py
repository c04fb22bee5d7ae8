"""Compare config.json with the weights: family, the sizes that shapes reveal, and the class to read them with.

Input: config.json and a `Family`. Output: findings, and a `Reading`: how the weights have to be read so that
everything else can still be checked, and in words what that changes; an `Architecture`: what its class wants.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from clue_bench.diagnosis.family import KIND_OF_TYPE, Family, Kind, label_of
from clue_bench.diagnosis.result import Finding
from clue_bench.errors import ClueBenchError
from clue_bench.weights.hf_classes import build, config_of, explained, is_class, is_known_type
from clue_bench.weights.hf_config import claimed_class

# The sizes that "config" speaks of; those of the vocabulary, the positions and the segments have checks of their own.
_CONFIG_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "embedding_size")
_OWN_CHECKS = ("vocab_size", "max_position_embeddings", "type_vocab_size")
_TYPE_OF_KIND: dict[Kind, str] = {kind: name for name, kind in reversed(KIND_OF_TYPE.items())}


@dataclass(frozen=True)
class Reading:
    """How to read the weights."""

    kind: Kind
    model_type: str
    class_name: str
    config: PretrainedConfig
    claimed_sizes: dict[str, int]  # before they were corrected from the shapes
    in_words: str  # "" if config.json was followed


@dataclass(frozen=True)
class Architecture:
    """A transformers class with its configuration."""

    name: str
    prefix: str  # of the encoder's names, without the dot; files may leave it out
    shapes: dict[str, tuple[int, ...]]
    tied: dict[str, str]  # name → the name whose tensor it shares
    parameters: int
    encoder_parameters: int  # of the bare model, with its pooler if it has one
    has_pooler: bool

    @property
    def has_head(self) -> bool:
        """Return whether the class is more than the bare encoder."""
        return self.name.endswith("LMHeadModel") or not self.name.endswith("Model")


def architecture_of(reading: Reading) -> Architecture:
    """Build the class on the meta device and list its tensors. Raises ClueBenchError if it cannot be built."""
    name, config = reading.class_name, reading.config
    model = build(name, config, where="config.json")
    with explained(f"transformers cannot build {name} from config.json", "correct config.json"), torch.device("meta"):
        bare = transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]

    def count(module: torch.nn.Module) -> int:  # a tied tensor once, RoFormer's sinusoids not at all
        return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)

    return Architecture(
        name=name,
        prefix=model.base_model_prefix,
        shapes={key: tuple(tensor.shape) for key, tensor in model.state_dict().items()},
        tied=dict(model.all_tied_weights_keys),
        parameters=count(model),
        encoder_parameters=count(bare),
        has_pooler=getattr(bare, "pooler", None) is not None,
    )


def masked_class(model_type: str) -> str:
    """Return the class that predicts tokens."""
    return "GPT2LMHeadModel" if model_type == "gpt2" else f"{_stem(model_type)}ForMaskedLM"


def check_claims(values: Mapping[str, Any], family: Family) -> tuple[list[Finding], Reading | None]:
    """Compare model_type, architectures and sizes with the weights.

    The reading is None where transformers has no class for such weights.
    """
    finding = _check_family(values, family)
    model_type = values.get("model_type")
    claimed = KIND_OF_TYPE.get(str(model_type))
    agrees = claimed in family.compatible
    kind: Kind = claimed if agrees and claimed else family.kind
    if kind not in _TYPE_OF_KIND:
        return [finding], None
    wanted = str(model_type) if agrees else _TYPE_OF_KIND[kind]
    try:
        config = config_of(CONFIG_MAPPING[wanted], values, where="config.json")
    except ClueBenchError as error:
        return [finding, Finding("config", "wrong", error.message, error.hint)], None
    claimed_sizes = {key: size for key in family.sizes if isinstance(size := _size(config, key), int)}
    findings = [finding, *_check_sizes(config, family)]
    changes = _correct(config, family, claimed_sizes)
    name = _class_name(wanted, family, claimed_class(values))
    read_as = [f"as {name}"] if finding.severity == "wrong" else []
    words = " ".join([*read_as, *([f"with {', '.join(changes)}"] if changes else [])])
    return findings, Reading(kind, wanted, name, config, claimed_sizes, words)


def _check_family(values: Mapping[str, Any], family: Family) -> Finding:
    model_type, name = values.get("model_type"), claimed_class(values)
    claimed = KIND_OF_TYPE.get(str(model_type))
    if family.kind == "roformer_v2":
        stated = "RoFormer, whose layers have both" if claimed == "roformer" else f"model_type {model_type!r}"
        text = f"the weights are RoFormerV2's ({family.evidence}), config.json says {stated}"
        hint = "use the roformer package: transformers has no RoFormerV2 and would fill the gaps with fresh norms"
        return Finding("family", "wrong", text, hint)
    if family.kind == "nezha":
        text = f"the weights are NEZHA's ({family.evidence}), config.json says model_type {model_type!r}"
        hint = "give another model, e.g. hfl/chinese-macbert-base: transformers 5 and clue-bench have no NEZHA"
        return Finding("family", "wrong", text, hint)
    if family.kind == "uer":
        hint = "run clue-bench convert --from uer"
        return Finding("family", "wrong", f"the weights have {family.evidence}, transformers finds none of them", hint)
    if family.kind == "unknown":
        text = f"the weights have {family.evidence}; config.json says {model_type!r}"
        severity = "note" if is_known_type(model_type) and claimed is None else "wrong"
        hint = "use one of these: " + ", ".join(sorted(KIND_OF_TYPE))
        return Finding("family", "note" if severity == "note" else "wrong", text, hint)
    right = _TYPE_OF_KIND[family.kind]
    hint = f'set "model_type": "{right}", "architectures": ["{_renamed(name, family)}"] in config.json'
    if model_type is None:
        text = f"config.json has no model_type, the weights are {family.label}'s ({family.evidence})"
        return Finding("family", "wrong", text, hint)
    if claimed not in family.compatible:
        label = label_of(claimed) if claimed else repr(model_type)
        text = f"config.json claims {label}, the weights are {family.label}'s ({family.evidence})"
        return Finding("family", "wrong", text, hint)
    if name and not name.startswith(_stem(str(model_type))):
        text = f"model_type is {model_type!r}, but architectures says {name}"
        return Finding("family", "wrong", text, f'set "architectures": ["{_renamed(name, family)}"] in config.json')
    if name and not is_class(name):
        text = f"architectures says {name}, a class that transformers does not have"
        return Finding("family", "wrong", text, f'set "architectures": ["{_renamed(name, family)}"] in config.json')
    return Finding("family", "ok", f"model_type {model_type!r} fits the weights ({family.evidence})")


def _renamed(name: str, family: Family) -> str:
    return _class_name(_TYPE_OF_KIND[family.kind], family, name)


def _stem(model_type: str) -> str:
    """Return how the classes of a model_type begin, e.g. "Bert" for bert, from the name of its configuration."""
    return CONFIG_MAPPING[model_type].__name__.removesuffix("Config")


def _class_name(model_type: str, family: Family, claimed: str) -> str:
    """Return the class to read weights as `model_type` with: `claimed` or its like, else what the head calls for."""
    stem = _stem(model_type)
    ending = re.search(r"(For[A-Z]\w+|LMHeadModel|Model)$", claimed)
    if ending and claimed.startswith(stem) and is_class(claimed):
        return claimed
    if ending and is_class(stem + ending[1]):
        return stem + ending[1]
    return masked_class(model_type) if family.has_head else f"{stem}Model"


def _size(config: PretrainedConfig, key: str) -> Any:
    """Return a size of `config` under BERT's key; GPT2's class knows these names too."""
    if key == "intermediate_size" and hasattr(config, "n_inner"):
        return config.n_inner if config.n_inner is not None else 4 * config.hidden_size
    return getattr(config, key, None)


def _check_sizes(config: PretrainedConfig, family: Family) -> list[Finding]:
    findings = []
    for key in _CONFIG_SIZES:
        found, stated = family.sizes.get(key), _size(config, key)
        if found is not None and isinstance(stated, int) and stated != found:
            words = key.replace("num_", "").replace("_", " ")
            text = f"config.json says {stated:,} {words}, the weights have {found:,}"
            findings.append(Finding("config", "wrong", text, f'"{key}": {found} in config.json'))
    if not findings:
        findings.append(Finding("config", "ok", "layers and widths are those of the weights"))
    return findings


def _correct(config: PretrainedConfig, family: Family, claimed: Mapping[str, int]) -> list[str]:
    """Set the sizes of `config` to those of the weights; return what changed in words."""
    changes = []
    for key in (*_CONFIG_SIZES, *_OWN_CHECKS):
        found = family.sizes.get(key)
        if found is None or key not in claimed or claimed[key] == found:
            continue
        setattr(config, "n_inner" if key == "intermediate_size" and hasattr(config, "n_inner") else key, found)
        changes.append(f"{re.sub('^num_', '', key)} {found:,}")
    return changes
