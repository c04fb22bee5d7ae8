"""Whether transformers loads a model completely: every tensor of its class is there, in its shape.

Enters: a `Model`. Leaves: nothing, or an error that names the tensor. The class is built without memory for weights.
"""

import torch

from clue_bench.convert.model import Model
from clue_bench.errors import ClueBenchError


def verify(model: Model) -> None:
    """Hold `model` against its class in transformers.

    Raises ClueBenchError for a tensor that is missing or has another shape, or a class that does not exist.
    """
    import transformers

    where = str(model.source.files[0])
    name = model.config["architectures"][0]
    kind = getattr(transformers, name, None)
    if kind is None or not hasattr(kind, "config_class"):
        raise ClueBenchError(f"{where}: transformers has no class {name}", "correct architectures in config.json")
    with torch.device("meta"):
        built = kind(kind.config_class(**model.config))
    wanted = built.state_dict()
    prefix = "" if name.endswith("Model") and not name.endswith("LMHeadModel") else None
    have = {_stripped(one, built.base_model_prefix) if prefix == "" else one: t for one, t in model.tensors.items()}
    tied = dict(built.all_tied_weights_keys)
    for one, tensor in wanted.items():
        found = have.get(one, have.get(tied.get(one, "")))
        if found is None:
            if "pooler" in one:  # said aloud where it is missing
                continue
            raise ClueBenchError(f"{where}: nothing in it becomes {one}, which {name} needs", "is the file complete?")
        if found.shape != tensor.shape:
            raise ClueBenchError(
                f"{where}: {one} would be {tuple(found.shape)}, {name} needs {tuple(tensor.shape)}",
                "does the configuration belong to these weights?",
            )


def _stripped(name: str, prefix: str) -> str:
    return name.removeprefix(f"{prefix}.")
