"""The training loop: a generator of reports.

Input: a recipe and a corpus. Output: reports, and a `Pretraining` whose model and optimizer have moved on.
Progress displays, metrics, states and checkpoints are the consumer's business (`run`).
"""

import gc
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clue_bench.doors.checkpoint import Checkpoint
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.pretraining import state as training_state
from clue_bench.pretraining.feed import StageFeeds, StageInputs
from clue_bench.pretraining.flops import flops_per_token
from clue_bench.pretraining.processes import Processes
from clue_bench.pretraining.recipe import Recipe
from clue_bench.pretraining.report import Means, Report
from clue_bench.pretraining.start import build_model, extend_positions
from clue_bench.pretraining.step import Drops, StepSums, Sums, look, train_step
from clue_bench.training import hardware
from clue_bench.training.counter_rng import derive
from clue_bench.training.cuda_graphs import CudaRecorder, Replayed
from clue_bench.training.dropout import DropoutPool, RowDropout
from clue_bench.training.optim import (
    adamw,
    drop_bias_correction,
    linear_schedule,
    load_moments,
    make_recordable,
    set_learning_rate,
)
from clue_bench.vocab import read_vocabulary


class Pretraining:
    """A run between two steps: model, optimizer and data, positioned after `step` finished steps of all stages."""

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        out: Path,
        *,
        start: Checkpoint | None = None,
        pairs: Corpus | None = None,
        cuda_graphs: bool = False,
    ) -> None:
        """Prepare a run into `out`, from the weights of `start` if given, with labelled `pairs` if given.

        `cuda_graphs`: keep the corpus in the GPU's memory, if it fits, and record the step as a CUDA
        graph; results differ by rounding the rate.
        Raises ClueBenchError where recipe, corpus, checkpoint and pairs do not go together.
        """
        hardware.keep_freed_memory()
        self.recipe, self.corpus, self.out, self.start, self.pairs = recipe, corpus, out, start, pairs
        self.vocabulary = read_vocabulary(corpus.tokenizer_folder)
        if self.vocabulary.sha256 != corpus.manifest.tokenizer_sha256:
            raise ClueBenchError(
                f"{corpus.tokenizer_folder}: not the vocabulary that the corpus was built with",
                "build the corpus again",
            )
        self.device = hardware.pick_device()
        self.processes = Processes.start(self.device)
        self.cuda_graphs = cuda_graphs
        if cuda_graphs and (self.device.type != "cuda" or self.processes.size > 1):
            found = f"{self.processes.size} processes" if self.processes.size > 1 else "no CUDA device"
            raise ClueBenchError(f"--cuda-graphs: {found}, expected one process and a CUDA device", "leave it out")
        self.precision = hardware.pick_precision(recipe.precision, self.device)
        self.model = build_model(recipe, self.vocabulary, start, pairs).to(self.device)
        self.wrapped = self.processes.wrap(self.model)
        self.dropout = DropoutPool(recipe.dropout, seed=derive(recipe.seed, "dropout pool"), device=self.device)
        self.step, self.seconds, self.skipped = 0, 0.0, 0
        self._enter_stage(1)

    @property
    def config(self) -> ModelConfig:
        """The architecture."""
        config: ModelConfig = self.model.config
        return config

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: only a run with equal identity is continued."""
        manifest = self.corpus.manifest
        # Left out is what changes rounding, memory and files, but not the run.
        identity = {
            **self.recipe.model_dump(exclude={"name", "title", "stage1", "stage2", "log_every", "save_every"}),
            **{
                f"stage{number}.{key}": value
                for number, stage in enumerate(self.recipe.stages, 1)
                for key, value in stage.model_dump(exclude={"micro_batch"}).items()
            },
            "precision": self.precision,
            "corpus": manifest.corpus_sha256,
            "vocabulary": manifest.tokenizer_sha256,
            "words": manifest.word_starts,
        }
        if self.start is not None:
            identity["from"] = self.start.sha256
        if self.pairs is not None:
            identity["pairs"] = self.pairs.manifest.corpus_sha256
        return identity

    @property
    def tokens_seen(self) -> int:
        """Positions trained on so far, special tokens included."""
        left, tokens = self.step, 0
        for stage in self.recipe.stages:
            tokens += min(left, stage.steps) * stage.global_batch * stage.max_length
            left -= min(left, stage.steps)
        return tokens

    @cached_property
    def ceiling(self) -> float:
        """FLOP/s that matrix products reach on this machine at this precision."""
        return hardware.measure_matrix_products(self.device, self.precision)

    def resume(self) -> None:
        """Load the training state, if there is one."""
        path = self.out / training_state.FILE
        if path.is_file():
            state = training_state.load_state(path, identity=self.identity, device=self.device)
            self.step, self.seconds, self.skipped = state.step, state.seconds, state.skipped
            self.model.load_state_dict(state.model)
            is_second = len(self.recipe.stages) > 1 and self.step >= self.recipe.stage1.steps
            if is_second and self.step == self.recipe.stage1.steps:
                self._enter_second_stage()
                return
            if is_second:
                self._enter_stage(2)
            load_moments(self.optimizer, state.optimizer)
            if not self.recipe.bias_correction:
                drop_bias_correction(self.optimizer)  # an older state counts from 0

    def save(self) -> None:
        """Replace the training state."""
        training_state.save_state(
            self.out / training_state.FILE,
            training_state.State(
                step=self.step,
                seconds=self.seconds,
                skipped=self.skipped,
                identity=self.identity,
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
            ),
        )

    def reports(self) -> Iterator[Report]:
        """Train to the end; yield a report every `log_every` steps, after the last, and at the end of a stage."""
        self.model.train()
        while self.step < self.recipe.total_steps:
            if self.ended_stage:
                self._enter_second_stage()
            started = time.perf_counter()
            every = self.recipe.log_every
            end = self.feeds.first_step + self.feeds.stage.steps
            due = min(every - self.step % every, end - self.step)
            yield self._report([self._advance() for _ in range(due)], started)

    def leave(self) -> None:
        """Leave the other processes. The model's wrapper goes first: its threads use what is taken down then."""
        self.wrapped = self.model
        gc.collect()
        self.processes.stop()

    def check_weights(self) -> None:
        """Raise ClueBenchError if any weight is not a finite number: the last update is in no loss yet."""
        broken = [name for name, weight in self.model.named_parameters() if not bool(weight.isfinite().all())]
        if broken:
            raise self._diverged(f"{len(broken)} parameters are not finite after step {self.step}")

    @property
    def ended_stage(self) -> bool:
        """Whether the last step was the last of its stage."""
        return self.step == self.feeds.first_step + self.feeds.stage.steps

    @property
    def is_at_save(self) -> bool:
        """Whether a training state is due: every `save_every` steps, and at the end of a stage."""
        return self.ended_stage or self.step % self.recipe.save_every == 0

    @property
    def epochs(self) -> float:
        """How often the last stage has gone over the corpus."""
        steps = self.step - self.feeds.first_step
        return steps * (self.feeds.stage.global_batch - self.feeds.labelled_rows) / len(self.feeds.train.rows)

    def _enter_second_stage(self) -> None:
        """Go over to rows of the second stage's length, with an optimizer of its own."""
        extend_positions(self.model, learned=self.recipe.stage1.max_length)
        self._enter_stage(2)

    def _enter_stage(self, number: int) -> None:
        """Make rows of a stage, and an optimizer without a memory."""
        recipe = self.recipe
        self.feeds = StageFeeds.of(
            recipe,
            number,
            self.corpus,
            self.vocabulary,
            pairs=self.pairs,
            device=self.device,
            is_resident=self.cuda_graphs,
        )
        self.optimizer = adamw(
            self.model,
            learning_rate=recipe.stage1.learning_rate,
            weight_decay=recipe.weight_decay,
            betas=(recipe.adam_beta1, recipe.adam_beta2),
            epsilon=recipe.adam_epsilon,
        )
        if not recipe.bias_correction:
            drop_bias_correction(self.optimizer)
        self._update: Callable[[StageInputs], StepSums] = self._train_step
        if self.cuda_graphs:
            make_recordable(self.optimizer, self.device)
            self._update = Replayed(self._train_step, CudaRecorder())

    def _diverged(self, found: str) -> ClueBenchError:
        slower = f"give another --out and --set learning_rate={self.feeds.stage.learning_rate / 2:g}"
        return ClueBenchError(f"{found}: the run has diverged", slower)

    @property
    def _autocast(self) -> torch.dtype | None:
        return torch.bfloat16 if self.precision == "bf16" else None

    def _advance(self) -> StepSums:
        feeds = self.feeds
        step = self.step - feeds.first_step
        inputs = feeds.inputs(step, self.processes.share(feeds.stage.global_batch))
        set_learning_rate(self.optimizer, self._learning_rate(step))
        try:
            sums = self._update(inputs)
        except RuntimeError as error:  # torch's CPU allocator has no exception of its own
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            smaller = f"--set stage{feeds.number}.micro_batch={max(1, feeds.stage.micro_batch // 2)}: it continues"
            raise ClueBenchError(f"out of memory at step {self.step + 1}", smaller) from error
        self.step += 1
        return sums

    def _train_step(self, inputs: StageInputs) -> StepSums:
        """Train on the batch of `inputs`. Nothing in here may depend on the step but through them (`graphs`)."""
        batch, keys_B = self.feeds.assemble(inputs)
        return train_step(
            self.wrapped,
            self.optimizer,
            batch,
            drops=self._drops(keys_B),
            micro_batch=self.feeds.stage.micro_batch,
            clip_norm=self.recipe.clip_norm,
            autocast=self._autocast,
        )

    def _drops(self, keys_B: torch.Tensor) -> Drops:
        """Return what gives the dropout masks of some of the rows with these keys."""
        places = self.config.dropout_places

        def masks(rows: slice) -> RowDropout | None:
            return self.dropout.masks(keys_B[rows], places=places)

        return masks

    def _learning_rate(self, step: int) -> float:
        stage = self.feeds.stage
        return linear_schedule(
            step,
            peak=stage.learning_rate,
            warmup_steps=stage.warmup_steps,
            total_steps=stage.steps,
            final=stage.final_learning_rate,
        )

    def _held_out(self) -> Means:
        """Look at the held-out rows, if it is time to, each process at its share."""
        feed = self.feeds.held_out
        if feed is None or not self.is_at_save:
            return Means()
        samples = np.array_split(self.feeds.held_out_samples(), self.processes.size)[self.processes.rank]
        self.model.eval()
        sums = Sums.zero(self.device)
        if len(samples):
            batch = feed.batch(np.zeros_like(samples), samples)
            sums = look(self.model, batch, micro_batch=self.feeds.stage.micro_batch, autocast=self._autocast)
        self.model.train()
        return Means.of(Sums(*map(self.processes.summed, sums)))

    def _report(self, steps: list[StepSums], started: float) -> Report:
        # Reading the scalars waits for the device, so the clock is read after them.
        total = steps[0].sums
        for step in steps[1:]:
            total = total.plus(step.sums)
        means = Means.of(Sums(*map(self.processes.summed, total)))
        skipped = sum(int(step.skipped) for step in steps)
        norm = float(steps[-1].gradient_norm)
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        self.skipped += skipped
        if skipped == len(steps):
            raise self._diverged(f"gradient norm {norm} at step {self.step}, and {skipped} updates in a row skipped")
        if means.lm is None:
            raise ClueBenchError(
                f"nothing to predict up to step {self.step}: rows hold no ordinary tokens, or mask_rate is too small",
                "clue-bench corpus show tells the share of unknown tokens",
            )
        held = self._held_out()
        stage = self.feeds.stage
        positions = len(steps) * stage.global_batch * stage.max_length
        rate = positions / elapsed
        flops = rate * flops_per_token(self.config, length=stage.max_length, predictions=self.feeds.train.predictions)
        return Report(
            step=self.step,
            stage=self.feeds.number,
            loss=sum(mean.loss for mean in (means.lm, means.sop, means.pair) if mean),
            lm_loss=means.lm.loss,
            lm_accuracy=means.lm.accuracy,
            sop_loss=means.sop and means.sop.loss,
            sop_accuracy=means.sop and means.sop.accuracy,
            pair_loss=means.pair and means.pair.loss,
            pair_accuracy=means.pair and means.pair.accuracy,
            held_out_loss=held.lm and held.lm.loss,
            held_out_accuracy=held.lm and held.lm.accuracy,
            held_out_sop_accuracy=held.sop and held.sop.accuracy,
            learning_rate=self._learning_rate(self.step - 1 - self.feeds.first_step),
            gradient_norm=norm,
            skipped=self.skipped,
            tokens=self.tokens_seen,
            useful_share=means.tokens / positions,
            tokens_per_second=rate,
            model_flops_per_second=flops,
            mfu=flops / (self.ceiling * self.processes.size),
            seconds=self.seconds,
        )
