"""Read Paddle's .pdparams: a pickle of NumPy arrays by name, without running anything that it asks for.

Input: a file of `paddle.save(layer.state_dict(), …)`. Output: names and tensors. Of a pickle's instructions only those
that make arrays, dictionaries and their like are followed: six names may be called, each by a function of ours.
"""

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.files import refuse_impostor
from clue_bench.weights.read import DAMAGE

_NAMES = "StructuredToParameterName@@"  # a dictionary of names that Paddle keeps beside the weights


def read_paddle(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a .pdparams file. Raises ClueBenchError if it is damaged, or would run code."""
    refuse_impostor(file)
    try:
        with file.open("rb") as opened:
            values = _Arrays(opened, encoding="latin1").load()
        if not isinstance(values, dict):
            raise TypeError("no dictionary")
        # Older versions keep each as (name, array).
        parts = {name: value[-1] if isinstance(value, tuple) else value for name, value in values.items()}
        arrays = {str(name): value for name, value in parts.items() if isinstance(value, np.ndarray)}
        others = [name for name in parts if name not in arrays and name != _NAMES]
        if others or any(array.dtype.kind not in "fiu" for array in arrays.values()):
            raise TypeError(f"'{others[0]}' is no array" if others else "arrays of other things than numbers")
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    except pickle.UnpicklingError as error:
        raise ClueBenchError(
            f"{file}: {error}, so it was not loaded",
            "save the weights alone, if you trust its origin: paddle.save(model.state_dict(), file)",
        ) from None
    except DAMAGE as error:
        raise ClueBenchError(f"{file}: not readable as Paddle's weights: {error}", "copy the file again") from None


def _array(kind: Any, shape: tuple[int, ...], _letter: Any) -> Any:
    if kind is not np.ndarray or shape != (0,):  # what NumPy itself writes: the shape comes later
        raise pickle.UnpicklingError("its pickle makes an array as NumPy never writes one")
    return np.ndarray(0, dtype=np.int8)


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"its pickle asks for the encoding {encoding!r}")
    return codecs.encode(text, "latin1")


class _Arrays(pickle.Unpickler):
    """An unpickler of NumPy's arrays and of nothing else."""

    _KNOWN = {  # noqa: RUF012
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _array for core in ("core", "_core")},
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _bytes,
        ("collections", "OrderedDict"): dict,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name, and refuse every other one."""
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"its pickle asks for '{module}.{name}', which could run code")
        return self._KNOWN[module, name]
