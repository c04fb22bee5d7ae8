"""Task rows as token ids, and batches of them.

Input: rows, and a tokeniser: an encoder of texts, and the layout of special tokens around them. Output: flat token ids
with offsets, and padded tensors of rows of similar length.

Most rows are one sequence of tokens. A question with choices is one for each of them, passage, question and choice,
and they stay together in whatever batch it is. A question on a passage is one for each window of it (`windows`), and
each of these is a row of its own. Of texts with entities, every token has a label (`tags`).

Training: each epoch is a permutation of all rows; within pools of POOL_BATCHES batches rows are sorted by length, cut
into batches, and the batches are permuted. Prediction: rows sorted by length, batches of about equal token counts.

Legend: B sequences, S positions (of the longest one in the batch), Q questions, N choices.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clue_bench.doors.results import ReadTexts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.blanks import BLANK, Lines, windows_of
from clue_bench.finetuning.tags import NO_TAG, Scheme, Tagged, scheme_of, tag_rows
from clue_bench.finetuning.windows import Place, Windows, cut, placed_by
from clue_bench.tasks.answers import NOWHERE
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import Task
from clue_bench.training.counter_rng import Int64s, derive, permuted
from clue_bench.training.hardware import on_device
from clue_bench.vocab import Vocabulary

ROWS_PER_CALL = 4096  # bounds the Rust tokenizer's results, which are larger than the texts
POOL_BATCHES = 64  # wide enough that hardly any padding is left, narrow enough that epochs differ
NOTHING = -1e4  # logit of what is not there
TEXT = -1
"""The place of a text in a template."""

Int32s = npt.NDArray[np.int32]
Int8s = npt.NDArray[np.int8]

Template = tuple[tuple[int, int], ...]
"""Token ids, or TEXT for a text, and their segments, in the order of a row."""


class Layout(NamedTuple):
    """Templates for rows of one text and of two, and the id that pads rows to the longest of a batch."""

    single: Template
    pair: Template
    pad: int

    def template(self, num_texts: int) -> Template:
        """Return the template of a row; a third text follows the second one as that does the first, in its segment."""
        if num_texts < 3:
            return self.single if num_texts == 1 else self.pair
        first, second = (place for place, (token, _) in enumerate(self.pair) if token == TEXT)
        between = [(token, self.pair[second][1]) for token, _ in self.pair[first + 1 : second]]
        return (*self.pair[: second + 1], *between, *self.pair[second:])


class IdEncoder(Protocol):
    """Turns texts into ids, without special tokens."""

    def ids(self, texts: list[str]) -> list[list[int]]: ...  # noqa: D102


class Tokeniser(NamedTuple):
    """Turns rows into ids. `place` says where the tokens of a text stand, which spans of passages need.

    `blank` is the token that stands for a blank, BLANK where the vocabulary has it; without, [MASK] does. `unknown` is
    the one for everything that the vocabulary lacks; byte-level vocabularies lack nothing, and have none.
    """

    encoder: IdEncoder
    layout: Layout
    place: Place | None = None
    blank: int | None = None
    unknown: int | None = None


@dataclass(frozen=True)
class Encoded:
    """Token ids of a split. Sequence i is `ids[offsets[i]:offsets[i+1]]`; `segments` has the same shape.

    Sequence i is row i, unless rows have choices: then row i is sequences `firsts[i]` to `firsts[i+1]`. With `windows`,
    each of them is a row, and its labels (rows, 2) are the places of its answer's first and last token. With `tagged`,
    labels are those of its tokens, `tagged.tags`. `token_counts` has for each sequence the tokens of its texts, and how
    many of them are unknown.
    """

    ids: npt.NDArray[np.int32]
    segments: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]  # (rows,)
    firsts: npt.NDArray[np.int64] | None = None
    windows: Windows | None = None
    lines: Lines | None = None
    tagged: Tagged | None = None
    token_counts: npt.NDArray[np.int64] | None = None  # (sequences, 2)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_rows(self) -> int:
        """Return the number of rows of the data: of questions, not of their windows."""
        return len(self) if self.windows is None else len(self.windows.rows)

    @property
    def scores_tokens(self) -> bool:
        """Return whether a model scores every token, not whole sequences."""
        return self.windows is not None or self.tagged is not None

    @property
    def truncated_rows(self) -> int:
        """Return the number of rows of the data that were cut: of questions, not of their windows."""
        return int(self._of_data(self.truncated).sum())

    @property
    def read(self) -> ReadTexts:
        """Return what a model reads of the rows, in numbers."""
        assert self.token_counts is not None
        tokens, unknown = self.token_counts.sum(axis=0).tolist()
        has_unknown = self.token_counts[:, 1] > 0
        if self.firsts is not None:
            has_unknown = np.logical_or.reduceat(has_unknown, self.firsts[:-1])
        return ReadTexts(
            rows=self.num_rows,
            truncated_rows=self.truncated_rows,
            tokens=tokens,
            unknown_tokens=unknown,
            unknown_rows=int(self._of_data(has_unknown).sum()),
        )

    def _of_data(self, found: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return of every row of the data whether `found` says so of one of its rows here, which may be windows."""
        if self.windows is None:
            return found
        of_data = np.zeros(self.num_rows, dtype=np.bool_)
        np.logical_or.at(of_data, self.windows.row_W, found)
        return of_data

    @cached_property  # needed for every batch
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens of each row, of its longest sequence."""
        lengths = np.diff(self.offsets)
        return lengths if self.firsts is None else np.maximum.reduceat(lengths, self.firsts[:-1])

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """Return the number of positions that each row takes in a batch of its own."""
        return self.lengths if self.firsts is None else self.lengths * np.diff(self.firsts)

    @property
    def num_choices(self) -> int:
        """Return the most choices of a row, 0 if rows have none."""
        return 0 if self.firsts is None else int(np.diff(self.firsts).max())


def bert_layout(vocabulary: Vocabulary, *, has_segments: bool) -> Layout:
    """Return [CLS] a [SEP] and [CLS] a [SEP] b [SEP]; what follows the first [SEP] is segment 1 if `has_segments`."""
    start, separator, second = vocabulary.start, vocabulary.separator, int(has_segments)
    single = ((start, 0), (TEXT, 0), (separator, 0))
    return Layout(single, (*single, (TEXT, second), (separator, second)), vocabulary.pad)


def bert_tokeniser(vocabulary: Vocabulary, *, has_segments: bool = True) -> Tokeniser:
    """Return the tokeniser of native models. "[MASK]" written in a text is the token, as in `transformers`."""
    return Tokeniser(
        vocabulary.encoder(special_tokens=True),
        bert_layout(vocabulary, has_segments=has_segments),
        placed_by(vocabulary.encoder(special_tokens=False)),
        vocabulary.ids.get(BLANK),
        vocabulary.unknown,
    )


def encode_windows(rows: Rows, tokeniser: Tokeniser, *, max_length: int, task: Task) -> Encoded:
    """Tokenise questions on passages; a window without the answer has [CLS] for it, the first token.

    Raises ClueBenchError for a tokeniser that does not say where its tokens stand.
    """
    if tokeniser.place is None:
        raise ClueBenchError(
            f"{task.name}: this model's tokenizer does not say where its tokens stand",
            "give a model with tokenizer.json",
        )
    template = tokeniser.layout.pair
    found = cut(rows, tokeniser.place, room=max_length - (len(template) - 2), task=task)
    second = max(place for place, (token, _) in enumerate(template) if token == TEXT)
    at_W = np.array([second - 1 + len(question) for question, _ in found.texts], dtype=np.int64)
    labels_W2 = np.where(found.labels_W2 == NOWHERE, 0, found.labels_W2 + at_W[:, None])
    flat, token_counts = _flat(found.texts, tokeniser)
    windows = replace(found.windows, at_W=at_W)
    return Encoded(*flat, labels_W2, found.shortened, windows=windows, token_counts=token_counts)


def encode_blanks(rows: Rows, tokeniser: Tokeniser, *, max_length: int, task: Task) -> Encoded:
    """Tokenise blanks with their candidates. Raises ClueBenchError if there is no room for text."""
    pair = tuple((token, 0) for token, _ in tokeniser.layout.pair)
    room = max_length - (len(pair) - 2)
    (mark,) = tokeniser.encoder.ids(["[MASK]"]) if tokeniser.blank is None else ([tokeniser.blank],)
    if room < len(mark) + 2:
        raise ClueBenchError(f"max_length {max_length} has no room for text", "give --set max_length=16 or more")
    texts: list[list[list[int]]] = []
    counts: list[int] = []
    cut_rows: list[bool] = []
    for tokens in _tokenised(rows.texts, tokeniser.encoder):
        found = list(windows_of(tokens, mark, room=room))
        texts += found
        counts.append(len(found))
        cut_rows.append(any(len(tokens[0]) + len(tokens[1]) + len(mark) > len(window) for _, window in found))
    flat, token_counts = _flat(texts, tokeniser._replace(layout=tokeniser.layout._replace(pair=pair)))
    firsts = np.concatenate([[0], np.cumsum(counts)])
    lines = Lines(rows.passages, task.assignment)
    shortened = np.array(cut_rows, dtype=np.bool_)
    return Encoded(*flat, rows.labels, shortened, firsts, lines=lines, token_counts=token_counts)


def encode_tags(rows: Rows, tokeniser: Tokeniser, *, max_length: int, scheme: Scheme) -> Encoded:
    """Tokenise texts whose tokens have tags; what is longer than `max_length` tokens loses its end.

    Raises ClueBenchError for a tokeniser that does not say where its tokens stand.
    """
    if tokeniser.place is None:
        raise ClueBenchError(
            "this model's tokenizer does not say where its tokens stand", "give a model with tokenizer.json"
        )
    template = tokeniser.layout.single
    at = next(place for place, (token, _) in enumerate(template) if token == TEXT)
    found = tag_rows(rows, tokeniser.place, room=max_length - (len(template) - 1), scheme=scheme)
    flat, token_counts = _flat(found.texts, tokeniser)
    offsets = flat[2]
    if not (np.diff(offsets) > 0).all():
        raise ClueBenchError(
            f"row {int(np.diff(offsets).argmin())}: no tokens: the text is empty to this model's tokenizer",
            "leave the row out",
        )
    tags = np.full(int(offsets[-1]), NO_TAG, dtype=np.int64)
    for begin, of_row in zip(offsets.tolist(), found.tags, strict=False):
        tags[begin + at : begin + at + len(of_row)] = of_row
    sizes = np.array([len(each) for each in found.tags], dtype=np.int64)
    tagged = Tagged(rows, scheme, at, sizes, found.starts, tags, found.lost)
    return Encoded(*flat, rows.labels, found.shortened, tagged=tagged, token_counts=token_counts)


def _flat(
    texts: Iterable[list[list[int]]], tokeniser: Tokeniser
) -> tuple[tuple[Int32s, Int8s, Int64s], npt.NDArray[np.int64]]:
    """Return ids, segments and offsets of sequences that are given as the tokens of their texts; and `token_counts`."""
    sequences: list[list[int]] = []
    run_lengths: list[int] = []
    run_segments: list[int] = []
    counts: list[tuple[int, int]] = []
    layout, unknown = tokeniser.layout, tokeniser.unknown
    for tokens in texts:
        parts = iter(tokens)
        sequence: list[int] = []
        for token, segment in layout.template(len(tokens)):
            part = next(parts) if token == TEXT else [token]
            sequence += part
            run_lengths.append(len(part))
            run_segments.append(segment)
        sequences.append(sequence)
        num_unknown = 0 if unknown is None else sum(part.count(unknown) for part in tokens)
        counts.append((sum(map(len, tokens)), num_unknown))
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in sequences], dtype=np.int64)])
    flat = np.fromiter(chain.from_iterable(sequences), dtype=np.int32, count=int(offsets[-1]))
    segments = np.repeat(np.array(run_segments, dtype=np.int8), run_lengths)
    return (flat, segments, offsets), np.array(counts, dtype=np.int64).reshape(-1, 2)


def encode(rows: Rows, tokeniser: Tokeniser | Vocabulary, *, max_length: int) -> Encoded:
    """Tokenise rows; those of more than `max_length` tokens lose the end of the longer text, never special tokens.

    A vocabulary stands for the tokeniser of native models with two segments. The result equals that of `transformers`
    with truncation="longest_first". Raises ClueBenchError if the special tokens alone are too many, or naming a row
    without any token: a network would read its answer off padding.
    """
    if isinstance(tokeniser, Vocabulary):
        tokeniser = bert_tokeniser(tokeniser)
    truncated: list[bool] = []
    counts: list[int] = []

    def kept() -> Iterator[list[list[int]]]:
        for tokens in _sequences(_tokenised(rows.texts, tokeniser.encoder), rows.choices_from, counts):
            num_special = len(tokeniser.layout.template(len(tokens))) - len(tokens)
            budget = max_length - num_special
            if budget < 0:
                needed = num_special + len(tokens)
                raise ClueBenchError(
                    f"max_length {max_length} has no room for text", f"give --set max_length={needed} or more"
                )
            lengths = _longest_first([len(part) for part in tokens], budget)
            truncated.append(sum(lengths) < sum(map(len, tokens)))
            if not num_special + sum(lengths):
                raise ClueBenchError(
                    f"row {len(counts) - 1}: no tokens: the text is empty to this model's tokenizer",
                    "leave the row out",
                )
            yield [part[:length] for part, length in zip(tokens, lengths, strict=True)]

    flat, token_counts = _flat(kept(), tokeniser)
    firsts = np.concatenate([[0], np.cumsum(counts)]) if rows.choices_from else None
    cut_rows = np.array(truncated, dtype=np.bool_)
    cut_rows = cut_rows if firsts is None else np.logical_or.reduceat(cut_rows, firsts[:-1])
    return Encoded(*flat, rows.labels, cut_rows, firsts, token_counts=token_counts)


class Encodings:
    """Splits as token ids, each tokenised once per length, so that the runs of a sweep share them."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, Layout, int], tuple[Rows, IdEncoder, Encoded]] = {}

    def encode(self, rows: Rows, tokeniser: Tokeniser, *, max_length: int, task: Task) -> Encoded:
        """Return the result of the function `encode`, or `encode_windows` for spans, computed once."""
        key = (id(rows), id(tokeniser.encoder), tokeniser.layout, max_length)
        if key not in self._found:
            encoded = encode_task(rows, tokeniser, max_length=max_length, task=task)
            # Rows and encoder are kept with the result, so that no other object gets their ids.
            self._found[key] = (rows, tokeniser.encoder, encoded)
        return self._found[key][2]


def encode_task(rows: Rows, tokeniser: Tokeniser, *, max_length: int, task: Task) -> Encoded:
    """Tokenise rows as the kind of their task wants it. Raises ClueBenchError."""
    if task.kind == "span":
        return encode_windows(rows, tokeniser, max_length=max_length, task=task)
    if task.kind == "tags":
        return encode_tags(rows, tokeniser, max_length=max_length, scheme=scheme_of(task.outputs, task.name))
    if task.kind == "cloze":
        return encode_blanks(rows, tokeniser, max_length=max_length, task=task)
    return encode(rows, tokeniser, max_length=max_length)


class TaskBatch(NamedTuple):
    """One padded batch. `rows_B` are the sequences' numbers in the split; `keep_BS` is None where nothing is padded.

    Of rows with choices, `labels_B` has one for each question, and `choices_QN` its sequences in the batch, -1 where
    it has fewer choices than others. Of windows, it has two for each, one after the other. Of tagged texts, one for
    each of the tokens `tokens_T`, counted over the sequences of the batch.
    """

    rows_B: Tensor
    ids_BS: Tensor
    segments_BS: Tensor
    keep_BS: Tensor | None
    labels_B: Tensor
    choices_QN: Tensor | None = None
    tokens_T: Tensor | None = None


def training_batches(lengths: Int64s, *, batch_size: int, seed: int, epoch: int) -> list[Int64s]:
    """Return the row numbers of each batch of an epoch; every row occurs once."""
    order = permuted(np.arange(len(lengths)), size=len(lengths), key=derive(seed, "order", epoch))
    pool = batch_size * POOL_BATCHES
    batches: list[Int64s] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    return [
        batches[at] for at in permuted(np.arange(len(batches)), size=len(batches), key=derive(seed, "batches", epoch))
    ]


def prediction_batches(lengths: Int64s, *, tokens: int) -> Iterator[Int64s]:
    """Yield row numbers, longest rows first, with at most `tokens` positions a batch (but at least one row)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def collate(split: Encoded, rows: Int64s, *, pad: int, device: torch.device, width: int | None = None) -> TaskBatch:
    """Return `rows` of `split` as tensors padded to the longest of them, or to `width` positions.

    With a width there is always a `keep_BS`, so that batches of one width differ only in their values.
    """
    labels_B, choices_QN = split.labels[rows].reshape(-1), None
    if split.firsts is not None:
        numbers_QN = split.firsts[rows][:, None] + np.arange(split.num_choices)
        there_QN = numbers_QN < split.firsts[rows + 1][:, None]
        choices_QN = np.where(there_QN, there_QN.cumsum().reshape(there_QN.shape) - 1, -1)
        rows = numbers_QN[there_QN]
    lengths_B = split.offsets[rows + 1] - split.offsets[rows]
    columns_S = np.arange(width or lengths_B.max())
    keep_BS = columns_S[None, :] < lengths_B[:, None]
    at_BS = np.where(keep_BS, split.offsets[rows][:, None] + columns_S, 0)

    tokens_T = None
    if split.tagged is not None:
        tags_BS = np.where(keep_BS, split.tagged.tags[at_BS], NO_TAG)
        tokens_T = np.flatnonzero(tags_BS != NO_TAG)
        labels_B = tags_BS.reshape(-1)[tokens_T]

    def tensor(values: npt.NDArray[np.generic], fill: int) -> Tensor:
        return on_device(np.where(keep_BS, values[at_BS], fill).astype(np.int64), device)

    return TaskBatch(
        rows_B=on_device(rows, device),
        ids_BS=tensor(split.ids, pad),
        segments_BS=tensor(split.segments, 0),
        keep_BS=None if keep_BS.all() and width is None else on_device(keep_BS, device),
        labels_B=on_device(labels_B, device),
        choices_QN=None if choices_QN is None else on_device(choices_QN, device),
        tokens_T=None if tokens_T is None else on_device(tokens_T, device),
    )


def scores_of_rows(logits: Tensor, batch: TaskBatch) -> Tensor:
    """Return what a softmax over the last axis is taken of, one line for each label of the batch.

    That is the logits (B, C) themselves; (Q, N) of questions whose choices have one logit each; and (2 B, S) of windows
    whose tokens have two, (B, S, 2). What is not there, a choice or a token, gets one that no softmax sees. Of tagged
    texts, (B, S, C), they are those of the tokens that have a tag.
    """
    if batch.tokens_T is not None:
        return logits.flatten(0, 1)[batch.tokens_T]
    if logits.dim() == 3:
        if batch.keep_BS is not None:
            logits = logits.float().masked_fill(~batch.keep_BS[:, :, None], NOTHING)
        return logits.transpose(1, 2).flatten(0, 1)
    if batch.choices_QN is None:
        return logits
    logits_QN = logits[:, 0].float()[batch.choices_QN.clamp(min=0)]
    return logits_QN.masked_fill(batch.choices_QN < 0, NOTHING)


def _tokenised(texts: list[tuple[str, ...]], encoder: IdEncoder) -> Iterator[list[list[int]]]:
    """Yield the ids of each row's texts, not truncated by the tokenizer, which would keep every piece it cuts off."""
    for start in range(0, len(texts), ROWS_PER_CALL):
        batch = texts[start : start + ROWS_PER_CALL]
        ids = iter(encoder.ids(list(chain.from_iterable(batch))))
        for row in batch:
            yield [next(ids) for _ in row]


def _sequences(tokenised: Iterator[list[list[int]]], choices_from: int, counts: list[int]) -> Iterator[list[list[int]]]:
    """Yield the texts of each sequence, one for each choice of a row; append the number of each row's to `counts`."""
    for texts in tokenised:
        choices = [[choice] for choice in texts[choices_from:]] if choices_from else [texts]
        counts.append(len(choices))
        yield from ([*texts[:choices_from], *choice] for choice in choices)


def _longest_first(lengths: list[int], budget: int) -> list[int]:
    """Return how many tokens of each text to keep within `budget`, taking from the longest one first.

    What cannot be divided evenly is the longest one's, as in `transformers`; of equally long ones, the last one's.
    """
    kept = list(lengths)
    shortest_first = sorted(range(len(lengths)), key=lengths.__getitem__)
    for place, number in enumerate(shortest_first):
        kept[number] = min(lengths[number], budget // (len(lengths) - place))
        budget -= kept[number]
    return kept
