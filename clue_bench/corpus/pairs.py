"""Build a corpus of labelled pairs (door 1, `shards`) from the rows of a pair task.

Input: pairs of texts with a class each, and the pairs that must not be trained on. Output: a corpus folder of one
shard whose documents are two sentences, one on each side, and labels.json.

Rows that are also in the task's dev or test set, in either order and as the vocabulary sees them, are left out and
counted.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from clue_bench import files
from clue_bench.corpus.text import clean_line
from clue_bench.doors import shards
from clue_bench.doors.shards import Corpus, Labels
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import TextEncoder, Vocabulary, read_vocabulary

SEEN, EMPTY = "in dev or test", "empty side"


@dataclass(frozen=True)
class LabelledPair:
    """Two texts and the number of their class."""

    first: str
    second: str
    label: int


def build_pairs(
    pairs: Iterable[LabelledPair],
    *,
    task: str,
    classes: list[str],
    evaluated_on: Iterable[tuple[str, str]],
    vocabulary: Path,
    out: Path,
) -> Corpus:
    """Build `out` from the training rows `pairs` of `task`, without any pair of `evaluated_on`; return the corpus.

    Raises ClueBenchError if the folder holds anything but this very corpus, or no pair is left.
    """
    is_filled = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if is_filled and not (out / shards.MANIFEST).is_file():
        raise _not_empty(out)
    vocab = read_vocabulary(vocabulary)
    encoder = vocab.encoder(special_tokens=False)
    # What the model would see decides: texts that differ in case or blanks only are the same to it.
    forbidden = {_sides(*both) for both in _in_pairs(_ids(chain.from_iterable(evaluated_on), encoder))}
    left_out: Counter[str] = Counter()
    kept: list[tuple[LabelledPair, list[int], list[int]]] = []
    given = [LabelledPair(clean_line(pair.first), clean_line(pair.second), pair.label) for pair in pairs]
    ids = _ids((side for pair in given for side in (pair.first, pair.second)), encoder)
    for pair, (first, second) in zip(given, _in_pairs(ids), strict=True):
        if not (first and second):
            left_out[EMPTY] += 1
        elif _sides(first, second) in forbidden:
            left_out[SEEN] += 1
        else:
            kept.append((pair, first, second))
    labels = [pair.label for pair, _, _ in kept]
    facts = Labels(task=task, split="train", classes=classes, left_out=dict(left_out), labels=labels)
    with files.staging(out) as folder:
        shard = _write_shard(kept, vocab, folder, left_out)
        files.write_json(folder / shards.LABELS, facts.model_dump())
        built = shards.write_manifest(folder, shards=[shard], inputs=[f"{task} train"], vocabulary=vocab)
        if is_filled and (Corpus.open(out).manifest, Corpus.open(out).labels) != (built.manifest, built.labels):
            raise _not_empty(out)
        if not is_filled:
            folder.replace(out)
    return Corpus.open(out)


def _not_empty(out: Path) -> ClueBenchError:
    return ClueBenchError(f"{out} is not empty", "give another --out, or delete the folder")


def _ids(texts: Iterable[str], encoder: TextEncoder) -> list[list[int]]:
    return encoder.ids([clean_line(text) for text in texts])


def _in_pairs(ids: list[list[int]]) -> Iterator[tuple[list[int], list[int]]]:
    return zip(ids[::2], ids[1::2], strict=True)


def _sides(first: list[int], second: list[int]) -> frozenset[tuple[int, ...]]:
    """Return the pair without its order."""
    return frozenset((tuple(first), tuple(second)))


def _write_shard(
    pairs: list[tuple[LabelledPair, list[int], list[int]]], vocab: Vocabulary, out: Path, left_out: Counter[str]
) -> shards.Shard:
    """Write the only shard."""
    if not pairs:
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items()) or "there are none"
        raise ClueBenchError(
            f"no labelled pair is left: {reasons}", "give training rows that are not in dev or test as well"
        )
    sides = [side for _, first, second in pairs for side in (first, second)]
    flat = np.fromiter(chain.from_iterable(sides), dtype=shards.id_type(len(vocab)))
    starts_word = vocab.starts_word[flat]
    ends = np.cumsum([0, *map(len, sides)], dtype=np.int64)
    text = "\n".join(f"{pair.first}\t{pair.second}\t{pair.label}" for pair, _, _ in pairs)
    counts = shards.Counts(
        documents=len(pairs),
        sentences=len(sides),
        words=int(starts_word.sum()),
        tokens=len(flat),
        characters=sum(len(pair.first) + len(pair.second) for pair, _, _ in pairs),
        unknown_tokens=int((flat == vocab.unknown).sum()),
        dropped_documents=dict(left_out),
    )
    return shards.write_shard(
        out,
        0,
        ids=flat,
        documents=ends[::2],
        sentences=ends,
        starts_word=starts_word,
        counts=counts,
        text_sha256=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
    )
