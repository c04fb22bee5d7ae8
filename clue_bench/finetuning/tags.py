"""The entities of a text as tags of its tokens, and the entities that a model's scores of tags make.

Input: rows of one text with entities, and what places a tokeniser's tokens. Output: a tag for every token that is read;
from the scores of the tags, the entities of each text with their places and probabilities.

1. The outputs of a model are O, and B-type and I-type of every type: an entity's first token, and its others. With
   these, neighbouring entities of one type stay apart, and most published checkpoints have them; E and S would tell
   nothing more, and be twice as many outputs to learn.
2. Of entities that overlap, tags hold the longest. A text that does not fit into max_length is cut, and with it what
   stands behind: scores count it as missed, since they look at texts and not at tokens. An entity that begins or ends
   inside a token is taught as whole tokens, and can never be found. All three are counted.
3. The best tags of a text are the most probable ones of those that are possible: I-type follows B-type or I-type of its
   own type only (Viterbi; `tests/finetuning/test_tags.py` compares with all sequences). A text's probability is the
   product of its tags', an entity's that of its tokens' tags.

Legend: R rows, L tokens of the longest text, C tags, K types.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.windows import Place, text_of, tokens_of
from clue_bench.tasks.answers import Answer
from clue_bench.tasks.entities import Entity, without_overlaps
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import OUTSIDE

ROWS_AT_ONCE = 512  # bounds the memory of decoding
NO_TAG = -1  # of special tokens, and where entities are not known

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Scheme(NamedTuple):
    """Which output is which tag: outputs (K,) that begin an entity of each type and that go on with it."""

    outside: int
    begin_K: Int64s
    inside_K: Int64s
    labels: tuple[str, ...]


def scheme_of(outputs: Sequence[str], where: Path | str) -> Scheme:
    """Return the scheme of a model's outputs, in any order. Raises ClueBenchError unless they are O, B- and I-."""
    number = {name: place for place, name in enumerate(outputs)}
    labels = tuple(name[2:] for name in outputs if name.startswith("B-"))
    if {OUTSIDE, *(f"{place}-{label}" for label in labels for place in "BI")} != number.keys() or not labels:
        raise ClueBenchError(
            f"{where}: its outputs are {', '.join(outputs)[:80]}, expected O, and B-type and I-type of each type",
            "give a model that finetune made of a task of tags",
        )
    begin, inside = ([number[f"{place}-{label}"] for label in labels] for place in "BI")
    return Scheme(number[OUTSIDE], np.array(begin), np.array(inside), labels)


class FoundEntity(NamedTuple):
    """An entity, its text, and its probability."""

    entity: Entity
    text: str
    probability: float


class FoundTags(NamedTuple):
    """The entities of a text, in its order, and the probability of its tags together."""

    entities: tuple[FoundEntity, ...]
    probability: float


class Lost(NamedTuple):
    """How many entities no tags hold: those behind a cut, inside of tokens, and in the token of another one."""

    cut: int
    inside: int
    shared: int


@dataclass(frozen=True)
class Tagged:
    """The tokens of rows. A row's first one stands at `at` in its sequence; `starts` are of all, read or cut off."""

    rows: Rows
    scheme: Scheme
    at: int
    size_R: Int64s  # tokens that are read
    starts: list[Int64s]
    tags: Int64s  # of every token of every sequence, NO_TAG of special ones
    lost: Lost

    def found(self, logits: npt.NDArray[np.float32], offsets: Int64s) -> list[FoundTags]:
        """Return the entities of every row; sequence r is `logits[offsets[r]:]`."""
        order = np.argsort(-self.size_R, kind="stable")
        of_row: dict[int, FoundTags] = {}
        for start in range(0, len(order), ROWS_AT_ONCE):
            rows = order[start : start + ROWS_AT_ONCE]
            sizes = self.size_R[rows]
            shares = np.zeros((len(rows), int(sizes[0]), logits.shape[1]))
            for place, (row, size) in enumerate(zip(rows.tolist(), sizes.tolist(), strict=True)):
                begin = int(offsets[row]) + self.at
                shares[place, :size] = log_softmax(logits[begin : begin + size])
            tags = best_tags(shares, sizes, self.scheme)
            for place, (row, size) in enumerate(zip(rows.tolist(), sizes.tolist(), strict=True)):
                of_row[row] = self._read(row, tags[place, :size], shares[place, :size])
        return [of_row[row] for row in range(len(self.rows))]

    def _read(self, row: int, tags: Int64s, shares: Floats) -> FoundTags:
        text, starts = self.rows.texts[row][0], self.starts[row]
        chosen = shares[np.arange(len(tags)), tags]
        entities: dict[Entity, FoundEntity] = {}  # tokens that share a character may name one twice
        for label, first, last in runs_of(tags, self.scheme):
            words, begin = text_of(text, starts, first, last)
            if words:
                entity = Entity(begin, begin + len(words) - 1, label)
                share = round(float(np.exp(chosen[first : last + 1].sum())), 6)
                entities.setdefault(entity, FoundEntity(entity, words, share))
        return FoundTags(tuple(entities[each] for each in sorted(entities)), round(float(np.exp(chosen.sum())), 6))


def runs_of(tags: Int64s, scheme: Scheme) -> Iterator[tuple[str, int, int]]:
    """Yield type, first and last token of every entity of possible tags."""
    begins = {int(tag): place for place, tag in enumerate(scheme.begin_K)}
    values = tags.tolist()
    for first, tag in enumerate(values):
        if tag in begins:
            last = first
            while last + 1 < len(values) and values[last + 1] == scheme.inside_K[begins[tag]]:
                last += 1
            yield scheme.labels[begins[tag]], first, last


def log_softmax(logits: npt.NDArray[np.float32]) -> Floats:
    """Return log-probabilities (…, C)."""
    values = logits.astype(np.float64)
    shares: Floats = values - np.logaddexp.reduce(values, axis=-1, keepdims=True)
    return shares


def best_tags(shares: Floats, sizes: Int64s, scheme: Scheme) -> Int64s:
    """Return the possible tags (R, L) with the largest sum of `shares` (R, L, C); rows are given longest first.

    Behind the size of a row (R,) its tags say nothing. Every tag may follow every other one, but I-type only B-type and
    I-type of its own type; so of each step one best tag before it is kept, and for every type which of the two.
    """
    rows, length, _ = shares.shape
    tags = np.full((rows, length), scheme.outside, dtype=np.int64)
    if not length:
        return tags
    score = shares[:, 0].copy()
    score[:, scheme.inside_K] = -np.inf
    best_before = np.zeros((rows, length), dtype=np.int64)
    begins_before = np.zeros((rows, length, len(scheme.labels)), dtype=np.bool_)
    for step in range(1, length):
        active = int(np.searchsorted(-sizes, -step, side="left"))  # rows with a token here
        before = score[:active]
        best_before[:active, step] = before.argmax(axis=1)
        begun, gone_on = before[:, scheme.begin_K], before[:, scheme.inside_K]
        begins_before[:active, step] = begun >= gone_on
        after = shares[:active, step] + before.max(axis=1)[:, None]
        after[:, scheme.inside_K] = shares[:active, step][:, scheme.inside_K] + np.maximum(begun, gone_on)
        score[:active] = after
    begin_of = {int(inside): place for place, inside in enumerate(scheme.inside_K)}
    for row, size in enumerate(sizes.tolist()):
        tag = int(score[row].argmax())
        for step in range(size - 1, -1, -1):
            tags[row, step] = tag
            if tag in begin_of:
                kind = begin_of[tag]
                tag = int((scheme.begin_K if begins_before[row, step, kind] else scheme.inside_K)[kind])
            else:
                tag = int(best_before[row, step])
    return tags


def log_loss(logits: npt.NDArray[np.float32], tags: Int64s) -> float:
    """Return the mean negative log-probability (nats) of the tokens' tags. Raises ClueBenchError without any."""
    known = np.flatnonzero(tags != NO_TAG)
    if not len(known):
        raise ClueBenchError("no tokens to score", "give texts that are not empty")
    return float(-log_softmax(logits[known])[np.arange(len(known)), tags[known]].mean())


class Placed(NamedTuple):
    """Texts as token ids that fit, where the tokens stand, their tags, and which texts were cut."""

    texts: list[list[list[int]]]
    starts: list[Int64s]
    tags: list[Int64s]
    shortened: npt.NDArray[np.bool_]
    lost: Lost


def tag_rows(rows: Rows, place: Place, *, room: int, scheme: Scheme) -> Placed:
    """Return texts of at most `room` tokens, tagged by their entities. Raises ClueBenchError: no room."""
    if room < 1:
        raise ClueBenchError("max_length has no room for text", "give --set max_length=16 or more")
    texts: list[list[list[int]]] = []
    all_starts: list[Int64s] = []
    all_tags: list[Int64s] = []
    shortened: list[bool] = []
    cut = inside = shared = 0
    number = {label: place for place, label in enumerate(scheme.labels)}
    for (text,), entities in zip(rows.texts, rows.entities or ((),) * len(rows), strict=True):
        ids, starts = place(text)
        size = min(len(ids), room)
        tags = np.full(size, scheme.outside, dtype=np.int64)
        for entity in without_overlaps(entities) if len(ids) else ():
            words = text[entity.first : entity.last + 1]
            first, last = tokens_of(Answer(words, entity.first), starts)
            if last >= size:
                cut += 1
            elif (tags[first : last + 1] != scheme.outside).any():
                shared += 1
            else:
                inside += text_of(text, starts, first, last) != (words, entity.first)
                tags[first : last + 1] = scheme.inside_K[number[entity.label]]
                tags[first] = scheme.begin_K[number[entity.label]]
        texts.append([ids[:size].tolist()])
        all_starts.append(starts)
        all_tags.append(tags)
        shortened.append(size < len(ids))
    return Placed(texts, all_starts, all_tags, np.array(shortened, dtype=np.bool_), Lost(cut, inside, shared))
