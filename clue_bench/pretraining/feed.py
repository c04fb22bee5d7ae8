"""Feed a stage's model: turn rows of the corpus into batches, by the stage's length and objective.

Input: a recipe's stage, a corpus, and step numbers. Output: batches on the device, made in two halves: `inputs` on the
host (the numbers of rows, and the rows themselves where the device does not hold the corpus) and `assemble` on the
device (the same kernels in every step, so that they can be recorded).
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.held_out import hold_out, trained_spans
from clue_bench.pretraining.objectives import (
    COUNTED_TOKENS,
    Masking,
    Objective,
    PretrainingBatch,
    RowDraws,
    bag_chances,
    causal_batch,
    joined,
    masked_batch,
)
from clue_bench.pretraining.pairs import PairRows
from clue_bench.pretraining.recipe import Recipe, Stage
from clue_bench.pretraining.rows import PackedRows, ResidentRows, Rows, samples_of_step
from clue_bench.training.counter_rng import Int64s, derive, permuted, row_keys
from clue_bench.training.hardware import on_device
from clue_bench.vocab import Vocabulary

HELD_OUT_RATE = 0.15
"""Share masked in the held-out part, whatever the recipe trains with, so that losses are comparable."""

HELD_OUT_ROWS = 512
"""Most rows of the held-out part that are evaluated."""

HELD_OUT_SEED = 15  # of the masks and the choice of rows, the same for every recipe and seed


class Inputs(NamedTuple):
    """What a batch is made of: the numbers of rows and their epochs, and the rows if the device does not hold them."""

    epochs_B: Tensor
    samples_B: Tensor
    rows: Rows[Tensor] | None


StageInputs = tuple[Inputs, ...]
"""The inputs of labelled pairs, if there are any, and of running text."""


@dataclass(frozen=True)
class Feed:
    """Batches of one kind of rows. `seed` determines their order and every draw."""

    rows: PackedRows | PairRows
    objective: Objective
    masking: Masking | None  # None of next tokens
    seed: int
    device: torch.device
    is_resident: bool  # keep the corpus on the device, if it fits

    @classmethod
    def for_stage(
        cls,
        recipe: Recipe,
        stage: Stage,
        corpus: Corpus,
        *,
        vocabulary: Vocabulary,
        documents: tuple[Int64s, ...],
        rate: float,
        seed: int,
        device: torch.device,
        is_resident: bool = False,
        labels: tuple[Int64s, ...] | None = None,
        with_bag: bool = False,
    ) -> "Feed":
        """Lay rows over `documents` and prepare the recipe's objective, masking a share `rate`.

        `with_bag` says whether [CLS] predicts tokens of its row. `labels` are the labels of documents that are labelled
        pairs.
        Raises ClueBenchError if there is nothing to make rows of.
        """
        words, causal = recipe.objective == "wwm", recipe.objective == "clm"
        layout: dict[str, Any] = {"length": stage.max_length, "documents": documents, "with_words": words}
        rows: PackedRows | PairRows
        if recipe.sentence_order == "none":
            rows = PackedRows.from_corpus(corpus, vocabulary, is_causal=causal, **layout)
        else:
            max_sentences = 2 if recipe.sentence_order == "sentences" else None
            rows = PairRows.from_corpus(corpus, vocabulary, max_sentences=max_sentences, labels=labels, **layout)
        objective: Objective
        if causal:
            ignored = ~torch.from_numpy(vocabulary.is_ordinary).to(device)
            ignored[vocabulary.separator] = False  # the end of a document is worth learning
            return cls(rows, partial(causal_batch, is_ignored_V=ignored), None, seed, device, is_resident)
        masking = Masking.for_vocabulary(
            vocabulary, rate=rate, length=stage.max_length, device=device, whole_words=words
        )
        objective = partial(masked_batch, pad=vocabulary.pad, has_padding=rows.has_padding)
        if with_bag:
            chances = bag_chances(_token_counts(corpus, len(vocabulary)), vocabulary.is_ordinary)
            objective = partial(objective, bag_chances_V=torch.from_numpy(chances).to(device))
        return cls(rows, objective, masking, seed, device, is_resident)

    def with_mask_rate(self, rate: float) -> "Feed":
        """Return the same rows with another share of masks."""
        if self.masking is None:
            return self
        changed = replace(self, masking=self.masking.with_rate(rate, length=self.rows.length))
        if "resident" in self.__dict__:
            changed.__dict__["resident"] = self.resident  # which is on the device already
        return changed

    @property
    def predictions(self) -> int:
        """Return the number of predictions of a row."""
        return self.rows.length if self.masking is None else self.masking.num_predictions

    @cached_property
    def resident(self) -> ResidentRows | None:
        """Return the rows on the device, copied on first use; None if they come from the host."""
        if not self.is_resident or isinstance(self.rows, PairRows):
            return None
        return ResidentRows.if_they_fit(self.rows, self.device)

    def batch(self, epochs_B: Int64s, samples_B: Int64s) -> PretrainingBatch:
        """Return rows `samples_B`, as they are in the epochs `epochs_B`."""
        return self.assemble(self.inputs(epochs_B, samples_B))[0]

    def inputs(self, epochs_B: Int64s, samples_B: Int64s) -> Inputs:
        """Return the inputs of the batch of rows `samples_B` in the epochs `epochs_B`."""
        rows = None
        if self.resident is None:
            found = self.rows.gather(samples_B, epochs_B=epochs_B, seed=self.seed)
            rows = Rows(*map(self._to_device, found))
        return Inputs(on_device(epochs_B, self.device), on_device(samples_B, self.device), rows)

    def _to_device(self, array: Any) -> Any:
        return None if array is None else on_device(array, self.device)

    def assemble(self, inputs: Inputs) -> tuple[PretrainingBatch, Tensor]:
        """Return the batch of `inputs`, and keys for its dropout."""
        epochs_B, samples_B, rows = inputs
        if rows is None:
            assert self.resident is not None
            rows = self.resident.gather(samples_B)
        keys_B = row_keys(epochs_B, samples_B, seed=self.seed, purpose="dropout")
        masks = {} if self.masking is None else {"masking": self.masking}
        return self.objective(rows, RowDraws(epochs_B, samples_B, self.seed), **masks), keys_B

    def step_inputs(self, step: int, part: slice, *, per_step: int) -> Inputs:
        """Return the inputs of a part of the `per_step` rows of the stage's step `step` (0-based)."""
        epochs, samples = samples_of_step(step, global_batch=per_step, num_rows=len(self.rows), seed=self.seed)
        return self.inputs(epochs[part], samples[part])


@dataclass(frozen=True)
class StageFeeds:
    """The feeds of one stage: training rows, held-out rows, and labelled pairs (None without any)."""

    number: int
    stage: Stage
    mask_rate: float
    first_step: int
    train: Feed
    held_out: Feed | None
    held_out_rows: Int64s  # those that hold no text that is trained on
    labelled: Feed | None
    labelled_rows: int  # of a step's global batch

    @classmethod
    def for_stage(
        cls,
        recipe: Recipe,
        number: int,
        corpus: Corpus,
        vocabulary: Vocabulary,
        *,
        mask_rate: float,
        pairs: Corpus | None,
        device: torch.device,
        is_resident: bool = False,
    ) -> "StageFeeds":
        """Prepare stage `number` (1 or 2), with the corpus on the device if `is_resident` and it fits.

        Raises ClueBenchError if the corpus lacks what the objective needs.
        """
        _check_corpus(recipe, corpus, pairs)
        stage = recipe.stages[number - 1]
        seed = recipe.seed if number == 1 else derive(recipe.seed, "stage", number)
        feed = partial(Feed.for_stage, recipe, stage, vocabulary=vocabulary, device=device, is_resident=is_resident)
        documents, others = hold_out(corpus, share=recipe.held_out_share)
        train = feed(corpus, documents=documents, rate=mask_rate, seed=seed, with_bag=recipe.bag_weight > 0)
        if not len(train.rows):
            raise ClueBenchError(f"{corpus.folder}: no row of {stage.max_length} tokens", "build a larger corpus")
        held_out = feed(corpus, documents=others, rate=HELD_OUT_RATE, seed=HELD_OUT_SEED)
        is_trained = held_out.rows.touch(trained_spans(corpus, documents, others)) if len(held_out.rows) else ()
        labelled = None
        if pairs is not None and pairs.labels is not None:
            labelled = feed(
                pairs,
                documents=tuple(pairs.documents),
                labels=pairs.labels.by_shard,
                rate=mask_rate,
                seed=derive(seed, "labelled pairs"),
            )
            if not len(labelled.rows):
                raise ClueBenchError(f"{pairs.folder}: no pair fits into {stage.max_length} tokens", "raise max_length")
        labelled_rows = round(recipe.labelled_share * stage.global_batch) if labelled else 0
        if labelled and not 0 < labelled_rows < stage.global_batch:
            raise ClueBenchError(
                f"labelled_share {recipe.labelled_share:g} of {stage.global_batch} rows is {labelled_rows}: "
                "a step needs labelled pairs and running text",
                "raise global_batch, or set another labelled_share",
            )
        return cls(
            number=number,
            stage=stage,
            mask_rate=mask_rate,
            first_step=sum(earlier.steps for earlier in recipe.stages[: number - 1]),
            train=train,
            held_out=None if all(is_trained) else held_out,
            held_out_rows=np.flatnonzero(~np.asarray(is_trained, dtype=np.bool_)),
            labelled=labelled,
            labelled_rows=labelled_rows,
        )

    def with_mask_rate(self, rate: float) -> "StageFeeds":
        """Return the same feeds with another share of masks in what is trained on."""
        labelled = self.labelled and self.labelled.with_mask_rate(rate)
        return replace(self, mask_rate=rate, train=self.train.with_mask_rate(rate), labelled=labelled)

    def inputs(self, step: int, part: slice) -> StageInputs:
        """Return the inputs of a part of the rows of the stage's step `step` (0-based).

        Labelled rows come first, so that a process's rows do not depend on how many processes there are.
        """
        labelled, total = self.labelled_rows, self.stage.global_batch
        if self.labelled is None:
            return (self.train.step_inputs(step, part, per_step=total),)
        of_pairs = slice(min(part.start, labelled), min(part.stop, labelled))
        of_texts = slice(max(part.start, labelled) - labelled, max(part.stop, labelled) - labelled)
        pairs = self.labelled.step_inputs(step, of_pairs, per_step=labelled)
        return pairs, self.train.step_inputs(step, of_texts, per_step=total - labelled)

    def assemble(self, inputs: StageInputs) -> tuple[PretrainingBatch, Tensor]:
        """Return the batch of `inputs`, and keys for its dropout."""
        texts, text_keys = self.train.assemble(inputs[-1])
        if self.labelled is None:
            return texts, text_keys
        pairs, pair_keys = self.labelled.assemble(inputs[0])
        return joined(pairs, texts), torch.cat((pair_keys, text_keys))

    @property
    def texts(self) -> int:
        """Return the texts in two parts that there is room for in a row, each with a [CLS]; 0 of running text."""
        feeds = (self.train, self.labelled)
        return max(each.rows.max_texts if each and isinstance(each.rows, PairRows) else 0 for each in feeds)

    @property
    def labelled_pairs(self) -> int:
        """Return the number of labelled pairs that fit into a row of this stage."""
        rows = self.labelled.rows if self.labelled else None
        return rows.num_texts if isinstance(rows, PairRows) else 0

    @property
    def held_out_tokens(self) -> int:
        """Return the number of tokens of the held-out part."""
        return 0 if self.held_out is None else self.held_out.rows.tokens

    def held_out_samples(self) -> Int64s:
        """Return which held-out rows are evaluated: the same ones every time, none with text that is trained on."""
        num = len(self.held_out_rows)
        chosen = permuted(np.arange(min(num, HELD_OUT_ROWS)), size=num, key=derive(HELD_OUT_SEED, "held out"))
        return self.held_out_rows[chosen]

    @property
    def held_out_note(self) -> str:
        """Return in words what of the held-out part is left out of the evaluation, "" if nothing is."""
        if self.held_out is None:
            return ""
        rows = len(self.held_out.rows)
        left_out = rows - len(self.held_out_rows)
        text = f"held out: {left_out:,} of {rows:,} rows are left aside, since they hold text that is also trained on"
        return text if left_out else ""


def _token_counts(corpus: Corpus, size: int) -> Int64s:
    """Return how often each of `size` tokens occurs: (V,), in the first COUNTED_TOKENS, divided among the shards."""
    part = COUNTED_TOKENS // max(len(corpus.ids), 1)
    counts: Int64s = sum((np.bincount(ids[:part], minlength=size) for ids in corpus.ids), np.zeros(size, np.int64))
    return counts


def _check_corpus(recipe: Recipe, corpus: Corpus, pairs: Corpus | None) -> None:
    """Raise ClueBenchError if the corpus lacks words to mask: whole-word masking would silently mask tokens."""
    if corpus.labels is not None:
        raise ClueBenchError(f"{corpus.folder}: labelled pairs, not running text", "give it as --pairs")
    if recipe.objective != "wwm":
        return
    if corpus.manifest.word_starts == "wordpiece":
        raise ClueBenchError(
            f"{corpus.folder}: built without word segmentation, recipe {recipe.name} masks whole words",
            "run clue-bench corpus build … --words rjieba",
        )
    if pairs is not None and pairs.manifest.word_starts != corpus.manifest.word_starts:
        raise ClueBenchError(
            f"{pairs.folder}: labelled pairs are not cut into words, recipe {recipe.name} masks whole words",
            "leave out --pairs, or give --set objective=mlm",
        )
