"""Ask the model to fill masks or continue sentences, and judge its answers.

Input: a folder, a class name and a configuration. Output: `FilledMask` or `Continuation`, and findings.
"""

# S sequence, V vocabulary

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig

from clue_bench.diagnosis.result import Candidate, Continuation, FilledMask, Finding
from clue_bench.diagnosis.tokens import TokenizerFiles
from clue_bench.errors import ClueBenchError
from clue_bench.weights.hf_classes import cut_words, explained

MASK = "[MASK]"
# Sentences with one plain answer each; for vocabularies of characters, and of words.
CHARACTERS = (
    ("中国的首都是北[MASK]。", "京"),
    ("今天天[MASK]很好。", "气"),
    ("他是一名中学老[MASK]。", "师"),
    ("我们在学[MASK]里上课。", "校"),
    ("这部电[MASK]非常好看。", "影"),
    ("他生病了，要去[MASK]院看病。", "医"),
)
WORDS = (
    ("中国的首都是[MASK]。", "北京"),
    ("今天[MASK]很好。", "天气"),
    ("他生病了，要去[MASK]看病。", "医院"),
    ("一年有十二个[MASK]。", "月"),
    ("日本的首都是[MASK]。", "东京"),
    ("我们在[MASK]里上课。", "学校"),
)
STARTS = ("中国的首都是北京，", "今天天气很好，我们", "他生病了，要去医院")
TOP = 5
# With fresh weights logits have a standard deviation of 0.02·√H ≤ 0.7, which leaves ≥ 97 % of log V; knowing token
# frequencies alone leaves about 70 % (6.3 nats of 9).
NEAR_UNIFORM = 0.95
FREQUENCIES_ONLY = 0.6
NEW_TOKENS = 20
SEED = 0


class Subject:
    """A model and its tokenizer, loaded."""

    def __init__(self, folder: Path, *, class_name: str, config: PretrainedConfig, files: TokenizerFiles) -> None:
        """Load them. Raises ClueBenchError if transformers cannot."""
        with explained("transformers cannot load it", "first repair what else is wrong"):
            self.tokenizer: Any = _tokenizer_class(files).from_pretrained(folder)
            cut_words(self.tokenizer)
            self.model: Any = getattr(transformers, class_name).from_pretrained(
                folder, config=config, dtype=torch.float32
            )
        self.model.eval()
        self.files = files

    def ids(self, text: str) -> list[int]:
        """Return the ids of `text` with special tokens around it."""
        return self._tokenised(text.replace(MASK, str(self.tokenizer.mask_token)), special_tokens=True)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of `text` behind [CLS], if there is one, and without [SEP]: as UER and we train GPT2."""
        ids = self._tokenised(text, special_tokens=False)
        start = self.tokenizer.cls_token_id
        return ids if start is None else [start, *ids]

    def _tokenised(self, text: str, *, special_tokens: bool) -> list[int]:
        with explained("its tokenizer fails", "correct the tokenizer's files"):
            ids: list[int] = self.tokenizer(text, add_special_tokens=special_tokens)["input_ids"]
        return ids

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits (S, V) of one sequence; segments are 0. Raises ClueBenchError unless they are finite."""
        with explained("transformers cannot compute its answers", "first repair what else is wrong"):
            logits: Tensor = self.model(input_ids=torch.tensor([list(ids)])).logits
        if not bool(logits.isfinite().all()):
            raise ClueBenchError("its answers are NaN or infinite", "copy the weights again, or use another checkpoint")
        return logits[0].float()

    def token(self, index: int) -> str:
        """Return the token of an id, also of one that the vocabulary lacks."""
        return str(self.tokenizer.convert_ids_to_tokens(index)) if index < len(self.files) else f"id {index}"


def _tokenizer_class(files: TokenizerFiles) -> Any:
    """Return the class that the vocabulary is for, whatever config.json's model_type is."""
    named = (files.config or {}).get("tokenizer_class")
    if files.style == "wordpiece":  # RoFormer's cuts words with jieba first
        return transformers.RoFormerTokenizer if named == "RoFormerTokenizer" else transformers.BertTokenizer
    return transformers.AlbertTokenizer if files.style == "sentencepiece" else transformers.AutoTokenizer


def fill(subject: Subject, text: str, *, expected: str = "") -> list[FilledMask]:
    """Fill every mask of `text`. Raises ClueBenchError if it has none."""
    ids = subject.ids(text)
    mask = subject.tokenizer.mask_token_id
    positions = [position for position, index in enumerate(ids) if index == mask]
    if not positions:
        raise ClueBenchError(f"--text {text}: no {MASK} in it", f"put {MASK} where the model should answer")
    probabilities_SV = subject.logits(_within(subject, ids, text)).softmax(-1)
    unknown = sum(index == subject.tokenizer.unk_token_id for index in ids) / max(len(ids) - 2, 1)
    filled = []
    for number, position in enumerate(positions, 1):
        values, indices = probabilities_SV[position].topk(min(TOP, probabilities_SV.shape[-1]))
        answers = tuple(
            Candidate(subject.token(int(index)), float(value)) for value, index in zip(values, indices, strict=True)
        )
        entropy = float(torch.special.entr(probabilities_SV[position]).sum())
        filled.append(FilledMask(text, number, answers, entropy, expected, unknown))
    return filled


def built_in(files: TokenizerFiles) -> tuple[tuple[str, str], ...]:
    """Return the sentences for this kind of vocabulary, with their answers."""
    return WORDS if files.has_words else CHARACTERS


def judge_filled(filled: Sequence[FilledMask], *, size: int) -> Finding:
    """Judge the answers to the built-in sentences; `size` is the number of logits."""
    uniform = math.log(size)
    entropy = sum(one.entropy for one in filled) / len(filled)
    spread = f"mean entropy {entropy:.2f} nats, a uniform guess has {uniform:.2f}"
    if entropy > NEAR_UNIFORM * uniform:
        return Finding("answers", "wrong", f"it answers like an untrained model ({spread})", "pretrain it")
    readable = [one for one in filled if one.unknown_share < 0.5]
    if len(readable) < 3:
        text = f"the vocabulary lacks the built-in sentences' characters, so nothing is judged ({spread})"
        return Finding("answers", "note", text, "give sentences of your own: --text")
    first = {one.answers[0].token for one in readable}
    if len(first) == 1:
        text = f"it gives the same answer, '{first.pop()}', to all {len(readable)} sentences"
        return Finding("answers", "wrong", text, "train longer; it knows at most which tokens are frequent")
    right = sum(one.expected in {answer.token.lstrip("▁") for answer in one.answers} for one in readable)
    text = f"the expected token is among the first five in {right} of {len(readable)} sentences ({spread})"
    if 2 * right >= len(readable):
        return Finding("answers", "ok", text)
    hint = "give sentences of your own with --text: little training, other text and damaged weights look alike"
    return Finding("answers", "note", text, hint)


def continue_text(subject: Subject, text: str) -> Continuation:
    """Continue `text` greedily and at random with a fixed seed, and measure the loss on `text` itself."""
    ids = subject.prompt(text)
    logits_SV = subject.logits(_within(subject, ids, text))
    if len(ids) < 2:
        raise ClueBenchError(f"--text {text!r}: too short to measure", "give at least two characters")
    loss = torch.nn.functional.cross_entropy(logits_SV[:-1], torch.tensor(ids[1:]))
    entropy = torch.special.entr(logits_SV[:-1].softmax(-1)).sum(-1).mean()
    chance = torch.Generator().manual_seed(SEED)
    greedy, sampled = _generate(subject, ids, None), _generate(subject, ids, chance)
    return Continuation(text, greedy, sampled, float(loss), float(entropy))


def _generate(subject: Subject, ids: list[int], chance: torch.Generator | None) -> str:
    """Return up to NEW_TOKENS tokens behind `ids`: the most probable each time, or drawn with `chance`."""
    max_length = subject.model.config.max_position_embeddings
    sequence = list(ids)
    for _ in range(min(NEW_TOKENS, max_length - len(ids))):
        logits_V = subject.logits(sequence)[-1]
        draw = logits_V.argmax() if chance is None else logits_V.softmax(-1).multinomial(1, generator=chance)
        if int(draw) == subject.tokenizer.sep_token_id:
            break
        sequence.append(int(draw))
    return " ".join(subject.token(index) for index in sequence[len(ids) :])


def judge_continued(continued: Sequence[Continuation], *, size: int) -> Finding:
    """Judge the built-in sentences' continuations."""
    uniform = math.log(size)
    loss = sum(one.loss for one in continued) / len(continued)
    entropy = sum(one.entropy for one in continued) / len(continued)
    spread = f"mean loss {loss:.2f} nats a token, entropy {entropy:.2f}, a uniform guess has {uniform:.2f}"
    if entropy > NEAR_UNIFORM * uniform:
        return Finding("answers", "wrong", f"it answers like an untrained model ({spread})", "pretrain it")
    words = {word for one in continued for word in one.greedy.split()}
    if len(words) == 1:
        text = f"it continues everything with '{words.pop()}' ({spread})"
        return Finding("answers", "wrong", text, "train longer; it knows at most which tokens are frequent")
    if loss < FREQUENCIES_ONLY * uniform:
        return Finding("answers", "ok", spread)
    hint = "give sentences of your own with --text: little training, other text and damaged weights look alike"
    return Finding("answers", "note", f"{spread}: hardly better than knowing which tokens are frequent", hint)


def _within(subject: Subject, ids: list[int], text: str) -> list[int]:
    """Return `ids` if the model has embeddings for them and their positions. Raises ClueBenchError if not."""
    max_length, rows = subject.model.config.max_position_embeddings, subject.model.config.vocab_size
    if len(ids) > max_length:
        raise ClueBenchError(
            f"--text {text[:20]}…: {len(ids):,} tokens, the model takes {max_length:,}", "shorten the text"
        )
    if max(ids, default=0) >= rows:
        raise ClueBenchError(
            f"the tokenizer gives id {max(ids):,}, the embedding has {rows:,} rows", "correct the tokenizer's files"
        )
    return ids
