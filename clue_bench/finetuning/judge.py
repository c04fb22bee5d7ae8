"""What a model's outputs say, by the kind of task: its answers, and how good they are.

Input: a tokenised split and its logits. Output: answers to score and to save; scores, loss and right rows on dev.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from clue_bench.doors.results import RowBits
from clue_bench.finetuning.blanks import assigned
from clue_bench.finetuning.encode import Encoded
from clue_bench.finetuning.predict import probabilities
from clue_bench.finetuning.score import Answered, FoundClasses, FoundLabels, FoundSpans, Scores, score
from clue_bench.finetuning.tags import log_loss
from clue_bench.finetuning.windows import log_losses

Logits = npt.NDArray[np.float32]


class Judged(NamedTuple):
    """Scores on a split, the loss (nats), and which rows are right."""

    scores: Scores
    loss: float
    right: RowBits


def answered(split: Encoded, logits: Logits) -> Answered:
    """Return the answers to every row of a split."""
    if split.windows is not None:
        return FoundSpans(split.windows.best_answers(logits, split.offsets))
    if split.tagged is not None:
        return FoundLabels(split.tagged.found(logits, split.offsets))
    return FoundClasses(_chosen(split, logits), probabilities(logits))


def _chosen(split: Encoded, logits: Logits) -> npt.NDArray[np.int64]:
    return logits.argmax(axis=1) if split.lines is None else assigned(logits, split.lines)


def judge(split: Encoded, logits: Logits) -> Judged:
    """Return how good a model's outputs are on a split with labels."""
    if split.windows is not None:
        found, rows = FoundSpans(split.windows.best_answers(logits, split.offsets)), split.windows.rows
        loss = float(log_losses(logits, split.offsets, split.labels).mean())
        return Judged(found.score(rows), loss, RowBits.pack(found.right(rows)))
    if split.tagged is not None:
        tags, rows = FoundLabels(split.tagged.found(logits, split.offsets)), split.tagged.rows
        loss = log_loss(logits, split.tagged.tags)
        return Judged(tags.score(rows, split.tagged.scheme.labels), loss, RowBits.pack(tags.right(rows)))
    chosen = _chosen(split, logits)
    loss = float(F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(split.labels)))
    return Judged(score(split.labels, chosen), loss, RowBits.pack(chosen == split.labels))
