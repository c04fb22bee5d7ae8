"""Name weights of TensorFlow and JAX in the Hugging Face layout, which only transformers 4 turns into PyTorch's.

Input: a folder. Output: message and hint, or None. Nothing is loaded.
"""

from pathlib import Path

from clue_bench.weights import CONFIG
from clue_bench.weights.configuration import read_object

_FILES = {  # name → whose, what transformers 4 needs to read it, and its word for that
    "tf_model.h5": ("TensorFlow", "tensorflow", "from_tf"),
    "flax_model.msgpack": ("JAX", "flax", "from_flax"),
}
_PREFIXES = ("TF", "Flax")  # of classes in a configuration


def of_another_framework(folder: Path) -> tuple[str, str] | None:
    """Return what the weights are and how to turn them into PyTorch's; None if there are none of another framework."""
    name = next((name for name in _FILES if (folder / name).is_file()), None)
    if name is None:
        return None
    framework, package, option = _FILES[name]
    found = _class(folder)
    command = (
        f"pip install 'transformers<5' torch {package}, and there: python -c \"from transformers import {found} as M; "
        f"M.from_pretrained('{folder}', {option}=True).save_pretrained('{folder}')\""
    )
    first = "" if (folder / CONFIG).is_file() else f"copy {CONFIG} beside it; "
    return (
        f"{folder / name}: weights of {framework}, expected PyTorch's",
        f"{first}fetch the model's pytorch_model.bin or model.safetensors if it has one; else {command}",
    )


def _class(folder: Path) -> str:
    """Return the class of the model by its configuration, in PyTorch's spelling."""
    stated = read_object(folder / CONFIG).get("architectures") if (folder / CONFIG).is_file() else None
    name = str(stated[0]) if isinstance(stated, list) and stated else ""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name if name.isidentifier() else "AutoModel"
