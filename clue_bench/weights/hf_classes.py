"""Classes of `transformers`, without its noise, its surprises, or memory for weights.

Input: the name of a class and the values of a config.json. Output: an instance on the meta device, whose names and
shapes are what the class wants. No code of a checkpoint is run: only classes that transformers itself has are used.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from tokenizers.pre_tokenizers import PreTokenizer

from clue_bench.errors import ClueBenchError
from clue_bench.vocab.words import WordCutter
from clue_bench.weights import CONFIG
from clue_bench.weights.configuration import one_line
from clue_bench.weights.read import DAMAGE

if TYPE_CHECKING:  # transformers takes seconds to import, and models of ours do not need it
    from transformers import PretrainedConfig, PreTrainedModel


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing reports, bars and warnings to stderr: what matters becomes an error here."""
    from transformers.utils import logging as untyped

    settings: Any = untyped
    verbosity, bar = settings.get_verbosity(), settings.is_progress_bar_enabled()
    settings.set_verbosity(logging.CRITICAL)
    settings.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.set_verbosity(verbosity)
        if bar:
            settings.enable_progress_bar()


@contextmanager
def explained(problem: str, hint: str) -> Iterator[None]:
    """Turn what transformers raises into one line: `problem`, a colon, and the reason. transformers is quiet inside."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        with quiet():
            yield
    except ClueBenchError:
        raise
    except BaseException as error:
        # tokenizers, in Rust, raises plain Exceptions, and panics on some files: that is a BaseException.
        known = (*DAMAGE, StrictDataclassError)
        if not isinstance(error, known) and type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        reason = one_line(error)
        if "Unrecognized configuration class" in reason:
            reason = "it has no class for this model_type that does that"
        raise ClueBenchError(f"{problem}: {reason}", hint) from None


def cut_words(tokenizer: Any) -> None:
    """Make RoFormer's tokenizer find words; leave every other one as it is.

    transformers 5.23 looks them up in the name of vocab.txt, not in it, where there is no tokenizer.json.
    """
    if type(tokenizer).__name__ == "RoFormerTokenizer":
        tokenizer.backend_tokenizer.pre_tokenizer = PreTokenizer.custom(WordCutter(tokenizer.get_vocab()))


def is_known_type(model_type: object) -> bool:
    """Return whether transformers has this model_type."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def config_of(kind: "type[PretrainedConfig]", values: Mapping[str, Any], *, where: str) -> "PretrainedConfig":
    """Return the configuration object. Raises ClueBenchError if transformers refuses the values."""
    plain = {key: value for key, value in values.items() if key not in ("model_type", "auto_map")}
    with explained(f"transformers refuses {where}", f"correct the value in {CONFIG}"):
        config: PretrainedConfig = kind.from_dict(plain)
    return config


def build(name: str, config: "PretrainedConfig | Mapping[str, Any]", *, where: str) -> "PreTrainedModel":
    """Return an instance of the class `name` without memory for weights; `where` names the file of `config`.

    Raises ClueBenchError if transformers has no such class, or cannot build it from `config`.
    """
    import transformers

    if not is_class(name):
        found = f"transformers has no class {name!r}" if name else '"architectures" names no class'
        raise ClueBenchError(f"{where}: {found}", f'correct "architectures" in {CONFIG}')
    kind = getattr(transformers, name)
    if not isinstance(config, transformers.PretrainedConfig):
        config = config_of(kind.config_class, config, where=where)
    with explained(f"transformers cannot build {name} from {where}", f"correct {CONFIG}"), torch.device("meta"):
        model: PreTrainedModel = kind(config)
    return model


def is_class(name: str) -> bool:
    """Return whether transformers has a model of this name."""
    import transformers

    return name.isidentifier() and getattr(getattr(transformers, name, None), "config_class", None) is not None


def shapes_of(model: "PreTrainedModel") -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors of a class, each with the prefix of its family."""
    prefix = f"{model.base_model_prefix}."
    is_bare = not hasattr(model, model.base_model_prefix)  # the encoder itself, whose names lack the prefix
    return {f"{prefix}{name}" if is_bare else name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
