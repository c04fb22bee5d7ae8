"""The one reader of weight files, for every room: nothing in them is trusted, none of their code is run.

Input: a folder in the Hugging Face layout, or one file of weights. Output: `Weights`: names, shapes and types from the
headers, tensors when they are asked for. safetensors come before pickles, one file before several. Pickles are read
with weights_only=True. Whatever is wrong with a file (cut short, of another kind, sizes that it cannot hold) is one
ClueBenchError that names it; the advice in torch's own messages, to load the file with its code, is never passed on.
"""

import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import safetensors
import torch
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.files import is_file, refuse_impostor
from clue_bench.numbers import article
from clue_bench.weights import PICKLE, WEIGHTS
from clue_bench.weights.configuration import one_line, read_object

DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError, LookupError, MemoryError),
    *(NameError, OSError, RuntimeError, TypeError, ValueError),
    *(UnpicklingError, struct.error, zipfile.BadZipFile, safetensors.SafetensorError),
)
"""The exceptions that parsers raise on bytes that they cannot read."""

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # torch's name for what a pickle would import
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # where trainers keep the weights in what they save
_MAX_NAMES = 1_000_000
# Type names of safetensors (https://huggingface.co/docs/safetensors, Format) → torch's.
_TYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


StoredType = Literal["float32", "float16", "bfloat16"]
"""What the numbers of a checkpoint are stored as. Whatever it is, ours and transformers compute in float32."""


@dataclass(frozen=True)
class Entry:
    """A tensor in a file."""

    shape: tuple[int, ...]
    dtype: str  # as torch prints it, without "torch."
    file: Path

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return int(torch.Size(self.shape).numel())

    @property
    def bytes(self) -> int:
        """Return the tensor's bytes in the file."""
        return self.size * int(getattr(torch, self.dtype).itemsize)


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint, by name. `others` names the entries that are not tensors, such as a step number.

    `wrapper` is the key of a trainer's wrapper that the weights lie under ("" without one): transformers reads no such
    file.
    """

    files: tuple[Path, ...]
    entries: dict[str, Entry]
    others: tuple[str, ...] = ()
    wrapper: str = ""
    pickled: Mapping[str, Tensor] = field(default_factory=dict, repr=False)  # a pickle has no header

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name → shape."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def tensor(self, name: str) -> Tensor:
        """Return one tensor as it is stored."""
        return next(tensor for _, tensor in self._read([name]))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor as it is stored, one in memory at a time."""
        yield from self._read(list(self.entries))

    def _read(self, names: list[str]) -> Iterator[tuple[str, Tensor]]:
        for file in self.files:
            here = [name for name in names if self.entries[name].file == file]
            if file.suffix != ".safetensors":
                yield from ((name, self.pickled[name]) for name in here)
            elif here:
                try:
                    with safetensors.safe_open(file, framework="pt") as opened:
                        yield from ((name, opened.get_tensor(name)) for name in here)
                except DAMAGE as error:
                    raise _damaged(file, error) from None


def weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights in the order of their names, none if there are none.

    Raises ClueBenchError if an index names files that are not there.
    """
    return _listed(folder)[0]


def open_weights(folder: Path) -> Weights:
    """List the weights of a folder.

    Raises ClueBenchError if there are none, a file is damaged, missing or unsafe, or the weights lie in a wrapper.
    """
    files, names = _listed(folder)
    if not files:
        raise ClueBenchError(f"{folder}: neither {WEIGHTS} nor {PICKLE}", "copy the weights beside config.json")
    weights = open_files(files)
    absent = sorted(names - weights.entries.keys())
    if absent:
        raise ClueBenchError(f"{folder}: the index names tensor '{absent[0]}', in no file", "copy the files again")
    if weights.wrapper:
        raise ClueBenchError(
            f"{files[0]}: a trainer's file, whose weights lie under '{weights.wrapper}'",
            f"run clue-bench convert {folder} DST --from hf, which takes them out",
        )
    return weights


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder. Raises ClueBenchError as `open_weights` does."""
    return dict(open_weights(folder).tensors())


def open_files(files: list[Path]) -> Weights:
    """List what is in `files`. Raises ClueBenchError if one is damaged or unsafe, or there are no tensors at all."""
    entries: dict[str, Entry] = {}
    pickled: dict[str, Tensor] = {}
    others: list[str] = []
    wrapper = ""
    for file in files:
        refuse_impostor(file)
        if file.suffix == ".safetensors":
            entries |= _header(file)
            continue
        values, wrapper = _unpickled(file)
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        others += [name for name in values if name not in tensors]
        for name, tensor in tensors.items():
            _refuse_unusable(name, tensor, file)
            entries[name] = Entry(tuple(tensor.shape), str(tensor.dtype)[6:], file)
        pickled |= tensors
    if not entries:
        raise ClueBenchError(f"{files[0]}: no tensors in it", "save the model again")
    return Weights(tuple(files), entries, tuple(others), wrapper, pickled)


def _listed(folder: Path) -> tuple[list[Path], set[str]]:
    """Return the files of the weights, and the tensors that an index names."""
    for name in (WEIGHTS, PICKLE):
        if (folder / name).is_file():
            return [folder / name], set()
        index = folder / f"{name}.index.json"
        if index.is_file():
            listed = read_object(index).get("weight_map")
            names: dict[str, Any] = listed if isinstance(listed, dict) else {}
            # Only the last part of a name: an index must not lead out of its folder.
            parts = sorted({folder / Path(str(part)).name for part in names.values()})
            missing = [part.name for part in parts if not is_file(part)]
            if missing or not parts:
                raise ClueBenchError(
                    f"{index}: names {', '.join(missing[:3]) or 'no files'}, not there", "copy all files of the weights"
                )
            return parts, set(names)
    return [], set()


def _header(file: Path) -> dict[str, Entry]:
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  it is no mapping
            return {
                name: Entry(tuple(part.get_shape()), _TYPES.get(part.get_dtype(), "uint8"), file)
                for name, part in slices.items()
            }
    except DAMAGE as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> ClueBenchError:
    return ClueBenchError(f"{file}: damaged or cut short: {one_line(error)}", "copy the file again")


def _unpickled(file: Path) -> tuple[dict[str, Any], str]:
    """Return what a pickle holds, by name, and the key of a trainer's wrapper; its other parts come along."""
    with file.open("rb") as opened:
        is_zip = opened.read(4) == b"PK\x03\x04"
    try:
        if is_zip:
            _refuse_compressed(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats; what cannot be read is an error all the same
            values = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zip)
        if not isinstance(values, Mapping):
            raise ClueBenchError(
                f"{file}: holds {article(type(values).__name__)}, expected a state dictionary of tensors",
                "save it with torch.save(model.state_dict(), file)",
            )
        wrapper = next((key for key in _WRAPPERS if isinstance(values.get(key), Mapping)), "")
        rest = {key: value for key, value in values.items() if not wrapper or key != wrapper}
        return dict(islice(chain(_flat(values[wrapper] if wrapper else {}), _flat(rest)), _MAX_NAMES)), wrapper
    except DAMAGE as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> ClueBenchError:
    """Return what is wrong with a pickle, without torch's words: they advise to run its code."""
    if found := _GLOBAL.search(str(error)):
        return ClueBenchError(
            f"{file}: its pickle asks for '{found[1]}', which could run code, so it was not loaded",
            "save the state dictionary alone, if you trust its origin: torch.save(model.state_dict(), file)",
        )
    return ClueBenchError(
        f"{file}: not readable as plain weights, damaged or no file of torch.save ({type(error).__name__})",
        "copy the file again, or save it with safetensors",
    )


def _refuse_compressed(file: Path) -> None:
    """Raise ValueError for a zip that claims more than it holds; torch.save compresses nothing."""
    with zipfile.ZipFile(file) as archive:
        if sum(part.file_size for part in archive.infolist()) > file.stat().st_size:
            raise ValueError("a compressed archive")


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}".encode(errors="replace").decode(), value


def _refuse_unusable(name: str, tensor: Tensor, file: Path) -> None:
    """Raise ClueBenchError unless a tensor is one of plain numbers, and no larger than its file."""
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not dense or tensor.is_complex():
        raise ClueBenchError(f"{file}: '{name}' is no dense tensor of real numbers", "save the model with safetensors")
    if tensor.numel() * tensor.itemsize > file.stat().st_size:
        raise ClueBenchError(
            f"{file}: '{name}' claims {tensor.numel():,} numbers, more than the file holds", "copy the file again"
        )
