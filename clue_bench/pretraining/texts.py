"""Divide documents into texts that fit into a row, so that a text's lengths do not tell the order of its parts.

Input: the sentences and documents of a shard. Output: its texts. A text is a run of whole sentences of one document,
as many as fit (or two, for pairs of sentences); a sentence longer than a row is cut.

A text that is filled from its first sentence on ends early, before a sentence that is too long for the rest of the row.
So its second part is mostly the shorter one, and whoever says "the longer part came first" is right in 56 % of texts of
128 tokens. Filled from its end, it is the other way round. So every document is filled from its beginning or from its
end, whichever brings the shard nearer to as many texts of one kind as of the other.

Legend: D documents, T texts.
"""

import numpy as np

from clue_bench.training.counter_rng import Int64s


def find_texts(
    sentences: Int64s, documents: Int64s, *, width: int, max_sentences: int | None
) -> tuple[Int64s, Int64s, Int64s]:
    """Return offsets of sentences in tokens, long ones cut at `width`, and each text's first sentence and its end.

    The texts are those of `documents`, in their order; sentences are counted in the offsets.
    """
    lo, hi = np.searchsorted(sentences, documents[[0, -1]])
    cut = _cut_long(sentences[lo : hi + 1], width)
    bounds_D = np.searchsorted(cut, documents)  # each document's first sentence, and the end
    forward = _fill(cut, bounds_D, width=width, max_sentences=max_sentences)
    # The same from the end: in a mirror.
    last = len(cut) - 1
    mirrored = _fill(cut[-1] - cut[::-1], (last - bounds_D)[::-1], width=width, max_sentences=max_sentences)
    backward = last - mirrored[1][::-1], last - mirrored[0][::-1]
    leans = [_leans(cut, bounds_D, *texts) for texts in (forward, backward)]
    from_end_D = _balanced(*leans)
    parts = []
    for (first_T, last_T), is_chosen_D in ((forward, ~from_end_D), (backward, from_end_D)):
        is_chosen_T = is_chosen_D[_documents(bounds_D, first_T)]
        parts.append((first_T[is_chosen_T], last_T[is_chosen_T]))
    first_T, last_T = (np.concatenate(both) for both in zip(*parts, strict=True))
    order_T = np.argsort(first_T, kind="stable")
    return cut, first_T[order_T], last_T[order_T]


def _fill(cut: Int64s, bounds_D: Int64s, *, width: int, max_sentences: int | None) -> tuple[Int64s, Int64s]:
    """Return each text's first sentence and its end: as many sentences as fit, from each document's first one on."""
    position, end = bounds_D[:-1], bounds_D[1:]
    firsts, lasts = [position[:0]], [position[:0]]
    while len(position):
        following = np.searchsorted(cut, cut[position] + width, side="right") - 1
        following = np.minimum(following, end)
        if max_sentences is not None:
            following = np.minimum(following, position + max_sentences)
        firsts.append(position)
        lasts.append(following)
        goes_on = following < end
        position, end = following[goes_on], end[goes_on]
    first_T, last_T = np.concatenate(firsts), np.concatenate(lasts)
    order_T = np.argsort(first_T, kind="stable")
    return first_T[order_T], last_T[order_T]


def _leans(cut: Int64s, bounds_D: Int64s, first_T: Int64s, last_T: Int64s) -> list[float]:
    """Return for each document the texts whose first part is the longer one, less those whose second part is.

    Every split between two sentences is as likely; a text of one sentence has none.
    """
    middle_T = cut[first_T] + cut[last_T]
    shorter_T = np.searchsorted(2 * cut, middle_T, side="left") - first_T - 1
    longer_T = last_T - np.searchsorted(2 * cut, middle_T, side="right")
    splits_T = last_T - first_T - 1
    lean_T = np.where(splits_T > 0, (longer_T - shorter_T) / np.maximum(splits_T, 1), 0.0)
    leans_D = np.bincount(_documents(bounds_D, first_T), weights=lean_T, minlength=len(bounds_D) - 1)
    return [float(lean) for lean in leans_D]


def _documents(bounds_D: Int64s, first_T: Int64s) -> Int64s:
    """Return the number of each text's document."""
    return np.searchsorted(bounds_D, first_T, side="right") - 1


def _balanced(forward_D: list[float], backward_D: list[float]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which documents to fill from their end, so that the sum of all leans stays near 0."""
    total, from_end = 0.0, []
    for forward, backward in zip(forward_D, backward_D, strict=True):
        from_end.append(abs(total + backward) < abs(total + forward))
        total += backward if from_end[-1] else forward
    return np.array(from_end, dtype=np.bool_)


def _cut_long(sentences: Int64s, width: int) -> Int64s:
    """Return the offsets, with additional ones inside sentences longer than `width`."""
    lengths = np.diff(sentences)
    pieces = np.maximum(1, -(-lengths // width))
    starts = np.repeat(sentences[:-1], pieces) + counted_up(pieces) * width
    return np.append(starts, sentences[-1])


def counted_up(counts: Int64s) -> Int64s:
    """Return 0 to c - 1 for each count c, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
