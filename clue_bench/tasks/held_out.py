"""Hold dev rows out of training rows: a share of each label's rows, and never a text on both sides.

Input: what each row's texts are, and its label. Output: the numbers of the rows that are dev. Only the seed and the
texts decide the order in which they are drawn, so that a row more or less moves no other. A text that fills much of
dev's share by itself stays in train, and so does a blank one: a score over one text says nothing. Without repeated
texts, dev is the first share of each label's texts.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

DEV_SHARE = 0.1  # of each label's training rows, where there is no dev split
SPLIT_SEED = 1  # not the runs' seed: all seeds of a sweep are scored on the same rows
LARGEST_PART = 0.2  # of a label's dev rows, that one text may be, as long as other texts fill at least half of them


def draw_dev(keys: Sequence[str | None], labels: Sequence[str]) -> set[int]:
    """Return the numbers of the rows to hold out; rows of one key stay together, those of None are never held out.

    Empty if no label has two different texts.
    """
    rows_of: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        if key is not None:
            rows_of.setdefault(key, []).append(number)
    keys_of: dict[str, list[str]] = {}  # a text of two labels is drawn with the first
    for key in sorted(rows_of, key=_draw):
        keys_of.setdefault(labels[rows_of[key][0]], []).append(key)
    totals = Counter(label for key, label in zip(keys, labels, strict=True) if key is not None)
    texts = Counter(label for rows in rows_of.values() for label in {labels[number] for number in rows})
    share = {label: _share_of(totals[label], texts[label]) for label in totals}
    taken: Counter[str] = Counter()
    held: set[str] = set()
    for label, drawn in keys_of.items():
        part = max(1, int(LARGEST_PART * share[label]))
        left = len(drawn) // 2  # texts: train has at least as many as dev
        for largest, enough in ((part, share[label]), (share[label], (share[label] + 1) // 2)):
            for key in drawn:
                if not left or taken[label] >= enough:
                    break
                if key in held or len(rows_of[key]) > largest:
                    continue
                counts = Counter(labels[number] for number in rows_of[key])
                if all(taken[each] + rows <= share[each] for each, rows in counts.items()):
                    held.add(key)
                    taken.update(counts)
                    left -= 1
    if not held:  # a few rows, each text more than once
        smallest = [min(drawn, key=lambda key: len(rows_of[key])) for drawn in keys_of.values() if len(drawn) > 1]
        held.update(smallest)
    return {number for key in held for number in rows_of[key]}


def _share_of(rows: int, texts: int) -> int:
    """Return how many of a label's rows to hold out: at least one, if it has two different texts."""
    return max(int(DEV_SHARE * rows + 0.5), int(texts > 1))


def _draw(key: str) -> str:
    return hashlib.sha256(f"{SPLIT_SEED} {key}".encode(errors="replace")).hexdigest()
