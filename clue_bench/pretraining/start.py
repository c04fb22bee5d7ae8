"""Start a run from a checkpoint: check that they go together, load its weights, and say what was not taken as it is.

Input: a checkpoint, a recipe and the corpus's vocabulary. Output: the architecture, a model with the checkpoint's
weights, and `StartFacts`. The checkpoint decides what a recipe does not say (segments, rows that pad its embeddings);
heads that it lacks start new, heads that the objective does not train are left out. Both are counted.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn

from clue_bench.doors.checkpoint import Checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.numbers import counted
from clue_bench.vocab import Vocabulary
from clue_bench.weights.rows import with_rows

_DECIDED_BY_CHECKPOINT = ("vocab_size", "segment_types", "dropout")
_HEADS = {
    "the head for masked tokens": ("transform.", "transform_norm.", "bias", "decoder."),
    "the pooler and the head for sentence order": ("pooler.", "order."),
    "the head for labelled pairs": ("pair.",),
    "a head for classes": ("classifier.", "score."),
}


class StartFacts(NamedTuple):
    """What became of a checkpoint's parts: heads left out, heads that start new, rows of padding, tokens swapped."""

    left_out: dict[str, int]
    """Head → parameters."""
    new: dict[str, int]
    """Head → parameters."""
    padding_rows: int
    swapped: list[str]
    """Tokens of the corpus that stand where the checkpoint has [unused…]."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the facts as sentences."""
        return (
            *(f"left out, since this run does not train it: {_counted(each)}" for each in self.left_out.items()),
            *(f"not in the checkpoint, starts new: {_counted(each)}" for each in self.new.items()),
            *self._swapped_notes,
            *(
                (f"{counted(self.padding_rows, 'embedding row has', 'embedding rows have')} no token: padding, kept",)
                if self.padding_rows
                else ()
            ),
        )

    @property
    def _swapped_notes(self) -> list[str]:
        if not self.swapped:
            return []
        some = ", ".join(self.swapped[:5]) + (", …" if len(self.swapped) > 5 else "")
        return [
            f"{counted(len(self.swapped), 'token stands', 'tokens stand')} where the checkpoint has [unused…]: {some}; "
            "their rows start as the mean of their pieces' rows"
        ]


def start_config(planned: ModelConfig, start: Checkpoint, *, dropout: float) -> ModelConfig:
    """Return the checkpoint's architecture. Raises ClueBenchError if it is another one than `planned`, the recipe's."""
    theirs, ours = _comparable(start.config), _comparable(planned)
    differing = [f"{key} {theirs[key]} (the recipe's {value})" for key, value in ours.items() if value != theirs[key]]
    if differing:
        raise ClueBenchError(
            f"{start.folder}: not the recipe's architecture: {', '.join(differing)}",
            f"leave out the recipe: clue-bench pretrain --from {start.folder} takes the checkpoint's architecture",
        )
    return replace(start.config, dropout=dropout)


def check_vocabulary(start: Checkpoint, vocabulary: Vocabulary) -> None:
    """Raise ClueBenchError unless ids mean the same in the checkpoint and the corpus."""
    theirs = start.vocabulary
    build = f"run clue-bench corpus build … --vocab {start.folder} --out, with a new name for the corpus"
    if theirs.refusal:
        raise ClueBenchError(
            f"{start.folder}: its tokenizer cannot be followed: {theirs.refusal}", "give another model as --from"
        )
    if theirs.kind != vocabulary.kind:
        raise ClueBenchError(f"{start.folder}: a {theirs.kind} vocabulary, the corpus's is {vocabulary.kind}", build)
    if theirs.rules != vocabulary.rules:
        raise ClueBenchError(
            f"{start.folder}: its tokenizer {theirs.rules.text}; the corpus's {vocabulary.rules.text}",
            build,
        )
    swapped = swapped_tokens(start, vocabulary)
    differing = [n for n in theirs.differing(vocabulary) if n not in swapped]
    if not differing:
        return
    first = differing[0]
    if first == len(theirs):
        build = (
            f"run clue-bench vocab extend {start.folder} --token '{vocabulary.tokens[first]}' … --out EXTENDED, "
            "build the corpus with --vocab EXTENDED, and give --from EXTENDED"
        )
    there, here = (f"'{v.tokens[first]}'" if first < len(v) else "none" for v in (theirs, vocabulary))
    raise ClueBenchError(
        f"{start.folder}: its vocabulary ({len(theirs):,} tokens) and the corpus's ({len(vocabulary):,}) differ in "
        f"{counted(len(differing), 'token')}, first id {first}: {there} there, {here} in the corpus",
        build,
    )


def swapped_tokens(start: Checkpoint, vocabulary: Vocabulary) -> dict[int, list[int]]:
    """Return the tokens of the corpus that stand where the checkpoint has [unused…], id → ids of their pieces there."""
    theirs = start.vocabulary
    common = min(len(theirs), len(vocabulary))
    ids = [n for n in theirs.differing(vocabulary) if n < common and theirs.tokens[n].startswith("[unused")]
    if not ids:
        return {}
    pieces = theirs.encoder(special_tokens=False).ids([vocabulary.tokens[n].removeprefix("##") for n in ids])
    return {n: [piece for piece in found if piece != theirs.unknown] for n, found in zip(ids, pieces, strict=True)}


def load_start(model: nn.Module, start: Checkpoint, vocabulary: Vocabulary) -> None:
    """Load the checkpoint's weights; heads that it lacks keep their new ones, swapped tokens start from their pieces.

    Raises ClueBenchError if anything else is missing, or a shape differs.
    """
    wanted: dict[str, Tensor] = model.state_dict()
    for name, tensor in start.tensors.items():
        if name in wanted and tensor.shape != wanted[name].shape:
            raise ClueBenchError(
                f"{start.folder}: {name} has shape {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}",
                f"run clue-bench doctor --model {start.folder}, which compares weights and config.json",
            )
    missing = [name for name in wanted if name not in start.tensors]
    heads = [head for head in _HEADS.values() if not any(name.startswith(head) for name in start.tensors)]
    broken = [name for name in missing if not any(name.startswith(head) for head in heads)]
    if broken:
        raise ClueBenchError(
            f"{start.folder}: {counted(len(broken), 'parameter is', 'parameters are')} missing, e.g. {broken[0]}",
            f"run clue-bench doctor --model {start.folder}, which compares weights and config.json",
        )
    tensors = with_rows(start.tensors, swapped_tokens(start, vocabulary), size=0)
    model.load_state_dict({**wanted, **{n: t for n, t in tensors.items() if n in wanted}})


def start_facts(model: nn.Module, start: Checkpoint, vocabulary: Vocabulary) -> StartFacts:
    """Return what `load_start` left out, and what it found nothing for."""
    wanted: dict[str, Tensor] = model.state_dict()
    return StartFacts(
        left_out=_by_head((name, tensor) for name, tensor in start.tensors.items() if name not in wanted),
        new=_by_head((name, tensor) for name, tensor in wanted.items() if name not in start.tensors),
        padding_rows=start.config.vocab_size - len(start.vocabulary),
        swapped=[vocabulary.tokens[n] for n in swapped_tokens(start, vocabulary)],
    )


def freeze(model: nn.Module, layers: int) -> int:
    """Keep the embeddings and the first `layers` layers as they are; return how many parameters that is.

    Raises ClueBenchError if the model has no more layers than that.
    """
    found = {int(name.split("layers.")[1].split(".")[0]) for name, _ in model.named_parameters() if "layers." in name}
    if not 0 <= layers < max(len(found), 1):
        what = "one layer of its own, applied again and again" if len(found) == 1 else f"{len(found)} layers"
        raise ClueBenchError(
            f"--freeze {layers}: the model has {what}", f"give a number from 0 (the embeddings) to {len(found) - 1}"
        )
    kept = ("encoder.embeddings.", "word.", "position.", *(f"layers.{n}." for n in range(layers)))
    frozen = 0
    for name, parameter in model.named_parameters():
        if name.startswith(kept) or name.removeprefix("encoder.").startswith(kept):
            parameter.requires_grad_(False)
            frozen += parameter.numel()
    return frozen


def tokens_before(start: Checkpoint | None) -> int | None:
    """Return on how many tokens the checkpoint was trained before: 0 without one, None if nobody says."""
    if start is None:
        return 0
    tokens = start.provenance.get("tokens_seen")
    return tokens if isinstance(tokens, int) else None


def _comparable(config: ModelConfig) -> dict[str, object]:
    """Return what two architectures must have in common; no width of the embeddings means the layers' width."""
    values = {**vars(config), "embedding_size": config.embedding_width}
    return {key: value for key, value in values.items() if key not in _DECIDED_BY_CHECKPOINT}


def _by_head(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, tensor in tensors:
        what = next((head for head, starts in _HEADS.items() if name.startswith(starts)), name)
        counts[what] = counts.get(what, 0) + tensor.numel()
    return counts


def _counted(head: tuple[str, int]) -> str:
    return f"{head[0]} ({head[1]:,} parameters)"
