"""The one table of parameter names: ours, those of Hugging Face transformers, and UER-py's, for every family.

Input: tensors under the names of one layout. Output: the same under those of another (`translate`). Each row of a table
is one stem, a name without its last part, in the three layouts; "" where a layout has no such parameter. {n} is the
number of a layer. A stem that ends in [0], [1] or [2] is a third of a fused query-key-value matrix. transformers' GPT2
keeps its matrices as (in, out). UER-py calls the parts of its norms gamma and beta.

UER-py has renamed its parameters twice (2021, 2022), BERT's TensorFlow code and transformers once each: `todays` and
`todays_uer` give the names that the tables use, transformers 5 and UER-py's master branch (2024-05).
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.models.attention import rotary_angles
from clue_bench.models.config import Family, ModelConfig
from clue_bench.numbers import article

Layout = Literal["ours", "hf", "uer"]
Head = Literal["", "mlm", "sp", "lm", "cls", "qa"]
"""What a parameter serves: "" all, or one head: masked tokens, sentence pairs, the next token, classes, spans."""


class Row(NamedTuple):
    """One stem in the three layouts. A whole name, leaf included, where `is_whole`."""

    head: Head
    ours: str
    hf: str
    uer: str
    is_whole: bool = False


def _rows(*rows: tuple[str, str, str], head: Head = "", hf: str = "") -> list[Row]:
    return [Row(head, ours, f"{hf}{name}", uer) for ours, name, uer in rows]


def _layer(prefixes: tuple[str, str, str], hf_names: tuple[str, ...]) -> list[Row]:
    """Return the rows of one layer: its parts have the same names in every family, but for transformers'."""
    ours = [*(f"attention.qkv[{n}]" for n in range(3)), *_OUR_PARTS]
    uer = [*(f"self_attn.linear_layers.{n}" for n in range(3)), *_UER_PARTS]
    return [
        Row("", f"{prefixes[0]}{our}", f"{prefixes[1]}{hf}", prefixes[2] and f"{prefixes[2]}{theirs}")
        for our, hf, theirs in zip(ours, hf_names, uer, strict=True)
    ]


_OUR_PARTS = ("attention.out", "attention_norm", "up", "down", "feed_forward_norm")
_UER_PARTS = (
    *("self_attn.final_linear", "layer_norm_1", "feed_forward.linear_1", "feed_forward.linear_2", "layer_norm_2"),
)
_BERT_PARTS = (
    *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    *("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
)
_ALBERT_PARTS = (
    *("attention.query", "attention.key", "attention.value", "attention.dense"),
    *("attention.LayerNorm", "ffn", "ffn_output", "full_layer_layer_norm"),
)
_GPT2_PARTS = (
    *(f"attn.c_attn[{n}]" for n in range(3)),
    *("attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2"),
)
_EMBEDDINGS = (
    ("encoder.embeddings.word", "embeddings.word_embeddings", "embedding.word.embedding"),
    ("encoder.embeddings.position", "embeddings.position_embeddings", "embedding.pos.embedding"),
    ("encoder.embeddings.segment", "embeddings.token_type_embeddings", "embedding.seg.embedding"),
    ("encoder.embeddings.norm", "embeddings.LayerNorm", "embedding.layer_norm"),
)
_BERT_HEAD = (
    ("transform", "transform.dense", "target.mlm.linear_1"),
    ("transform_norm", "transform.LayerNorm", "target.mlm.layer_norm"),
    ("decoder", "decoder", "target.mlm.linear_2"),
)
_SPANS = Row("qa", "qa_outputs", "qa_outputs", "")
TABLES: dict[Family, list[Row]] = {
    "bert": [
        *_rows(*_EMBEDDINGS, hf="bert."),
        *_layer(("encoder.layers.{n}.", "bert.encoder.layer.{n}.", "encoder.transformer.{n}."), _BERT_PARTS),
        *_rows(*_BERT_HEAD, head="mlm", hf="cls.predictions."),
        Row("mlm", "bias", "cls.predictions.bias", "target.mlm.linear_2.bias", is_whole=True),
        Row("sp", "pooler.dense", "bert.pooler.dense", "target.sp.linear_1"),
        Row("sp", "order", "cls.seq_relationship", "target.sp.linear_2"),
        Row("cls", "pooler.dense", "bert.pooler.dense", "output_layer_1"),
        Row("cls", "classifier", "classifier", "output_layer_2"),
        _SPANS,
    ],
    "roformer": [
        *_rows(*((ours, hf, "") for ours, hf, _ in _EMBEDDINGS), hf="roformer."),
        *_layer(("encoder.layers.{n}.", "roformer.encoder.layer.{n}.", ""), _BERT_PARTS),
        *_rows(*((ours, hf, "") for ours, hf, _ in _BERT_HEAD), head="mlm", hf="cls.predictions."),
        Row("mlm", "bias", "cls.predictions.bias", "", is_whole=True),
        # No class of transformers has a RoFormer with a pooler: these two names are ours, and it leaves them unused.
        Row("sp", "pooler.dense", "sop_classifier.pooler", ""),
        Row("sp", "order", "sop_classifier.classifier", ""),
        Row("cls", "classifier", "classifier", ""),  # of tokens
        Row("cls", "classifier.dense", "classifier.dense", ""),
        Row("cls", "classifier.out_proj", "classifier.out_proj", ""),
        _SPANS,
    ],
    "albert": [
        *_rows(*_EMBEDDINGS, hf="albert."),
        Row("", "encoder.embeddings.project", "albert.encoder.embedding_hidden_mapping_in", "encoder.linear"),
        *_layer(  # one layer, applied again and again
            (
                "encoder.layers.{n}.",
                "albert.encoder.albert_layer_groups.{n}.albert_layers.0.",
                "encoder.transformer.",
            ),
            _ALBERT_PARTS,
        ),
        Row("mlm", "transform", "predictions.dense", "target.mlm.linear_1"),
        Row("mlm", "transform_norm", "predictions.LayerNorm", "target.mlm.layer_norm"),
        Row("mlm", "decoder", "predictions.decoder", "target.mlm.linear_2"),
        Row("mlm", "bias", "predictions.bias", "target.mlm.linear_2.bias", is_whole=True),
        Row("sp", "pooler.dense", "albert.pooler", "target.sp.linear_1"),
        Row("sp", "order", "sop_classifier.classifier", "target.sp.linear_2"),
        Row("cls", "pooler.dense", "albert.pooler", "output_layer_1"),
        Row("cls", "classifier", "classifier", "output_layer_2"),
        _SPANS,
    ],
    "gpt2": [
        Row("", "word", "transformer.wte", "embedding.word.embedding"),
        Row("", "position", "transformer.wpe", "embedding.pos.embedding"),
        *_layer(("layers.{n}.", "transformer.h.{n}.", "encoder.transformer.{n}."), _GPT2_PARTS),
        Row("", "norm", "transformer.ln_f", "encoder.layer_norm"),
        Row("lm", "", "lm_head", "target.lm.output_layer"),
        Row("cls", "classifier", "classifier", ""),  # of tokens
        Row("cls", "score", "score", ""),
    ],
}
PREFIXES: dict[Family, str] = {"bert": "bert.", "roformer": "roformer.", "albert": "albert.", "gpt2": "transformer."}
UER_WORDS, UER_POSITIONS, UER_SEGMENTS = (f"embedding.{table}.embedding.weight" for table in ("word", "pos", "seg"))

# Which class of transformers holds which heads; the first whose heads are all there.
_CLASSES: dict[Family, tuple[tuple[set[Head], str], ...]] = {
    "bert": (
        ({"cls"}, "BertForSequenceClassification"),
        ({"qa"}, "BertForQuestionAnswering"),
        ({"mlm", "sp"}, "BertForPreTraining"),
        ({"mlm"}, "BertForMaskedLM"),
        ({"sp"}, "BertForNextSentencePrediction"),
        (set(), "BertModel"),
    ),
    "albert": (
        ({"cls"}, "AlbertForSequenceClassification"),
        ({"qa"}, "AlbertForQuestionAnswering"),
        ({"mlm", "sp"}, "AlbertForPreTraining"),
        ({"mlm"}, "AlbertForMaskedLM"),
        (set(), "AlbertModel"),
    ),
    "roformer": (
        ({"cls"}, "RoFormerForSequenceClassification"),
        ({"qa"}, "RoFormerForQuestionAnswering"),
        ({"mlm"}, "RoFormerForMaskedLM"),
        (set(), "RoFormerModel"),
    ),
    "gpt2": (({"cls"}, "GPT2ForSequenceClassification"), ({"lm"}, "GPT2LMHeadModel"), (set(), "GPT2Model")),
}

# What a tensor is that no model uses, by a pattern of its name, tried in order.
_DEAD = (
    (
        "optimizer state",
        r"(^|[./_])(adam_?[mv]|lamb_[mv]|exp_avg(_sq)?|momentum|beta[12]_power)$"
        r"|/(Adam|AdamW|LAMB|LAMBOptimizer|AdamWeightDecayOptimizer|RMSProp|Momentum|Adafactor)(_\d+)?$"
        r"|^(optimi[sz]er|optim|scheduler|lr_scheduler|scaler|amp)([./_]|$)"
        r"|(^|/)(global_step|good_steps|bad_steps|loss_scale|current_loss_scale)$",
    ),
    ("moving averages of the training", r"/ExponentialMovingAverage$"),
    ("attention masks stored as buffers", r"(^|\.)attn\.(masked_)?bias$"),
    ("positions and segments stored as buffers", r"(^|\.)(position_ids|token_type_ids)$"),
)
# Nor do our networks use these: second copies of tied tensors, sinusoids, heads of question answering.
_NOT_OURS = re.compile(
    r"(qa_outputs\.(weight|bias)|roformer\.encoder\.embed_positions\.weight|(cls\.)?predictions\.decoder\.bias"
    r"|lm_head\.weight)$"
)
_TIED_DECODER = re.compile(r"(cls\.)?predictions\.decoder\.weight$")

_BARE = ("embeddings.", "encoder.", "pooler.", "wte.", "wpe.", "h.", "ln_f.")  # of an encoder saved by itself
_NEZHA = re.compile(r"\.relative_positions_encoding\.|^nezha\.")
_LAYER_NUMBER = re.compile(r"(^|\.)(layers?|h|transformer|albert_layer_groups)\.(\d+)\.")
_TRANSPOSED = re.compile(r"^transformer\.h\..*\.(c_attn|c_proj|c_fc)\.weight$")
_UER_LEAVES = {"weight": "gamma", "bias": "beta"}
_EARLIER_UER = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^module\.", ""),  # from training on several devices
        (r"^embedding\.word_embedding\.", "embedding.word.embedding."),
        (r"^embedding\.position_embedding\.", "embedding.pos.embedding."),
        (r"^embedding\.segment_embedding\.", "embedding.seg.embedding."),
        (r"^target\.(?:mlm\.)?mlm_linear_([12])\.", r"target.mlm.linear_\1."),
        (r"^target\.layer_norm\.", "target.mlm.layer_norm."),
        (r"^target\.(?:sp\.)?(?:sp|nsp|sop)_linear_([12])\.", r"target.sp.linear_\1."),
        (r"^target\.output_layer\.", "target.lm.output_layer."),
        (r"^target\.(?:cls\.)?linear_([12])\.", r"output_layer_\1."),  # UER-py's classification target
    )
)


def translate(
    state: Mapping[str, Tensor],
    family: Family,
    *,
    source: Layout,
    target: Layout,
    where: str,
    heads: Iterable[Head] | None = None,
) -> dict[str, Tensor]:
    """Return `state`, whose names are those of `source`, under the names of `target`, contiguous.

    With `heads`, parameters of other heads are unknown. A parameter that serves two heads is written for both. Raises
    ClueBenchError, naming the file `where`, for a name that is not in the table or a third of a matrix that is missing.
    """
    index = _index(family, source)
    wanted = None if heads is None else {"", *heads}
    translated: dict[str, Tensor] = {}
    fused: dict[str, dict[int, Tensor]] = {}
    for name, tensor in state.items():
        pattern, number = _numbered(name)
        stem, _, leaf = pattern.rpartition(".")
        found = [row for row in index.get(pattern, []) if row.is_whole]
        found = found or [row for row in index.get(stem, []) if not row.is_whole and _has_leaf(source, stem, leaf)]
        rows = [row for row in found if getattr(row, target) and (wanted is None or row.head in wanted)]
        if not rows:
            raise ClueBenchError(
                f"{where}: '{name}' is no parameter of {article(family)} that has a name in the other layout",
                "check that config.json belongs to these weights, and remove heads for other tasks",
            )
        upright = _turned(source, name, tensor)
        for row in rows:
            third = _third(getattr(row, source))[1]
            value = upright if third is None else _cut(upright, third, f"{where}: '{name}'")
            goal, part = _goal(row, target, number, leaf)
            if part is None:
                translated[goal] = _turned(target, goal, value).contiguous()
            else:
                fused.setdefault(goal, {})[part] = value
    for goal, parts in fused.items():
        translated[goal] = _turned(target, goal, _joined(goal, parts, family, source, target, where)).contiguous()
    return translated


def _has_leaf(layout: Layout, stem: str, leaf: str) -> bool:
    is_uer_norm = layout == "uer" and "norm" in stem
    return leaf in (_UER_LEAVES.values() if is_uer_norm else _UER_LEAVES)


def _goal(row: Row, target: Layout, number: str, leaf: str) -> tuple[str, int | None]:
    """Return the name that a parameter gets, and which third of it it is."""
    stem, part = _third(getattr(row, target))
    if not row.is_whole:
        leaf = {"gamma": "weight", "beta": "bias"}.get(leaf, leaf)
        stem += f".{_UER_LEAVES[leaf] if target == 'uer' and 'norm' in stem else leaf}"
    return stem.format(n=number or "0"), part


def _third(stem: str) -> tuple[str, int | None]:
    return (stem[:-3], int(stem[-2])) if stem.endswith("]") else (stem, None)


def _turned(layout: Layout, name: str, tensor: Tensor) -> Tensor:
    """Return a matrix as (out, in) if `layout` keeps it as (in, out), and the other way round."""
    return tensor.T if layout == "hf" and tensor.dim() == 2 and _TRANSPOSED.search(name) else tensor


def _cut(tensor: Tensor, third: int, where: str) -> Tensor:
    if tensor.dim() == 0 or len(tensor) % 3:
        raise ClueBenchError(f"{where} is {tuple(tensor.shape)}, expected three joined", "copy the file again")
    return tensor.chunk(3)[third]


def _joined(
    goal: str, parts: Mapping[int, Tensor], family: Family, source: Layout, target: Layout, where: str
) -> Tensor:
    pattern, number = _numbered(goal)
    stem, _, leaf = pattern.rpartition(".")
    for part in range(3):
        if part not in parts:
            lacking = next(row for row in TABLES[family] if getattr(row, target) == f"{stem}[{part}]")
            name = f"{_goal(lacking, source, number, leaf)[0]}"
            raise ClueBenchError(f"{where}: parameter '{name}' is missing", "copy the file again")
    if len({part.shape[1:] for part in parts.values()}) > 1 or parts[0].dim() == 0:
        raise ClueBenchError(f"{where}: parts of {goal} have other widths than one another", "copy the file again")
    return torch.cat([parts[part] for part in range(3)])


@cache
def _index(family: Family, layout: Layout) -> dict[str, list[Row]]:
    index: dict[str, list[Row]] = {}
    for row in TABLES[family]:
        if stem := _third(getattr(row, layout))[0]:
            index.setdefault(stem, []).append(row)
    return index


def _numbered(name: str) -> tuple[str, str]:
    """Return `name` with the number of its layer replaced by {n}, and the number, "" without one."""
    found = _LAYER_NUMBER.search(name)
    return (_LAYER_NUMBER.sub(r"\1\2.{n}.", name, count=1), found[3]) if found else (name, "")


def layer_numbers(names: Iterable[str]) -> set[int]:
    """Return the numbers of the layers that `names` belong to."""
    return {int(number) for name in names if (number := _numbered(name)[1])}


def stems(family: Family, head: Head, layout: Layout) -> list[str]:
    """Return the stems of a head in one layout; the last one is what the head ends in."""
    return [getattr(row, layout) for row in TABLES[family] if row.head == head and not row.is_whole]


def decoder_bias(family: Family) -> str:
    """Return transformers' name of the one bias over the vocabulary; "" where the family has none."""
    return next((row.hf for row in TABLES[family] if row.is_whole), "")


def heads_of(family: Family, found: Iterable[str]) -> frozenset[Head]:
    """Return which heads parameters of transformers belong to; a head counts when its last part is there."""
    names = set(found)
    kinds: tuple[Head, ...] = ("mlm", "sp", "lm", "cls")
    ends = {head: stems(family, head, "hf")[-1:] for head in kinds}
    heads = {head for head, end in ends.items() if end and f"{end[0]}.weight" in names}
    return frozenset(heads | ({"mlm"} if decoder_bias(family) in names else set()))


def class_of(family: Family, heads: Iterable[Head]) -> str:
    """Return the class of transformers that holds `heads`; RoFormer has none for sentence pairs."""
    return next(name for wanted, name in _CLASSES[family] if wanted <= set(heads))


def why_dead(name: str) -> str | None:
    """Return why no model uses a tensor called `name` in any layout, None if one may."""
    return next((reason for reason, pattern in _DEAD if re.search(pattern, name)), None)


def is_ours(name: str, *, tied_head: bool) -> bool:
    """Return whether our networks have a place for a tensor that transformers calls `name`."""
    return not (why_dead(name) or _NOT_OURS.match(name) or (tied_head and _TIED_DECODER.match(name)))


def todays(name: str, family: str) -> str:
    """Return `name` as transformers writes it today.

    Old files say gamma and beta, a bare model has no prefix, one trained on several devices begins with "module.".
    """
    name = name.removeprefix("module.")
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
    prefix = PREFIXES.get(cast(Family, family), "")
    return f"{prefix}{name}" if name.startswith(_BARE) else name


def todays_uer(name: str) -> str:
    """Return the name that UER-py's master branch gives to parameter `name` of any of its versions."""
    for pattern, replacement in _EARLIER_UER:
        name = pattern.sub(replacement, name, count=1)
    return name


def is_nezha(values: Mapping[str, Any], found: Iterable[str]) -> bool:
    """Return whether config.json `values` or the names of tensors are NEZHA's: a BERT with relative positions."""
    stated = values.get("model_type") == "nezha" or bool(values.get("use_relative_position"))
    return stated or any(_NEZHA.search(name) for name in found)


def refuse_nezha(values: Mapping[str, Any], found: Iterable[str], *, where: object) -> None:
    """Raise ClueBenchError for a NEZHA, whatever it is called: as BERT it would lack its positions."""
    if is_nezha(values, found):
        raise ClueBenchError(
            f"{where}: a NEZHA, that is a BERT with relative positions, which neither transformers 5 nor clue-bench "
            "computes",
            "give another model, for example hfl/chinese-macbert-base",
        )


def to_hugging_face(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return our `state` under the names of the family's classes in `transformers`, with the copies that they keep."""
    renamed = translate(state, config.family, source="ours", target="hf", where="our model")
    if "decoder.weight" in state:  # an untied head has its bias twice there
        renamed[f"{stems(config.family, 'mlm', 'hf')[-1]}.bias"] = state["bias"].clone()
    if config.family == "roformer":
        angles = rotary_angles(torch.arange(config.max_positions), config.head_size)
        renamed["roformer.encoder.embed_positions.weight"] = torch.cat((angles.sin, angles.cos), dim=-1)
    return renamed


def from_hugging_face(state: Mapping[str, Tensor], config: ModelConfig, *, where: str) -> dict[str, Tensor]:
    """Return `state`, whose names are those of `transformers`, under ours. `where` names the file in errors.

    Raises ClueBenchError for a name that the family does not have, or a projection that is missing.
    """
    named = {todays(name, config.family): tensor for name, tensor in state.items()}
    live = {
        name: tensor
        for name, tensor in named.items()
        if is_ours(name, tied_head=config.tied_head) or (name.startswith(_SPANS.hf) and config.family != "gpt2")
    }
    return translate(live, config.family, source="hf", target="ours", where=where)
