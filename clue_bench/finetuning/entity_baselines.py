"""The baselines of texts with entities: none, and a dictionary of the entities of train. No torch.

Input: rows. Output: `Fitted`. `baselines` says what they find.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from clue_bench.finetuning.linear_baselines import Fitted
from clue_bench.finetuning.score import Answered, FoundLabels
from clue_bench.finetuning.tags import FoundEntity, FoundTags
from clue_bench.tasks.entities import Entity
from clue_bench.tasks.rows import Rows

Known = Mapping[str, tuple[str, float]]
"""The text of an entity → its most frequent type, and the share of that type."""


def find_nothing(rows: dict[str, Rows]) -> Fitted:
    """Find no entity in any text; the probability of none is its share in train."""
    share = float(np.mean([not entities for entities in rows["train"].entities]))
    answers: dict[str, Answered] = {
        split: FoundLabels([FoundTags((), round(share, 6))] * len(part))
        for split, part in rows.items()
        if split != "train"
    }
    return Fitted(answers, parameters=0, weights_sha256=hashlib.sha256(b"").hexdigest(), choices={})


def look_up_entities(rows: dict[str, Rows]) -> Fitted:
    """Find what an entity of train is called, the longest one at each place, from left to right."""
    counts: dict[str, Counter[str]] = {}
    for (text,), entities in zip(rows["train"].texts, rows["train"].entities, strict=True):
        for each in entities:
            counts.setdefault(text[each.first : each.last + 1], Counter())[each.label] += 1
    known = {}
    for words, of_label in sorted(counts.items()):
        label, times = min(of_label.items(), key=lambda pair: (-pair[1], pair[0]))
        known[words] = (label, times / of_label.total())
    answers: dict[str, Answered] = {
        split: FoundLabels([_looked_up(text, known) for (text,) in part.texts])
        for split, part in rows.items()
        if split != "train"
    }
    sha256 = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return Fitted(answers, parameters=len(known), weights_sha256=sha256, choices={})


def _looked_up(text: str, known: Known) -> FoundTags:
    found = tuple(_matches(text, known))
    return FoundTags(found, round(float(np.prod([each.probability for each in found])), 6))


def _matches(text: str, known: Known) -> Iterator[FoundEntity]:
    longest = max(map(len, known), default=0)
    at = 0
    while at < len(text):
        ends = range(min(at + longest, len(text)), at, -1)
        words = next((text[at:end] for end in ends if text[at:end] in known), "")
        if words:
            label, share = known[words]
            yield FoundEntity(Entity(at, at + len(words) - 1, label), words, round(share, 6))
        at += max(len(words), 1)
