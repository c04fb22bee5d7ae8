"""The training loop: a generator of steps, some of which have a report.

Input: a recipe and a corpus. Output: reports, and a `Pretraining` whose model and optimizer have moved on.
Progress displays, metrics, states and checkpoints are the consumer's business (`run`).

A step runs `feeds.inputs(step)` on the host, then, on the device and optionally recorded as one CUDA graph,
`feeds.assemble`, the model, its losses and the update (`step.train_step`).
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clue_bench.doors.checkpoint import Checkpoint, learned_positions
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.numbers import typed
from clue_bench.pretraining.feed import StageFeeds, StageInputs
from clue_bench.pretraining.identity import identity_of
from clue_bench.pretraining.micro_batches import MicroBatches
from clue_bench.pretraining.processes import Processes, shared_step
from clue_bench.pretraining.recipe import Recipe
from clue_bench.pretraining.report import TrainingReport
from clue_bench.pretraining.since_report import SinceReport
from clue_bench.pretraining.start import StartFacts, freeze, start_facts, tokens_before
from clue_bench.pretraining.state import (
    State,
    build_model,
    compile_layers,
    extend_positions,
    load_state,
    optimizer_for,
    save_state,
)
from clue_bench.pretraining.step import (
    Means,
    StepSums,
    Sums,
    evaluate,
    train_step,
    try_out,
)
from clue_bench.pretraining.throughput import throughput
from clue_bench.training import hardware
from clue_bench.training.counter_rng import derive
from clue_bench.training.cuda_graphs import Function
from clue_bench.training.dropout import DropoutPool, RowDropout
from clue_bench.training.optim import (
    MANY_SKIPPED,
    NOTHING_KEPT,
    Updates,
    check_weights,
    divergence,
    drop_bias_correction,
    kept_state,
    linear_schedule,
    load_moments,
    loss_scale_for,
)
from clue_bench.training.state_file import FILE
from clue_bench.training.working_weights import Network, WorkingWeights, has_working_weights
from clue_bench.vocab import read_vocabulary

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CEILINGS = 600.0  # each takes about a second


class Pretraining:
    """A run between two steps: model, optimizer and data after `step` finished steps of all stages."""

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        out: Path,
        *,
        start: Checkpoint | None = None,
        pairs: Corpus | None = None,
        cuda_graphs: bool = False,
        compiled: bool = False,
        frozen_layers: int | None = None,
    ) -> None:
        """Prepare a run in `out`, from the weights of `start` if given, with labelled `pairs` if given.

        With `frozen_layers`, embeddings and so many of the first layers stay as they are.
        `cuda_graphs` keeps the corpus in the GPU's memory, if it fits, and records the step as a CUDA graph; results
        differ by the rounding of the learning rate. `compiled` layers are fused kernels, other roundings.
        Raises ClueBenchError if recipe, corpus, checkpoint and pairs do not fit together.
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
        if cuda_graphs and self.device.type != "cuda":
            raise ClueBenchError("--cuda-graphs: no CUDA device", "leave it out")
        self.precision = hardware.pick_precision(recipe.precision, self.device)
        self.model = build_model(recipe, self.vocabulary, start, pairs).to(self.device)
        self.compiled = compiled
        if compiled:
            compile_layers(self.model)
        self.frozen_layers = frozen_layers
        self.frozen_parameters = 0 if frozen_layers is None else freeze(self.model, frozen_layers)
        self.network: Network = self.model
        if has_working_weights(self.precision, self.device):
            self.network = WorkingWeights(self.model)
        self.dropout = DropoutPool(recipe.dropout, seed=derive(recipe.seed, "dropout pool"), device=self.device)
        self.loss_scale = loss_scale_for(self._autocast, self.device)
        self.step, self.seconds, self.skipped = 0, 0.0, 0
        self.saved_step: int | None = None  # of the state on disk
        self.since = SinceReport.nothing(self.device)
        self._enter_stage(1)

    @property
    def config(self) -> ModelConfig:
        """Return the architecture."""
        config: ModelConfig = self.model.config
        return config

    @property
    def identity(self) -> dict[str, Any]:
        """Return what identifies the run; only a run with the same identity is continued."""
        return identity_of(
            self.recipe,
            self.corpus.manifest,
            precision=self.precision,
            start_sha256=None if self.start is None else self.start.sha256,
            pairs_sha256=None if self.pairs is None else self.pairs.manifest.corpus_sha256,
            frozen_layers=self.frozen_layers,
        )

    @cached_property
    def start_facts(self) -> StartFacts | None:
        """Return what became of the parts of the checkpoint that the run started from."""
        return None if self.start is None else start_facts(self.model, self.start, self.vocabulary)

    @property
    def tokens_of_model(self) -> int | None:
        """Return the number of positions that the model has seen in all runs; None if its first ones are not known."""
        before = tokens_before(self.start)
        return None if before is None else before + self.tokens_seen

    @property
    def tokens_seen(self) -> int:
        """Return the number of positions trained on so far, special tokens included."""
        left, tokens = self.step, 0
        for stage in self.recipe.stages:
            tokens += min(left, stage.steps) * stage.global_batch * stage.max_length
            left -= min(left, stage.steps)
        return tokens

    def learned_positions(self, stages: int) -> int:
        """Return how many positions have been trained after `stages` stages; what a checkpoint had learned stays."""
        start = self.start
        before = 0 if start is None else learned_positions(start.provenance, start.config.max_positions)
        return max(before, *(stage.max_length for stage in self.recipe.stages[:stages]))

    @property
    def ceiling(self) -> float:
        """Return the FLOP/s that matrix products reach on this machine at this precision."""
        return self.measure_ceiling(max_age=float("inf"))

    def measure_ceiling(self, *, max_age: float, at_least: float = 0.0) -> float:
        """Do the same, and measure again what is older than `max_age` seconds, or less than was reached since."""
        return hardware.measure_matrix_products(self.device, self.precision, max_age=max_age, at_least=at_least)

    def resume(self) -> None:
        """Load the training state, if there is one."""
        state = load_state(self.out / FILE, identity=self.identity, device=self.device)
        if state is None:
            return
        self.step, self.seconds, self.skipped = state.step, state.seconds, state.skipped
        self.saved_step = state.step
        self.model.load_state_dict(state.model)
        self._refresh()
        if self.loss_scale is not None and state.loss_scale:
            self.loss_scale.load(state.loss_scale)
        if state.since:
            self.since = self.since.loaded(state.since, self.processes)
        learned = self.recipe.stage1.steps
        if self.recipe.stage2 is not None and self.step == learned:
            self._enter_second_stage()
            return
        if self.recipe.stage2 is not None and self.step > learned:
            self._enter_stage(2)
        load_moments(self.optimizer, state.optimizer)
        if not self.recipe.bias_correction:
            drop_bias_correction(self.optimizer)  # an older state counts from 0

    def save(self) -> None:
        """Replace the training state, which the first process writes. All processes call this after the same step.

        Raises ClueBenchError if any weight is not a finite number.
        """
        self.check_weights()
        since = self.since.state(self.processes)
        if not self.processes.is_first:
            return
        weights, moments = self.model.state_dict(), self.optimizer.state_dict()
        scale = None if self.loss_scale is None else self.loss_scale.state()
        state = State(self.step, self.seconds, self.skipped, self.identity, weights, moments, since, scale)
        save_state(self.out / FILE, state)
        self.saved_step = self.step

    def reports(self) -> Iterator[TrainingReport]:
        """Train to the end; yield a report every `log_every` steps, after the last, and at the end of a stage."""
        return (report for report in self.moments() if report is not None)

    def moments(self) -> Iterator[TrainingReport | None]:
        """Do the same; yield after every step, None where no report is due.

        What the caller does between two steps is not in the times of the reports.
        """
        self.model.train()
        while self.step < self.recipe.total_steps:
            if self.ended_stage:
                self._enter_second_stage()
            started = time.perf_counter()
            step = self._advance()
            is_due = self.step % self.recipe.log_every == 0 or self.ended_stage
            self.since = self.since.plus(step, 0.0 if is_due else time.perf_counter() - started)
            yield self._report(float(step.gradient_norm), started) if is_due else None

    def loss_so_far(self) -> float | None:
        """Return the mean loss since the last report, of this process's rows. Waits for the device."""
        means = self.since.sums.means()
        return means.loss(bag_weight=self.recipe.bag_weight) if any(means[:4]) else None

    def leave(self) -> None:
        """Leave the other processes."""
        self.processes.stop()

    def check_weights(self) -> None:
        """Raise ClueBenchError if any weight is not a finite number."""
        check_weights(self.model, step=self.step, hint=self._slower, kept=self._kept)

    @property
    def ended_stage(self) -> bool:
        """Return whether the last step was the last of its stage."""
        return self.step == self.feeds.first_step + self.feeds.stage.steps

    @property
    def is_at_save(self) -> bool:
        """Return whether a training state is due: every `save_every` steps, and at the end of a stage."""
        return self.ended_stage or self.step % self.recipe.save_every == 0

    @property
    def epochs(self) -> float:
        """Return how often the last stage has gone over the corpus."""
        steps = self.step - self.feeds.first_step
        return steps * (self.feeds.stage.global_batch - self.feeds.labelled_rows) / len(self.feeds.train.rows)

    def _enter_second_stage(self) -> None:
        extend_positions(self.model, learned=self.learned_positions(1))
        self._refresh()
        self._enter_stage(2)

    def _refresh(self) -> None:
        """Let the weights that compute follow the model's, which have changed."""
        if isinstance(self.network, WorkingWeights):
            self.network.refresh()

    def _enter_stage(self, number: int) -> None:
        """Prepare rows of the stage's length, and a new optimizer."""
        recipe = self.recipe
        self.feeds = StageFeeds.for_stage(
            recipe,
            number,
            self.corpus,
            self.vocabulary,
            mask_rate=recipe.mask_rate_at(self.step),
            pairs=self.pairs,
            device=self.device,
            is_resident=self.cuda_graphs,
        )
        self.optimizer = optimizer_for(recipe, self.model)
        if not recipe.bias_correction:
            drop_bias_correction(self.optimizer)
        stage = self.feeds.stage
        self.micro_batches = MicroBatches(
            stage.micro_batch,
            self.processes,
            global_batch=stage.global_batch,
            length=stage.max_length,
            device=self.device,
            try_out=self._try_out,
            more_bytes=8 * sum(weight.numel() for weight in self.model.parameters() if weight.requires_grad),  # moments
        )
        self.updates = self._updates()

    def _enter_mask_rate(self) -> None:
        """Prepare batches with another share of masks: of other shapes, so that nothing recorded serves them."""
        self.feeds = self.feeds.with_mask_rate(self.recipe.mask_rate_at(self.step))
        self.updates = self._updates()
        log.info("mask_rate = %s at step %d", typed(self.feeds.mask_rate), self.step + 1)

    def _updates(self) -> Updates:
        return Updates(
            self._train_step if self.processes.size == 1 else self._shared_step,
            self.optimizer,
            self._learning_rate,
            device=self.device,
            hint=self._less_memory,
            halve=self._halve_micro_batch,
            in_any=self.processes.in_any if self.micro_batches.may_halve else lambda is_so: is_so,
            cuda_graphs=self.cuda_graphs,
        )

    @property
    def micro_batch(self) -> int:
        """Return how many rows go through the network at once."""
        return self.micro_batches.size

    def _less_memory(self) -> str:
        smaller = max(1, self.micro_batch // 2)
        return f"give --set stage{self.feeds.number}.micro_batch={smaller}, and run the same command to continue"

    def _try_out(self, size: int) -> None:
        batch, keys_B = self.feeds.assemble(self.feeds.inputs(0, slice(0, size)))
        drop = self.dropout.masks(keys_B, sites=self.config.dropout_sites)
        self.model.train()
        try_out(self.network, batch, drop, autocast=self._autocast)

    def _halve_micro_batch(self, inputs: StageInputs) -> StageInputs | None:
        """Go on with half as many rows at once, after a step that ran out of memory; return None if that is no way."""
        if not self.micro_batches.halve():
            return None
        if isinstance(self.network, WorkingWeights):
            self.network.forget_gradients()
        self.dropout.begin(self.step, process=self.processes.rank)
        log.warning("out of memory: micro_batch = %d from step %d on", self.micro_batch, self.step + 1)
        return inputs

    @property
    def _kept(self) -> str:
        return NOTHING_KEPT if self.saved_step is None else kept_state(self.out / FILE, self.saved_step)

    @property
    def _slower(self) -> str:
        return f"give another --out and --set learning_rate={typed(self.feeds.stage.learning_rate / 2)}"

    @property
    def _autocast(self) -> torch.dtype | None:
        return None if isinstance(self.network, WorkingWeights) else hardware.autocast_type(self.precision)

    def _advance(self) -> StepSums:
        """Make the next step; reading its sums waits for the device."""
        if self.recipe.mask_rate_at(self.step) != self.feeds.mask_rate:
            self._enter_mask_rate()
        step = self.step - self.feeds.first_step
        inputs = self.feeds.inputs(step, self.processes.share(self.feeds.stage.global_batch))
        self.dropout.begin(self.step, process=self.processes.rank)
        sums: StepSums = self.updates(step, inputs)
        self.step += 1
        return sums

    def _train_step(self, inputs: StageInputs) -> StepSums:
        """Train on the batch of `inputs`. Nothing in here may depend on the step except through them (`Updates`)."""
        batch, keys_B = self.feeds.assemble(inputs)
        return train_step(
            self.network, self.optimizer, batch, clip_norm=self.recipe.clip_norm, **self._settings_of_gradient(keys_B)
        )

    @property
    def _shared_step(self) -> list[Function]:
        return shared_step(
            self.processes,
            self.network,
            self.optimizer,
            assemble=self.feeds.assemble,
            settings_of_gradient=self._settings_of_gradient,
            clip_norm=self.recipe.clip_norm,
            loss_scale=self.loss_scale,
            dtype=torch.bfloat16 if self.precision == "bf16" else torch.float32,
        )

    def _settings_of_gradient(self, keys_B: Tensor) -> dict[str, Any]:
        def drops(rows: slice) -> RowDropout | None:
            return self.dropout.masks(keys_B[rows], sites=self.config.dropout_sites)

        return {
            "drops": drops,
            "micro_batch": self.micro_batch,
            "autocast": self._autocast,
            "bag_weight": self.recipe.bag_weight,
            "loss_scale": self.loss_scale,
        }

    def _learning_rate(self, step: int) -> float:
        stage = self.feeds.stage
        peak, final = stage.learning_rate, stage.final_learning_rate
        return linear_schedule(
            step,
            peak=peak,
            final=final,
            warmup_steps=stage.warmup_steps,
            decay_steps=stage.decay_steps,
            total_steps=stage.steps,
        )

    def _evaluate(self) -> Means:
        """Evaluate the held-out rows if it is time, each process its share."""
        feed = self.feeds.held_out
        if feed is None or not self.is_at_save:
            return Means()
        samples = np.array_split(self.feeds.held_out_samples(), self.processes.size)[self.processes.rank]
        self.model.eval()
        sums = Sums.zero(self.device)
        if len(samples):
            batch = feed.batch(np.zeros_like(samples), samples)
            sums = evaluate(self.network, batch, micro_batch=self.micro_batch, autocast=self._autocast)
        self.model.train()
        return self.processes.means(sums)

    def _report(self, norm: float, started: float) -> TrainingReport | None:
        """Return the report of the steps since the last one; the last step began at `started`.

        Where all of them were skipped as not finite there is no loss to report: they count for the next report, or end
        the run if they are many.
        """
        # Reading the scalars waits for the device, so the clock is read after them.
        since, self.since = self.since, SinceReport.nothing(self.device)
        skipped = int(since.skipped)
        elapsed = since.seconds + time.perf_counter() - started
        has_diverged = since.steps >= MANY_SKIPPED and (self.loss_scale is None or bool(self.loss_scale.is_exhausted))
        if skipped == since.steps and not has_diverged and not self.ended_stage:
            self.since = replace(since, seconds=elapsed)
            return None
        means = self.processes.means(since.sums)
        self.seconds += elapsed
        self.skipped += skipped
        if skipped == since.steps:
            found = f"gradient norm {norm} at step {self.step}, and {skipped} updates in a row skipped"
            raise divergence(found, hint=self._slower, kept=self._kept)
        if means.lm is None:
            raise ClueBenchError(
                f"nothing to predict up to step {self.step}: rows hold no ordinary tokens, or mask_rate is too small",
                "raise mask_rate, or run clue-bench corpus show to see the share of unknown tokens",
            )
        held_out = self._evaluate()
        stage, size = self.feeds.stage, self.processes.size
        positions = since.steps * stage.global_batch * stage.max_length
        speed = throughput(
            self.config,
            self.feeds,
            positions=positions,
            seconds=elapsed,
            bag_weight=self.recipe.bag_weight,
            frozen_layers=self.frozen_layers,
            skips_ahead=self.device.type == "cuda",
        )
        computed = speed.hardware_flops_per_second
        ceiling = size * self.processes.from_first(
            lambda: self.measure_ceiling(max_age=SECONDS_BETWEEN_CEILINGS, at_least=computed / size), self.device
        )
        return TrainingReport(
            step=self.step,
            stage=self.feeds.number,
            loss=means.loss(bag_weight=self.recipe.bag_weight),
            lm_loss=means.lm.loss,
            lm_accuracy=means.lm.accuracy,
            sop_loss=means.sop and means.sop.loss,
            sop_accuracy=means.sop and means.sop.accuracy,
            pair_loss=means.pair and means.pair.loss,
            pair_accuracy=means.pair and means.pair.accuracy,
            bag_loss=means.bag and means.bag.loss,
            held_out_loss=held_out.lm and held_out.lm.loss,
            held_out_accuracy=held_out.lm and held_out.lm.accuracy,
            held_out_sop_accuracy=held_out.sop and held_out.sop.accuracy,
            learning_rate=self._learning_rate(self.step - 1 - self.feeds.first_step),
            gradient_norm=norm,
            skipped=self.skipped,
            tokens=self.tokens_seen,
            useful_share=means.tokens / positions,
            mfu=speed.model_flops_per_second / ceiling,
            seconds=self.seconds,
            hfu=computed / ceiling,
            loss_scale=None if self.loss_scale is None else float(self.loss_scale.factor),
            micro_batch=self.micro_batch,
            mask_rate=self.feeds.mask_rate,
            **speed._asdict(),
        )
