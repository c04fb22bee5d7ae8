"""Passages cut into windows for questions on them, and the answers that a model's scores make of these.

Input: rows of a passage and a question, and a tokeniser that says where tokens stand. Output: token ids of windows;
from the scores of their tokens, the best answers of each question with their places.

1. A row is the question, whole, and as much of the passage as fits: [CLS] question [SEP] window [SEP]. Neighbouring
   windows share `stride` tokens, as in `transformers`. A question that takes half of the room is cut, and counted.
2. A window that holds the first right answer which stands in the passage learns its first and last token, every other
   one learns [CLS], as in BERT's baselines.
3. An answer is a first and a last token of one window, of at most `max_answer` tokens. Each window names its N_BEST
   first and N_BEST last tokens, and the sums of their scores compete over all windows of the question.
4. Its text is cut out of the passage as it was given, from the first token's first character to the next token's.

Legend: W windows, T tokens of a passage.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.answers import NOWHERE, Answer
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import Task
from clue_bench.vocab.encoders import Placed, TextEncoder, codes_of

N_BEST = 20
UNSEEN = ("Cc", "Cf")  # categories of characters: controls, and such as a zero-width space

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

Place = Callable[[str], Placed]
"""Returns the tokens of a text and where each begins."""


class FoundAnswer(NamedTuple):
    """An answer, the place of its first character in the passage, and its probability among the best ones."""

    text: str
    start: int
    probability: float


@dataclass(frozen=True)
class Windows:
    """Which part of which passage each window is. The first token of its part stands at `at_W` in its sequence."""

    rows: Rows
    row_W: Int64s  # each window's row
    at_W: Int64s
    first_W: Int64s  # its number in the passage
    size_W: Int64s
    starts: list[Int64s]  # by row: where each token of its passage begins
    max_answer: int  # tokens

    def best_answers(self, logits: Floats, offsets: Int64s) -> list[tuple[FoundAnswer, ...]]:
        """Return the best answers of every row, the most probable first; sequence w is `logits[offsets[w]:]`."""
        found: list[list[tuple[float, int, int]]] = [[] for _ in range(len(self.rows))]
        for window, (row, at, first, size) in enumerate(
            zip(*(each.tolist() for each in (self.row_W, self.at_W, self.first_W, self.size_W)), strict=True)
        ):
            begin = int(offsets[window]) + at
            pairs = _best_pairs(logits[begin : begin + size], self.max_answer)
            found[row] += [(score, first + start, first + end) for score, start, end in pairs]
        return [self._answers(row, pairs) for row, pairs in enumerate(found)]

    def _answers(self, row: int, pairs: list[tuple[float, int, int]]) -> tuple[FoundAnswer, ...]:
        best = sorted(pairs, key=lambda pair: -pair[0])
        # Windows overlap: the same tokens may come twice, and of a text that occurs twice each place is its own.
        unique = list({(start, end): (score, start, end) for score, start, end in reversed(best)}.values())[::-1]
        kept = unique[:N_BEST]
        if not kept:
            return (FoundAnswer("", 0, 1.0),)
        shares = np.exp(np.array([score for score, _, _ in kept]) - kept[0][0])
        shares /= shares.sum()
        context, starts = self.rows.texts[row][0], self.starts[row]
        return tuple(
            FoundAnswer(*text_of(context, starts, first, last), round(float(share), 6))
            for (_, first, last), share in zip(kept, shares, strict=True)
        )


def _best_pairs(logits: Floats, max_answer: int) -> list[tuple[float, int, int]]:
    """Return score, first and last token of a window's best answers."""
    if not len(logits):
        return []
    starts, ends = (np.argsort(-side, kind="stable")[:N_BEST] for side in logits.T)
    lengths = ends[None, :] - starts[:, None] + 1
    scores = logits[starts, 0][:, None].astype(np.float64) + logits[ends, 1][None, :]
    scores = np.where((lengths >= 1) & (lengths <= max_answer), scores, -np.inf)
    if not np.isfinite(scores).any():  # no two of the best go together: one token is an answer, too
        whole = logits.sum(axis=1)
        return [(float(whole.max()), int(whole.argmax()), int(whole.argmax()))]
    order = np.argsort(-scores, axis=None, kind="stable")[:N_BEST]
    pairs = [np.unravel_index(place, scores.shape) for place in order.tolist()]
    return [(float(scores[s, e]), int(starts[s]), int(ends[e])) for s, e in pairs if np.isfinite(scores[s, e])]


def text_of(context: str, starts: Int64s, first: int, last: int) -> tuple[str, int]:
    """Return the text from token `first` to token `last`, and where it begins.

    Blanks around it are left out, and so are signs that nobody sees, which are in no token but before the next one.
    """
    after = int(np.searchsorted(starts, starts[last], side="right"))
    begin, end = int(starts[first]), int(starts[after]) if after < len(starts) else len(context)
    while end > begin and (context[end - 1].isspace() or unicodedata.category(context[end - 1]) in UNSEEN):
        end -= 1
    text = context[begin:end]
    return text.lstrip(), begin + len(text) - len(text.lstrip())


def tokens_of(answer: Answer, starts: Int64s) -> tuple[int, int]:
    """Return the first and the last token of an answer that has a place."""
    last_character = answer.start + max(len(answer.text.rstrip()), 1) - 1
    first_character = min(answer.start + len(answer.text) - len(answer.text.lstrip()), last_character)
    first = max(int(np.searchsorted(starts, first_character, side="right")) - 1, 0)
    first = int(np.searchsorted(starts, starts[first], side="left"))  # of tokens that share a character
    return first, max(int(np.searchsorted(starts, last_character, side="right")) - 1, first)


def placed_by(encoder: TextEncoder) -> Place:
    """Return what places the tokens of an encoder of ours, for which marks such as [SEP] in a text are text."""

    def place(text: str) -> Placed:
        if not text:
            return Placed(np.empty(0, np.int64), np.empty(0, np.int64))
        return encoder.encode_lines(codes_of(f"{text}\n"))

    return place


class Cut(NamedTuple):
    """The windows of rows as token ids: the question's and the part's, by window, with labels (W, 2) in the part."""

    texts: list[list[list[int]]]
    windows: Windows
    labels_W2: Int64s  # of a window without the answer NOWHERE
    shortened: npt.NDArray[np.bool_]  # (W,) the question was cut


def cut(rows: Rows, place: Place, *, room: int, task: Task) -> Cut:
    """Cut every passage into windows that take `room` tokens with their question. Raises ClueBenchError: no room."""
    if room < 2:
        raise ClueBenchError("max_length has no room for question and passage", "give --set max_length=64 or more")
    passages: dict[str, Placed] = {}
    texts: list[list[list[int]]] = []
    parts: list[tuple[int, int, int]] = []
    labels: list[tuple[int, int]] = []
    shortened: list[bool] = []
    starts: list[Int64s] = []
    answers = rows.answers or ((),) * len(rows)
    for row, ((context, question), right) in enumerate(zip(rows.texts, answers, strict=True)):
        if context not in passages:
            passages[context] = place(context)
        ids, at = passages[context]
        asked = place(question).ids.tolist()
        kept = asked[: room // 2]
        size = room - len(kept)
        answer = next((tokens_of(each, at) for each in right if each.start != NOWHERE), None) if len(at) else None
        for first, end in _parts(len(ids), size, stride=min(task.stride, size // 2)):
            texts.append([kept, ids[first:end].tolist()])
            parts.append((row, first, end - first))
            is_inside = answer is not None and first <= answer[0] and answer[1] < end
            labels.append((answer[0] - first, answer[1] - first) if answer and is_inside else (NOWHERE, NOWHERE))
            shortened.append(len(kept) < len(asked))
        starts.append(at)
    numbers = np.array(parts, dtype=np.int64).reshape(-1, 3)
    windows = Windows(
        rows, numbers[:, 0], np.zeros(len(parts), np.int64), numbers[:, 1], numbers[:, 2], starts, task.max_answer
    )
    return Cut(texts, windows, np.array(labels, dtype=np.int64).reshape(-1, 2), np.array(shortened, dtype=np.bool_))


def _parts(tokens: int, size: int, *, stride: int) -> list[tuple[int, int]]:
    """Return first token and end of each window of a passage; a passage without tokens has one."""
    firsts = range(0, max(tokens - stride, 1), size - stride)
    return [(first, min(first + size, tokens)) for first in firsts]


def log_losses(logits: Floats, offsets: Int64s, labels_W2: Int64s) -> npt.NDArray[np.float64]:
    """Return (W,) the mean negative log-probability (nats) of each window's first and last token."""
    values = logits.astype(np.float64)
    whole = np.stack([np.logaddexp.reduce(values[a:b], axis=0) for a, b in pairwise(offsets.tolist())])
    right = np.stack([values[offsets[:-1] + labels_W2[:, side], side] for side in (0, 1)], axis=1)
    losses: npt.NDArray[np.float64] = (whole - right).mean(axis=1)
    return losses
