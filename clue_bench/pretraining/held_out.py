"""Choose what is held out of a corpus, and which of it training has seen all the same.

Input: a corpus and a share. Output: documents to train on and documents that are held out; and, of the latter, the
spans that also stand in the former: whole documents, and sentences of at least LEAST_TOKENS tokens. Rows that touch
such a span are not evaluated: a model may know them by heart. Shorter sentences ("谢谢大家！") are language, not text.

Shapes: N sentences or documents of a shard.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clue_bench.doors.shards import Corpus, Ids
from clue_bench.training.counter_rng import Int64s

Bools = npt.NDArray[np.bool_]
Offsets = Int64s

MAX_HELD_OUT = 4.0
"""Whole documents are held out up to this multiple of the requested share."""

LEAST_TOKENS = 10
"""A shorter sentence may stand in both parts."""

_PROBES = 6  # tokens of a span that are looked at before all of them are


def hold_out(corpus: Corpus, *, share: float) -> tuple[tuple[Int64s, ...], tuple[Int64s, ...]]:
    """Return the documents to train on and the held-out ones, as each shard's offsets with the end included.

    The last documents of every shard, with at least `share` of its tokens, are held out; if these were more than
    MAX_HELD_OUT times the share, or the whole shard (few, long documents), the last sentences are held out instead.
    """
    train, held_out = [], []
    for offsets, sentences in zip(corpus.documents, corpus.sentences, strict=True):
        end = int(offsets[-1])
        wanted = end - share * end
        at = int(offsets[np.searchsorted(offsets, wanted, side="right") - 1]) if share else end
        if at == 0 or end - at > MAX_HELD_OUT * share * end:
            at = int(sentences[np.searchsorted(sentences, wanted)])
        train.append(np.append(offsets[offsets < at], at))
        held_out.append(np.insert(offsets[offsets > at], 0, at))
    return tuple(train), tuple(held_out)


def trained_spans(
    corpus: Corpus, train: Sequence[Offsets], held_out: Sequence[Offsets]
) -> tuple[tuple[Int64s, Int64s], ...]:
    """Return for each shard begins and ends of the held-out spans, in tokens, that training has, too."""
    found: list[list[tuple[Int64s, Int64s]]] = [[] for _ in held_out]
    inside = [_within(sentences, part) for sentences, part in zip(corpus.sentences, held_out, strict=True)]
    others = [_within(sentences, part) for sentences, part in zip(corpus.sentences, train, strict=True)]
    for ours, theirs, least in ((held_out, train, 1), (inside, others, LEAST_TOKENS)):
        for shard, is_trained in enumerate(_also_in(corpus.ids, ours, theirs, least=least)):
            found[shard].append((ours[shard][:-1][is_trained], ours[shard][1:][is_trained]))
    return tuple((np.concatenate([b for b, _ in each]), np.concatenate([e for _, e in each])) for each in found)


def _within(sentences: Offsets, documents: Offsets) -> Offsets:
    """Return the offsets of the sentences of some documents."""
    first, last = np.searchsorted(sentences, [documents[0], documents[-1]])
    return np.asarray(sentences[first : last + 1])


def _also_in(ids: Sequence[Ids], ours: Sequence[Offsets], theirs: Sequence[Offsets], *, least: int) -> list[Bools]:
    """Return for each shard (N,) whether a span of `ours`, of `least` tokens or more, is also one of `theirs`.

    Most spans differ in their length or in one of a few tokens, so that few have to be compared as a whole.
    """
    keys = [_keys(part, offsets) for part, offsets in zip(ids, ours, strict=True)]
    known = np.unique(np.concatenate(keys))
    seen = set()
    for part, offsets in zip(ids, theirs, strict=True):
        for n in np.flatnonzero(np.isin(_keys(part, offsets), known) & (np.diff(offsets) >= least)).tolist():
            seen.add(part[offsets[n] : offsets[n + 1]].tobytes())
    result = []
    for part, offsets in zip(ids, ours, strict=True):
        spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        result.append(
            np.array(
                [end - begin >= least and part[begin:end].tobytes() in seen for begin, end in spans], dtype=np.bool_
            )
        )
    return result


def _keys(ids: Ids, offsets: Offsets) -> npt.NDArray[np.uint64]:
    """Return (N,) a number made of each span's length and some of its tokens; equal spans have equal ones."""
    lengths = np.diff(offsets)
    keys = lengths.astype(np.uint64)
    for probe in range(_PROBES):
        at = offsets[:-1] + np.maximum(lengths - 1, 0) * probe // (_PROBES - 1)
        tokens = np.asarray(ids)[np.minimum(at, len(ids) - 1)].astype(np.uint64)
        keys = (keys ^ tokens) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys
