"""How fast a recipe trains here, and what stands in for what is not there.

Input: a recipe and a corpus. Output: a `TrainingClock`, which times steps of the very loop that `pretrain` runs.
A recipe without a corpus gets rows of random ids; one without a vocabulary a made-up one; and untrained weights make it
a checkpoint, whose speed is that of a trained one.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from clue_bench.cards import decode
from clue_bench.doors import shards
from clue_bench.doors.checkpoint import write_checkpoint
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import Recipe, Stage
from clue_bench.pretraining.start import build_model
from clue_bench.pretraining.train import Pretraining
from clue_bench.stats.timing import passes
from clue_bench.vocab import Vocabulary
from clue_bench.vocab.vocabulary import SPECIAL_TOKENS
from clue_bench.weights.hf_config import pretraining_class

UNKNOWN_VOCABULARY = 8_000  # tokens, for a recipe that takes whatever its corpus has
MOST_TIMES = 10.0  # the seconds asked for, that a repetition may take before a smaller step is timed
WARM_UPS = 3  # whose fastest decides what is timed: a disturbed one would have small steps timed for large ones
ENDLESS = 10**9

SYNTHETIC_DOCUMENTS = 2_000
SENTENCES = 8  # of a document
SENTENCE_LENGTHS = (8, 57)  # tokens, the second excluded
SEED = 1


@dataclass(frozen=True)
class TrainingTrial:
    """One repetition. A step is the card's, also where a smaller one was timed."""

    seconds_per_step: float
    useful_tokens_per_second: float
    model_flops_per_second: float


class TrainingClock:
    """A recipe's first stage in memory, warmed up; every `repetition` times some steps of it."""

    def __init__(self, recipe: Recipe, corpus: Corpus, *, seconds: float, folder: Path) -> None:
        """Warm up, and decide what to time: at least `seconds` per repetition, and not many times more.

        Raises ClueBenchError where recipe and corpus do not go together. `folder` is not written to.
        """
        self.pretraining = Pretraining(_endless(recipe), corpus, folder)
        self.stage = recipe.stage1
        self.micro_batch = min(self.stage.micro_batch, self.stage.global_batch)
        self._timed(self.micro_batch, 1)
        one = min(self._timed(self.micro_batch, 1)[0] for _ in range(WARM_UPS))
        most = MOST_TIMES * seconds
        parts = self.stage.global_batch / self.micro_batch
        if one * parts <= most:
            self.rows = self.stage.global_batch
            step, _ = self._timed(self.rows, 1)
            self.steps = passes(step, least_seconds=seconds)
        else:
            # Two points make a line: a step of one micro-batch, and one of as many as the time allows.
            self.rows = min(max(2, int(most / one)) * self.micro_batch, self.stage.global_batch)
            self.steps = 1

    @property
    def facts(self) -> dict[str, Any]:
        """What was decided, as a record of the speed says it."""
        return {
            "global_batch": self.stage.global_batch,
            "micro_batch": self.micro_batch,
            "max_length": self.stage.max_length,
            "measured_rows": self.rows,
            "steps_per_repetition": self.steps,
            "precision": self.pretraining.precision,
            "matrix_product_flops_per_second": self.pretraining.ceiling,
        }

    def repetition(self) -> TrainingTrial:
        """Time some steps."""
        seconds, report = self._timed(self.rows, self.steps)
        if self.rows < self.stage.global_batch:
            first, _ = self._timed(self.micro_batch, 1)
            further = (seconds - first) / (self.rows / self.micro_batch - 1)
            seconds = first + (self.stage.global_batch / self.micro_batch - 1) * further
        rate = self.stage.global_batch * self.stage.max_length / seconds
        flops_per_token = report.model_flops_per_second / report.tokens_per_second
        return TrainingTrial(seconds, rate * report.useful_share, rate * flops_per_token)

    def _timed(self, rows: int, steps: int) -> tuple[float, Any]:
        """Do `steps` steps of `rows` rows; return the seconds of one, and their report.

        A stage that ends after them makes the loop report once, so it waits for the device as seldom as in training.
        """
        pretraining = self.pretraining
        feeds = pretraining.feeds
        stage = self.stage.model_copy(
            update={"global_batch": rows, "steps": pretraining.step + steps - feeds.first_step, "warmup_share": 0.0}
        )
        pretraining.feeds = replace(feeds, stage=stage)
        before = pretraining.seconds
        report = next(pretraining.reports())
        return (pretraining.seconds - before) / steps, report


def with_overrides(recipe: Recipe, overrides: dict[str, Any]) -> Recipe:
    """Return `recipe` with `--set` values laid over it. Raises ClueBenchError naming the key."""
    values = recipe.model_dump()
    for key, value in overrides.items():
        table, _, inner = key.rpartition(".")
        if not table and key in Stage.model_fields:
            table = "stage1"
        target = values.get(table) if table else values
        if isinstance(target, dict):
            target[inner] = value
        else:
            values[key] = value  # an unknown key, which `decode` names
    return decode(Recipe, values, where=f"recipe {recipe.name}", overridden=overrides)


def made_up_vocabulary(size: int) -> Vocabulary:
    """Return a WordPiece vocabulary of `size` tokens: special ones and Chinese characters.

    Raises ClueBenchError if there are fewer characters.
    """
    tokens = tuple(islice(chain(SPECIAL_TOKENS, _characters()), size))
    if not len(SPECIAL_TOKENS) < len(tokens) == size:
        raise ClueBenchError(f"no vocabulary of {size:,} tokens can be made up", "give a --corpus built with it")
    return Vocabulary(tokens)


def write_synthetic_corpus(folder: Path, vocabulary: Vocabulary, *, with_words: bool) -> Corpus:
    """Write a corpus of random ids, half a million tokens in documents of sentences; every token is as likely.

    `with_words`: two tokens of three start a word, as if the text had been cut into words.
    """
    generator = np.random.default_rng(SEED)
    lengths = generator.integers(*SENTENCE_LENGTHS, (SYNTHETIC_DOCUMENTS, SENTENCES))
    num = int(lengths.sum())
    ordinary = np.flatnonzero(vocabulary.is_ordinary)
    dtype = np.dtype(shards.id_type(len(vocabulary)))
    shard = shards.write_shard(
        folder,
        0,
        ids=generator.choice(ordinary, num).astype(dtype),
        documents=np.cumsum([0, *lengths.sum(axis=1)]),
        sentences=np.cumsum([0, *lengths.ravel()]),
        starts_word=generator.random(num) < (2 / 3 if with_words else 1.0),
        counts=shards.Counts(documents=SYNTHETIC_DOCUMENTS, sentences=lengths.size, tokens=num),
        text_sha256=hashlib.sha256(f"random ids, seed {SEED}".encode()).hexdigest(),
    )
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    vocabulary.write(tokenizer / vocabulary.file_name)
    shards.write_manifest(
        folder,
        shards=[shard],
        inputs=["random ids"],
        vocab_sha256=vocabulary.sha256,
        vocab_size=len(vocabulary),
        word_starts="rjieba" if with_words else vocabulary.word_starts,
    )
    return Corpus.open(folder)


def write_untrained(folder: Path, recipe: Recipe, vocabulary: Vocabulary) -> str:
    """Write a checkpoint of `recipe` with the weights that training would start from; return their sha256.

    Raises ClueBenchError if the card names another vocabulary size.
    """
    model = build_model(_endless(recipe), vocabulary, None, None)
    return write_checkpoint(
        folder,
        model.state_dict(),
        architecture=pretraining_class(recipe.family, sentence_order=recipe.sentence_order != "none"),
        config=replace(model.config, dropout=0.1),
        vocabulary=vocabulary,
        provenance={"recipe": recipe.model_dump(), "tokens_seen": 0},
    )


def _endless(recipe: Recipe) -> Recipe:
    """Return the first stage alone, without an end, looks at held-out rows, or a checkpoint to start from."""
    stage = recipe.stage1.model_copy(update={"steps": ENDLESS})
    endless = {"log_every": ENDLESS, "save_every": ENDLESS, "held_out_share": 0.0, "starts_from": "", "stage2": None}
    return recipe.model_copy(update={**endless, "stage1": stage})


def _characters() -> Iterator[str]:
    """Yield tokens: the common Chinese characters, the rare ones of extension B, and both as continuations."""
    for prefix in ("", "##"):
        for number in chain(range(0x4E00, 0xA000), range(0x20000, 0x2A6E0)):
            yield prefix + chr(number)
