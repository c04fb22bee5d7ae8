"""The training loop: a generator of reports.

Enters: a recipe and a corpus. Leaves: reports, and a `Pretraining` whose model and optimizer have moved on.
Progress displays, metrics, states and checkpoints are the consumer's business (`run`).
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clue_bench import hardware
from clue_bench.engine import state as training_state
from clue_bench.engine.batches import PackedRows, samples_of_step
from clue_bench.engine.flops import flops_per_token
from clue_bench.engine.objectives import TokenMasking
from clue_bench.engine.recipe import Recipe
from clue_bench.engine.step import StepSums, train_step
from clue_bench.errors import ClueBenchError
from clue_bench.models.encoder import EncoderConfig, MaskedLanguageModel
from clue_bench.optim import adamw, linear_schedule, set_learning_rate
from clue_bench.order import derive
from clue_bench.shards import Corpus
from clue_bench.vocab import Vocabulary, read_vocabulary


@dataclass(frozen=True)
class Report:
    """What happened since the last report.

    `loss` (nats) and `mlm_accuracy` are means over the predictions made, `gradient_norm` is the last step's before
    clipping. Tokens are positions of the rows, special tokens included; rows are full.
    """

    step: int
    loss: float
    mlm_accuracy: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    tokens_per_second: float
    model_flops_per_second: float
    seconds: float


class Pretraining:
    """A run between two steps: model, optimizer and data, positioned after `step` finished steps."""

    def __init__(self, recipe: Recipe, corpus: Corpus, out: Path) -> None:
        hardware.keep_freed_memory()
        self.recipe, self.corpus, self.out = recipe, corpus, out
        self.vocabulary = read_vocabulary(corpus.tokenizer_folder)
        if self.vocabulary.sha256 != corpus.manifest.tokenizer_sha256:
            raise ClueBenchError(
                f"{corpus.tokenizer_folder}: not the vocabulary that the corpus was built with",
                "build the corpus again",
            )
        self.config = encoder_config(recipe, self.vocabulary)
        self.device = hardware.pick_device()
        self.precision = hardware.pick_precision(recipe.precision, self.device)
        self.rows = PackedRows.of(corpus, self.vocabulary, length=recipe.max_length)
        self.masking = TokenMasking.of(
            self.vocabulary, rate=recipe.mask_rate, length=recipe.max_length, device=self.device
        )
        torch.manual_seed(derive(recipe.seed, "initial weights"))
        self.model = MaskedLanguageModel(self.config).to(self.device)
        self.optimizer = adamw(
            self.model,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            betas=(recipe.adam_beta1, recipe.adam_beta2),
            epsilon=recipe.adam_epsilon,
        )
        self.step, self.seconds = 0, 0.0

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: only a run with equal identity is continued."""
        manifest = self.corpus.manifest
        return {
            **self.recipe.model_dump(exclude={"name", "title"}),
            "precision": self.precision,
            "corpus": manifest.corpus_sha256,
            "vocabulary": manifest.tokenizer_sha256,
        }

    @property
    def tokens_seen(self) -> int:
        """Positions trained on so far, special tokens included."""
        return self.step * self.recipe.global_batch * self.recipe.max_length

    def resume(self) -> None:
        """Load the training state, if there is one."""
        path = self.out / training_state.FILE
        if path.is_file():
            self.step, self.seconds = training_state.load_state(
                path, model=self.model, optimizer=self.optimizer, identity=self.identity, device=self.device
            )

    def save(self) -> None:
        """Replace the training state."""
        training_state.save_state(
            self.out / training_state.FILE,
            step=self.step,
            seconds=self.seconds,
            model=self.model,
            optimizer=self.optimizer,
            identity=self.identity,
        )

    def reports(self) -> Iterator[Report]:
        """Train to the last step; yield a report every `log_every` steps and after the last."""
        self.model.train()
        while self.step < self.recipe.steps:
            started = time.perf_counter()
            due = min(self.recipe.log_every - self.step % self.recipe.log_every, self.recipe.steps - self.step)
            yield self._report([self._advance() for _ in range(due)], started)

    def check_weights(self) -> None:
        """Raise ClueBenchError if any weight is not a finite number: the last update is in no loss yet."""
        broken = [name for name, weight in self.model.named_parameters() if not bool(weight.isfinite().all())]
        if broken:
            raise self._diverged(f"{len(broken)} parameters are not finite after step {self.step}")

    def _diverged(self, found: str) -> ClueBenchError:
        slower = f"give another --out and --set learning_rate={self.recipe.learning_rate / 2:g}"
        return ClueBenchError(f"{found}: the run has diverged", slower)

    def _advance(self) -> StepSums:
        recipe = self.recipe
        epochs_B, samples_B = samples_of_step(
            self.step, global_batch=recipe.global_batch, num_rows=len(self.rows), seed=recipe.seed
        )
        ids_BS = torch.from_numpy(self.rows.gather(samples_B)).to(self.device)
        batch = self.masking(ids_BS, epochs_B=epochs_B, samples_B=samples_B, seed=recipe.seed)
        set_learning_rate(self.optimizer, self._learning_rate(self.step))
        if recipe.dropout:
            torch.manual_seed(derive(recipe.seed, "dropout", self.step))
        sums = train_step(
            self.model,
            self.optimizer,
            batch,
            keep_BS=ids_BS != self.vocabulary.pad if self.rows.has_padding else None,
            micro_batch=recipe.micro_batch,
            clip_norm=recipe.clip_norm,
            autocast=torch.bfloat16 if self.precision == "bf16" else None,
        )
        self.step += 1
        return sums

    def _learning_rate(self, step: int) -> float:
        recipe = self.recipe
        return linear_schedule(
            step, peak=recipe.learning_rate, warmup_steps=recipe.warmup_steps, total_steps=recipe.steps
        )

    def _report(self, sums: list[StepSums], started: float) -> Report:
        # Reading the scalars waits for the device, so the clock is read after them.
        predictions = sum(int(step.predictions) for step in sums)
        if not predictions:
            raise ClueBenchError(
                f"nothing to predict up to step {self.step}: rows hold no ordinary tokens, or mask_rate is too small",
                "clue-bench corpus show tells the share of unknown tokens",
            )
        loss = sum(float(step.loss) for step in sums) / predictions
        correct = sum(int(step.correct) for step in sums)
        norm = float(sums[-1].gradient_norm)
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(f"loss {loss}, gradient norm {norm} at step {self.step}")
        rate = len(sums) * self.recipe.global_batch * self.recipe.max_length / elapsed
        predictions_per_row = self.masking.num_predictions
        return Report(
            step=self.step,
            loss=loss,
            mlm_accuracy=correct / predictions,
            learning_rate=self._learning_rate(self.step - 1),
            gradient_norm=norm,
            tokens=self.tokens_seen,
            tokens_per_second=rate,
            model_flops_per_second=rate
            * flops_per_token(self.config, length=self.recipe.max_length, predictions=predictions_per_row),
            seconds=self.seconds,
        )


def encoder_config(recipe: Recipe, vocabulary: Vocabulary) -> EncoderConfig:
    """Return the architecture of `recipe` for the corpus's `vocabulary`.

    Raises ClueBenchError if the card names another vocabulary size.
    """
    if recipe.vocab_size not in ("corpus", len(vocabulary)):
        raise ClueBenchError(
            f"recipe {recipe.name}: vocab_size is {recipe.vocab_size}, the corpus was built with {len(vocabulary)}",
            'build the corpus with the recipe\'s vocabulary, or --set vocab_size="corpus"',
        )
    return EncoderConfig(
        vocab_size=len(vocabulary),
        layers=recipe.layers,
        hidden_size=recipe.hidden_size,
        heads=recipe.heads,
        feed_forward_size=recipe.feed_forward_size,
        max_positions=recipe.max_positions,
        dropout=recipe.dropout,
    )
