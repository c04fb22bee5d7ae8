"""What a transformers class wants: names and shapes of its tensors, built on the meta device, so without memory.

Input: the values of config.json and a class name. Output: an `Architecture`. No code of a checkpoint is run: only
classes that transformers itself has are looked up.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from clue_bench.diagnosis.family import Family
from clue_bench.errors import ClueBenchError

# What a class raises on a configuration that it cannot be built from.
BUILD_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    ImportError,
    StrictDataclassError,
)


@dataclass(frozen=True)
class Architecture:
    """A transformers class with its configuration."""

    name: str
    config: PretrainedConfig
    prefix: str  # of the encoder's names, without the dot; files may leave it out
    shapes: dict[str, tuple[int, ...]]
    tied: dict[str, str]  # name → the name whose tensor it shares
    parameters: int
    encoder_parameters: int  # of the bare model, with its pooler if it has one
    has_pooler: bool


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing reports, bars and warnings to stderr: findings say what they would say."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def known_type(model_type: object) -> bool:
    """Return whether transformers has this model_type."""
    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def build_config(model_type: str, values: Mapping[str, Any]) -> PretrainedConfig:
    """Return the configuration object. Raises ClueBenchError if transformers refuses the values."""
    plain = {key: value for key, value in values.items() if key not in ("model_type", "auto_map")}
    try:
        with quiet():
            config: PretrainedConfig = CONFIG_MAPPING[model_type].from_dict(plain)
    except BUILD_ERRORS as error:
        raise ClueBenchError(f"transformers refuses config.json: {_line(error)}", "fix the value") from error
    return config


def stem_of(model_type: str) -> str:
    """Return how the classes of a model_type begin, e.g. "Bert" for bert, from the name of its configuration."""
    return CONFIG_MAPPING[model_type].__name__.removesuffix("Config")


def class_name(model_type: str, family: Family, claimed: str) -> str:
    """Return the class to read weights as `model_type` with: `claimed` or its like, else what the head calls for."""
    stem = stem_of(model_type)
    ending = re.search(r"(For[A-Z]\w+|LMHeadModel|Model)$", claimed)
    if ending and claimed.startswith(stem) and hasattr(transformers, claimed):
        return claimed
    if ending and hasattr(transformers, stem + ending[1]):
        return stem + ending[1]
    return masked_class(model_type) if family.has_head else f"{stem}Model"


def masked_class(model_type: str) -> str:
    """Return the class that predicts tokens."""
    return "GPT2LMHeadModel" if model_type == "gpt2" else f"{stem_of(model_type)}ForMaskedLM"


def build(name: str, config: PretrainedConfig) -> Architecture:
    """Build the class on the meta device and list its tensors. Raises ClueBenchError if it cannot be built."""
    try:
        with quiet(), torch.device("meta"):
            model: PreTrainedModel = getattr(transformers, name)(config)
            bare = transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    except BUILD_ERRORS as error:
        raise ClueBenchError(
            f"transformers cannot build {name} from config.json: {_line(error)}", "fix config.json"
        ) from error
    return Architecture(
        name=name,
        config=config,
        prefix=model.base_model_prefix,
        shapes={key: tuple(tensor.shape) for key, tensor in model.state_dict().items()},
        tied=dict(model.all_tied_weights_keys),
        parameters=_count(model),
        encoder_parameters=_count(bare),
        has_pooler=getattr(bare, "pooler", None) is not None,
    )


def _count(model: torch.nn.Module) -> int:
    """Count parameters that are trained; a tied tensor once, RoFormer's sinusoids not at all."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
