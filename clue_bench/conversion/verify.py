"""Whether transformers loads a model completely: every tensor of its class is there, and no layer is left over.

Input: a `Model`. Output: nothing, or an error that names the tensor. The class is built without memory for weights.
"""

import re
from typing import Any

import torch

from clue_bench.conversion.model import Model
from clue_bench.errors import ClueBenchError

_BESIDE = re.compile(r"^(cls|predictions|sop_classifier|classifier|lm_head|qa_outputs)\.|(^|\.)pooler\.")  # other heads

# May be missing: classifiers train a pooler anew, which is said where it is missing; RoFormer computes its sinusoids.
_OPTIONAL = re.compile(r"(^|\.)pooler\.|embed_positions\.weight$")


def built(config: dict[str, Any], where: str) -> Any:
    """Return an instance of the class that `config` names, without weights.

    Raises ClueBenchError if transformers has no such class, or refuses the configuration.
    """
    import transformers

    name = (config.get("architectures") or ["?"])[0]
    kind = getattr(transformers, name, None)
    if kind is None or getattr(kind, "config_class", None) is None:
        raise ClueBenchError(f"{where}: transformers has no class {name}", "correct architectures in config.json")
    try:
        with torch.device("meta"):
            return kind(kind.config_class(**config))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ClueBenchError(f"{where}: {name} refuses the configuration: {error}", "check config.json") from error


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of what a class of transformers wants, each with the prefix of its family."""
    prefix = f"{model.base_model_prefix}."
    bare = not hasattr(model, model.base_model_prefix)  # the encoder itself, whose names lack the prefix
    return {f"{prefix}{name}" if bare else name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def verify(model: Model) -> None:
    """Hold `model` against its class in transformers.

    Raises ClueBenchError for a tensor that is missing, left over, of another shape, or holds NaN or infinity.
    """
    where, name = str(model.source.files[0]), model.config["architectures"][0]
    kind = built(model.config, where)
    wanted, tied = shapes(kind), dict(kind.all_tied_weights_keys)
    for one, shape in wanted.items():
        found = model.tensors.get(one, model.tensors.get(tied.get(one, "")))
        if found is None and not _OPTIONAL.search(one):
            raise ClueBenchError(f"{where}: nothing in it becomes {one}, which {name} needs", "is the file complete?")
        if found is not None and tuple(found.shape) != shape:
            raise ClueBenchError(
                f"{where}: {one} would be {tuple(found.shape)}, {name} needs {shape} by the configuration",
                "does the configuration belong to these weights?",
            )
    for one, tensor in model.tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ClueBenchError(f"{where}: {one} holds numbers that are not finite", "is it of a run that diverged?")
        if one not in wanted and not _BESIDE.search(one):
            raise ClueBenchError(
                f"{where}: {one} has no place in {name} by the configuration", "does it say too few layers?"
            )
