"""Recognise the family of models from names and shapes of tensors, not from config.json.

Input: names and shapes. Output: a `Family`: its kind, the evidence in words, and the sizes that the shapes reveal.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = (
    Literal["bert", "roberta", "albert", "roformer", "roformer_v2", "gpt2"]
    | Literal["electra", "ernie", "distilbert", "megatron-bert", "nezha", "uer", "unknown"]
)
Shapes = Mapping[str, tuple[int, ...]]


class _Signs(NamedTuple):
    """The name of a kind, and what only it has: a name of its layers (`mark`), described by `evidence`, and a head."""

    label: str
    head: str = ""
    mark: str = ""
    evidence: str = ""


_BERT_HEAD = r"^cls\.predictions\.transform\.dense\.weight$"
# The first kind whose mark occurs among the names is it; BERT and RoBERTa are weighed, RoFormer is asked for biases.
_KINDS: dict[Kind, _Signs] = {
    "uer": _Signs(
        "UER-py model",
        "",
        r"(encoder\.transformer\.|embedding\.word[._]embedding\.|embedding\.word\.)",
        "UER-py's own names",
    ),
    "albert": _Signs(
        "ALBERT", r"^predictions\.dense\.weight$", r"\.albert_layer_groups\.", "layers are in albert_layer_groups"
    ),
    "gpt2": _Signs(  # the head is the embedding
        "GPT2", r"wte\.weight$", r"(^|\.)h\.\d+\.attn\.c_attn\.", "layers have the fused attn.c_attn"
    ),
    "distilbert": _Signs("DistilBERT", r"^vocab_transform\.weight$", r"\.attention\.q_lin\.", "attention has q_lin"),
    "megatron-bert": _Signs(
        "Megatron BERT", _BERT_HEAD, r"\.attention\.ln\.", "norms stand before the attention, as attention.ln"
    ),
    "electra": _Signs(
        "ELECTRA",
        r"^generator_predictions\.dense\.weight$",
        r"^electra\.|embeddings_project\.|^(discriminator|generator)_predictions\.",
        "names are ELECTRA's",
    ),
    "ernie": _Signs("ERNIE", _BERT_HEAD, r"^ernie\.|task_type_embeddings\.", "names are ERNIE's"),
    "roformer": _Signs("RoFormer", _BERT_HEAD),
    "nezha": _Signs("NEZHA", _BERT_HEAD, r"\.relative_positions_encoding\.|^nezha\.", "positions are relative"),
    "roformer_v2": _Signs("RoFormerV2", r"^cls\.predictions\.decoder\.weight$"),
    "bert": _Signs("BERT", _BERT_HEAD),
    "roberta": _Signs("RoBERTa", r"^lm_head\.dense\.weight$"),
    "unknown": _Signs("model of unknown family"),
}
_ROFORMER = r"^roformer\.|encoder\.embed_positions\."
KIND_OF_TYPE: dict[str, Kind] = {
    **{"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta", "albert": "albert"},
    **{"roformer": "roformer", "gpt2": "gpt2", "electra": "electra", "ernie": "ernie", "distilbert": "distilbert"},
    "megatron-bert": "megatron-bert",
}
"""model_type of config.json → what its weights look like."""

_PREFIXES = ("bert.", "roberta.", "albert.", "roformer.", "electra.", "ernie.", "distilbert.", "transformer.")
_WORDS = (r"(^|\.)embeddings\.word_embeddings\.weight$", r"(^|\.)wte\.weight$")
_POSITIONS = (r"embeddings\.position_embeddings\.weight$", r"(^|\.)wpe\.weight$", r"encoder\.embed_positions\.weight$")
_SEGMENTS = (r"embeddings\.token_type_embeddings\.weight$",)


@dataclass(frozen=True)
class Family:
    """What the names and shapes say. A size is None if no tensor reveals it."""

    kind: Kind
    evidence: str
    compatible: frozenset[Kind]  # kinds whose files have the same names and shapes
    words: str | None  # name of the token embedding, and so on
    positions: str | None
    segments: str | None
    has_head: bool  # the head that predicts tokens
    sizes: dict[str, int]  # config key (BERT's names) → what the shapes say

    @property
    def label(self) -> str:
        """Return the usual name of the family."""
        return label_of(self.kind)


def label_of(kind: Kind) -> str:
    """Return the usual name of a kind."""
    return _KINDS[kind].label


def recognise(shapes: Shapes, *, zero_position_row: bool = False) -> Family:
    """Recognise the family of the tensors of these names and shapes.

    `zero_position_row` says that row 1 of the position embedding is all zeros: RoBERTa's padding position.
    """
    kind, evidence = _kind(shapes, zero_position_row=zero_position_row)
    tables = _tables(shapes)
    words, positions, segments = (_find(tables, patterns) for patterns in (_WORDS, _POSITIONS, _SEGMENTS))
    head = _KINDS[kind].head
    return Family(
        kind=kind,
        evidence=evidence,
        compatible=_compatible(kind, shapes),
        words=words,
        positions=positions,
        segments=segments,
        has_head=bool(head) and _find(shapes, (head,)) is not None,
        sizes=_sizes(kind, shapes, words=words, positions=positions, segments=segments),
    )


def _kind(shapes: Shapes, *, zero_position_row: bool) -> tuple[Kind, str]:
    for kind, signs in _KINDS.items():
        if signs.mark and _find(shapes, (signs.mark,)):
            return kind, signs.evidence
    if any(name.endswith("attention.self.query.weight") for name in shapes):
        # RoFormerV2 (JunnYu/RoFormer_pytorch, use_bias=False, norm_type="rms_norm"): linear layers have no bias, and
        # its norm divides by the root mean square and has no parameters. BERT's and RoFormer's have both.
        biases = any(name.endswith("attention.self.query.bias") for name in shapes)
        norms = any(".LayerNorm." in name for name in shapes)
        if not biases and not norms:
            return "roformer_v2", "linear layers have no biases, norms have no parameters"
        if _find(shapes, (_ROFORMER,)):
            return "roformer", "names are RoFormer's, positions are rotary"
        return _bert_or_roberta(shapes, zero_position_row=zero_position_row)
    return "unknown", "no names of a family that is known here"


def _bert_or_roberta(shapes: Shapes, *, zero_position_row: bool) -> tuple[Kind, str]:
    """Weigh the signs: the layers of the two have the same names and shapes."""
    position, segment = (_find(_tables(shapes), patterns) for patterns in (_POSITIONS, _SEGMENTS))
    rows = shapes[position][0] if position else 0
    segments = shapes[segment][0] if segment else 0
    heads = any(name.startswith("cls.") for name in shapes)
    # RoBERTa counts positions from padding index + 1 = 2, so 512 tokens need 514 rows.
    bert = [
        (3, "names start with bert.", any(name.startswith("bert.") for name in shapes)),
        (3, "the head is cls.…", heads),
        (1, f"{rows} position rows", rows > 0 and _is_round(rows)),
        (1, f"{segments} segment rows", segments > 1),
    ]
    roberta = [
        (3, "names start with roberta.", any(name.startswith("roberta.") for name in shapes)),
        (3, "the head is lm_head.…", "lm_head.dense.weight" in shapes),
        (3, "position row 1 is zero, RoBERTa's padding", zero_position_row),
        (1, f"{rows} position rows", rows > 2 and _is_round(rows - 2)),
        (1, f"{segments} segment row", segments == 1),
    ]
    weights = {"bert": bert, "roberta": roberta}
    kind: Kind = "roberta" if _score(roberta) > _score(bert) else "bert"
    return kind, ", ".join(words for _, words, holds in weights[kind] if holds) or "layers are BERT's"


def _score(signs: list[tuple[int, str, bool]]) -> int:
    return sum(weight for weight, _, holds in signs if holds)


def _is_round(number: int) -> bool:
    return number % 64 == 0 or number & (number - 1) == 0


def _compatible(kind: Kind, shapes: Shapes) -> frozenset[Kind]:
    """Return the kinds that these names fit: without a prefix, BERT, ERNIE and ELECTRA look alike."""
    if kind == "bert" and not any(name.startswith(_PREFIXES) for name in shapes):
        head = any(name.startswith("cls.") for name in shapes)
        return frozenset({"bert", "ernie"} if head else {"bert", "ernie", "electra"})
    return frozenset({kind})


def _tables(shapes: Shapes) -> Shapes:
    """Return the tensors that are matrices; a damaged file may have an embedding of another kind."""
    return {name: shape for name, shape in shapes.items() if len(shape) == 2}


def _find(names: Iterable[str], patterns: tuple[str, ...]) -> str | None:
    return next((name for name in names for pattern in patterns if re.search(pattern, name)), None)


def _sizes(
    kind: Kind, shapes: Shapes, *, words: str | None, positions: str | None, segments: str | None
) -> dict[str, int]:
    """Return what the shapes say of the configuration, under BERT's names of its keys."""
    sizes: dict[str, int] = {}
    if words:
        sizes["vocab_size"], sizes["embedding_size"] = shapes[words]
    if positions:
        sizes["max_position_embeddings"] = shapes[positions][0]
    if segments:
        sizes["type_vocab_size"] = shapes[segments][0]
    numbers = [int(found[1]) for name in shapes if (found := re.search(r"(?:^|\.)(?:layer|h)\.(\d{1,3})\.", name))]
    if numbers and kind != "albert":
        sizes["num_hidden_layers"] = max(numbers) + 1
    up = _find(_tables(shapes), (r"\.intermediate\.dense\.weight$", r"\.albert_layers\.0\.ffn\.weight$"))
    if up:
        sizes["intermediate_size"], sizes["hidden_size"] = shapes[up]
    fused = _find(_tables(shapes), (r"\.mlp\.c_fc\.weight$",))
    if fused:  # GPT2's Conv1D keeps its matrix the other way round
        sizes["hidden_size"], sizes["intermediate_size"] = shapes[fused]
    return sizes
