"""UER-py's checkpoints to the Hugging Face layout.

Input: the state dictionary of a BERT, ALBERT or GPT2 of UER-py, of any of its versions, and its configuration. Output:
a `Model`. Steps: names of today; family, sizes and heads from names and shapes; a second copy of the embedding dropped;
gains of norms folded; the padding row of the segments put aside.

UER-py divides by the unbiased standard deviation s·√(N/(N-1)) plus 1e-6, transformers by √(s² + eps), with s the biased
standard deviation of the N normalised numbers. With r = √((N-1)/N):

    gain / (s/r + 1e-6) = gain·r / (s + 1e-6·r)

so the gain is multiplied by r, exactly. What is left is √(s² + eps) against s + 1e-6·r: equal to first order where
eps = 2e-6·r·s. There is one eps for all norms. The smallest s, where it matters most, is the one of the summed
embeddings (about 0.03; behind the first norm s is about 1, where any such eps disappears), so it is chosen there.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clue_bench.conversion.model import (
    PADDING,
    PADDING_ROW,
    TIED,
    Dropped,
    Model,
    Source,
    check_rows,
    labelled,
    live_tensors,
    source_of,
)
from clue_bench.conversion.settings import settled
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Family
from clue_bench.vocab import Vocabulary
from clue_bench.weights import CONFIG, names
from clue_bench.weights.configuration import read_config
from clue_bench.weights.hf_config import hugging_face_config
from clue_bench.weights.names import UER_POSITIONS, UER_SEGMENTS, UER_WORDS, Head
from clue_bench.weights.read import open_files

UER_EPS = 1e-6
TIED_MATRICES: dict[Head, str] = {"mlm": "target.mlm.linear_2.weight", "lm": "target.lm.output_layer.weight"}
"""Matrices of heads that are tied to the word embedding, or not."""

_KINDS = "give a BERT, ALBERT or GPT2, with heads for mlm, sp, lm or classification"
_LAYER_PART = re.compile(r"encoder\.transformer\.(\d+\.)?(self_attn|feed_forward)\..*\.(bias|weight)$")
_MEDIAN_ROWS = 20_000  # of the vocabulary: more do not move a median


def find_weights(path: Path) -> Path:
    """Return the file of weights that `path` means: itself, or the one .bin in a folder."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.bin"))
    if len(found) != 1:
        listed = ", ".join(one.name for one in found) or "none"
        raise ClueBenchError(f"{path}: expected one .bin of UER-py, found {listed}", "give the file itself")
    return found[0]


def read_uer(path: Path, *, config: Path | None, vocabulary: Vocabulary) -> Model:
    """Read a .bin of UER-py, or the same tensors as .safetensors. `config` is UER-py's, or one of transformers.

    In a folder, as `convert` writes it, its config.json is taken. Raises ClueBenchError if the file cannot be read
    safely, holds a tensor or a setting that transformers' models do not have, lacks one that they need, or contradicts
    `config` or the vocabulary.
    """
    file = find_weights(path)
    if config is None and path.is_dir() and (path / CONFIG).is_file():
        config = path / CONFIG
    weights = open_files([file])
    tensors, dropped = live_tensors(weights)
    source = source_of([file], weights.shapes.values())
    stated = read_config(config) if config else {}
    model = _from_uer(tensors, source=source, stated=stated, config=str(config or ""), vocabulary=vocabulary)
    return replace(model, dropped=(*dropped, *model.dropped))


def folded(gain: Tensor) -> Tensor:
    """Return the gain (N,) that transformers needs for UER-py's `gain`."""
    return (gain.double() * _ratio(gain)).float()


def unfolded(gain: Tensor) -> Tensor:
    """Return the gain (N,) that UER-py needs for `gain` of transformers; inverse of `folded` to float32 rounding."""
    return (gain.double() / _ratio(gain)).float()


def _ratio(normalised: Tensor) -> float:
    """Return √((N-1)/N) for the width N of `normalised` (N,)."""
    width = max(normalised.numel(), 2)
    return sqrt((width - 1) / width)


def _from_uer(
    tensors: Mapping[str, Tensor], *, source: Source, stated: Mapping[str, Any], config: str, vocabulary: Vocabulary
) -> Model:
    """Return UER-py's `tensors` as a `Model`; `stated` are the contents of the configuration file `config`."""
    where = str(source.files[0])
    renamed = _todays(tensors, where)
    family = _family(renamed, where)
    padded = check_rows(renamed[UER_WORDS], vocabulary=len(vocabulary), where=where)
    sizes = _sizes(renamed, family, where)
    architecture, notes = settled(stated, sizes, family, where=config, weights=where)
    eps = _matching_eps(renamed[UER_WORDS], renamed[UER_POSITIONS], renamed.get(UER_SEGMENTS))
    complete, added = _completed(renamed, family)
    heads, untied, dropped = _heads(complete, family, stated, where)
    padding = renamed[UER_SEGMENTS][0].float().tolist() if UER_SEGMENTS in renamed else []
    if family != "gpt2":
        dropped.append(Dropped(f"{UER_SEGMENTS}[0]", PADDING, complete[UER_SEGMENTS].shape[1], tensors=0))
        complete[UER_SEGMENTS] = complete[UER_SEGMENTS][1:]
    plain = {name: folded(one) if name.endswith(".gamma") else one.float() for name, one in complete.items()}
    hf = names.translate(plain, family, source="uer", target="hf", where=where)
    if untied and names.decoder_bias(family) in hf:
        hf[f"{names.stems(family, 'mlm', 'hf')[-1]}.bias"] = hf[names.decoder_bias(family)].clone()
    values = hugging_face_config(
        replace(architecture, layer_norm_eps=eps, tied_head=not untied),
        architecture=names.class_of(family, heads),
        pad=vocabulary.pad,
        start=vocabulary.start,
        end=vocabulary.separator,
    )
    if "cls" in heads:
        values = labelled(values, sum(hf["classifier.weight"].shape[:1]))
    if family != "gpt2" and not heads & {"sp", "cls"}:
        notes.append("no pooler in the file: BertModel and classifiers start one at random, fill-mask needs none")
    return Model(
        tensors=hf,
        config=values,
        source=source,
        dropped=tuple(dropped),
        notes=(*notes, *added, *padded),
        facts={
            "family": family,
            "norms_folded": sum(name.endswith(".gamma") for name in complete),
            "norms": "gain multiplied by sqrt((N-1)/N), N the normalised width",
            "layer_norm_eps": eps,
        },
        inherited={PADDING_ROW: " ".join(map(repr, padding))} if padding else {},
    )


def _todays(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        current = names.todays_uer(name)
        if current in renamed:
            raise ClueBenchError(
                f"{where}: '{name}' and another tensor are both {current}", "save one model's state dictionary"
            )
        renamed[current] = tensor
    for name in (UER_WORDS, UER_POSITIONS):
        if name not in renamed:
            raise ClueBenchError(f"{where}: no {name}, so no model of UER-py that transformers has", _KINDS)
    return renamed


def _family(tensors: Mapping[str, Tensor], where: str) -> Family:
    """Tell the family from what it alone has. Raises ClueBenchError for a mixture that no class computes."""
    signs = {
        "shared layers": any(name.startswith("encoder.transformer.self_attn.") for name in tensors),
        "a factorised embedding": "encoder.linear.weight" in tensors,
        "a norm behind the last layer": "encoder.layer_norm.gamma" in tensors,
        "a norm of the embedding": "embedding.layer_norm.gamma" in tensors,
    }
    kinds: dict[tuple[bool, ...], Family] = {
        (False, False, False, True): "bert",
        (True, True, False, True): "albert",
        (False, False, True, False): "gpt2",
    }
    if family := kinds.get(tuple(signs.values())):
        return family
    found = ", ".join(sign for sign, is_there in signs.items() if is_there) or "no norm outside the layers"
    raise ClueBenchError(f"{where}: {found}: transformers has no class for that mixture", _KINDS)


def _sizes(tensors: Mapping[str, Tensor], family: Family, where: str) -> dict[str, int]:
    """Return the sizes that shapes show, under the names of `ModelConfig`; ALBERT's do not show the layers.

    Raises ClueBenchError for shapes that contradict each other.
    """
    numbers = names.layer_numbers(tensors)
    first = "encoder.transformer." if family == "albert" else f"encoder.transformer.{min(numbers, default=0)}."
    up = f"{first}feed_forward.linear_1.weight"
    if up not in tensors:
        raise ClueBenchError(f"{where}: parameter '{up}' is missing", "copy the file again")
    vocab_size, embedding_size = tensors[UER_WORDS].shape
    for name in (up, UER_POSITIONS, UER_SEGMENTS):
        shape = tuple(tensors[name].shape) if name in tensors else (2, embedding_size)
        if len(shape) != 2 or 0 in shape or (name != up and shape[1] != embedding_size):
            raise ClueBenchError(f"{where}: '{name}' is {shape}, expected a table of {embedding_size} columns", _KINDS)
    if UER_SEGMENTS in tensors and len(tensors[UER_SEGMENTS]) < 2:
        raise ClueBenchError(f"{where}: '{UER_SEGMENTS}' has no row but the padding's", "copy the file again")
    sizes = {
        "vocab_size": vocab_size,
        "embedding_size": embedding_size,
        "hidden_size": tensors[up].shape[1],
        "feed_forward_size": tensors[up].shape[0],
        "max_positions": tensors[UER_POSITIONS].shape[0],
    }
    for name, tensor in tensors.items():
        if re.search(r"self_attn\.linear_layers\.\d\.weight$", name) and tensor.shape[:1] != (sizes["hidden_size"],):
            raise ClueBenchError(
                f"{where}: '{name}' is {tuple(tensor.shape)}, expected {sizes['hidden_size']} rows; transformers has "
                "no model whose heads are wider together than its layers",
                "convert another model",
            )
    return sizes if family == "albert" else sizes | {"layers": len(numbers)}


def _matching_eps(words: Tensor, positions: Tensor, segments: Tensor | None) -> float:
    """Return the layer_norm_eps of transformers that is nearest to UER-py's 1e-6.

    `words` (V, E), `positions` (P, E), `segments` (3, E) or None are the embeddings whose sum the first norm sees. The
    median deviation over the vocabulary decides, each word at one position, in the first segment.
    """
    step = max(1, len(words) // _MEDIAN_ROWS)
    sums = words[::step].double()
    sums = sums + positions.double()[torch.arange(len(sums)) % len(positions)]
    if segments is not None:
        sums = sums + segments[1].double()
    typical = float(sums.std(dim=-1, correction=0).median())
    eps = 2 * UER_EPS * _ratio(words[0]) * typical + UER_EPS**2
    return float(f"{eps:.3g}")


def _completed(tensors: Mapping[str, Tensor], family: Family) -> tuple[dict[str, Tensor], list[str]]:
    """Add zeros for what transformers' class has and the model was trained without; the outputs stay the same."""
    complete, notes = dict(tensors), []
    parts = [name for name in tensors if _LAYER_PART.match(name)]
    if not any(name.endswith(".bias") for name in parts):
        complete |= {f"{name.removesuffix('weight')}bias": torch.zeros(tensors[name].shape[:1]) for name in parts}
        notes.append("trained without biases in the layers: biases of zeros are written, which change nothing")
    if family != "gpt2" and UER_SEGMENTS not in tensors:
        complete[UER_SEGMENTS] = torch.zeros(3, tensors[UER_WORDS].shape[1])
        notes.append("trained without segments: segment embeddings of zeros are written, which change nothing")
    return complete, notes


def _heads(
    tensors: dict[str, Tensor], family: Family, stated: Mapping[str, Any], where: str
) -> tuple[frozenset[Head], bool, list[Dropped]]:
    """Return the heads, whether one has a matrix of its own, and what was taken out of `tensors`."""
    kinds: tuple[Head, ...] = ("mlm", "sp", "lm", "cls")
    heads = {
        head for head in kinds if any(f"{stem}.weight" in tensors for stem in names.stems(family, head, "uer") if stem)
    }
    targets = stated.get("target")
    if stated.get("tie_weights") and isinstance(targets, list) and "lm" in targets and family == "gpt2":
        heads.add("lm")  # a file that stores tied tensors once, as safetensors does
    dropped, untied = [], False
    for matrix_name in sorted(name for head, name in TIED_MATRICES.items() if head in heads and name in tensors):
        matrix, words = tensors[matrix_name], tensors[UER_WORDS]
        if matrix.shape == words.shape and torch.equal(matrix, words):
            dropped.append(Dropped(matrix_name, TIED, tensors.pop(matrix_name).numel()))
        elif stated.get("tie_weights"):
            raise ClueBenchError(
                f"{where}: the configuration ties {matrix_name} to the word embedding, but the two differ",
                'write "tie_weights": false into the configuration if the model was trained so',
            )
        else:
            untied = True
    bias = tensors.pop("target.lm.output_layer.bias", None)
    if bias is not None and bool(bias.any()):
        raise ClueBenchError(
            f"{where}: target.lm.output_layer.bias is not zero, and transformers' GPT2 has no such bias",
            "convert another model: this one cannot be written with the same outputs",
        )
    if bias is not None:
        dropped.append(Dropped("target.lm.output_layer.bias", "bias of zeros that the class lacks", bias.numel()))
    return frozenset(heads), untied, dropped
