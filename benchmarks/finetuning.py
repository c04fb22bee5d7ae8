r"""Rows per second of fine-tuning: ours against `transformers.Trainer`, in turn on one machine.

    python benchmarks/finetuning.py --data clue --tasks afqmc tnews cmnli iflytek \
        --model 4/312=vocab/clue_vocab_8021.txt --model 12/768=vocab/google_zh_vocab_21128.txt

A --model is a checkpoint folder, or LAYERS/HIDDEN=VOCAB for BERT of that size with random weights: what they are does
not matter to speed. Sides: ours with its default precision; the Trainer in fp32 and in bf16 (autocast), with batches
padded to their longest row (DataCollatorWithPadding). Batch size, length, dropout, optimizer and clipping are the same
(`finetune_trainer`). "training" is whole updates, without looking at dev and saving; "dev" is looking at it; both begin
with tokenised rows. Each round takes a random part of the real rows: --rows for the Trainer and --ours times as many
for ours, since ours sorts rows by length within 64 batches, and would find less to sort in a smaller part than it finds
in a whole task. Memory is the most that a side's process held. Prints medians over rounds and the rounds' ratios.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import side_by_side
import torch

from clue_bench.doors.checkpoint import write_checkpoint
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.pretrained import Pretrained
from clue_bench.finetuning.settings import Settings, make_settings
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import MaskedLanguageModel
from clue_bench.tasks.rows import Rows, read_rows
from clue_bench.tasks.task import Task, load_task
from clue_bench.vocab import read_vocabulary

OURS, FP32, BF16 = "ours", "Trainer fp32", "Trainer bf16"
TRAINING, DEV = "training", "dev"
HEADS = {312: 12}  # of hidden sizes that are no multiple of 64
HEAD_SIZE = 64
UNTIMED = 2  # updates at the beginning of a round, in which buffers are made


def random_model(asked: str, folder: Path) -> Path:
    """Write BERT of the size LAYERS/HIDDEN=VOCAB with random weights, or return the folder that `asked` names."""
    size, equals, vocabulary_file = asked.partition("=")
    if not equals:
        return Path(asked)
    layers, hidden = map(int, size.split("/"))
    vocabulary = read_vocabulary(Path(vocabulary_file))
    config = ModelConfig(
        vocab_size=len(vocabulary),
        layers=layers,
        hidden_size=hidden,
        heads=HEADS.get(hidden, hidden // HEAD_SIZE),
        feed_forward_size=4 * hidden,
    )
    torch.manual_seed(0)
    out = folder / size.replace("/", "-")
    write_checkpoint(
        out,
        MaskedLanguageModel(config).state_dict(),
        architecture="BertForMaskedLM",
        config=config,
        vocabulary=vocabulary,
        provenance={"model": f"random {size}"},
    )
    return out


def part(rows: Rows, number: int, seed: int) -> Rows:
    """Return a random part of a split."""
    picked = np.sort(np.random.default_rng(seed).permutation(len(rows))[:number])
    return Rows([rows.texts[n] for n in picked], rows.labels[picked], [rows.ids[n] for n in picked], rows.facts)


class Workload:
    """What both sides are given: the rows of a round, and settings."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.task: Task = load_task(asked.tasks[0])
        self.start: Pretrained = open_pretrained(asked.model[0])
        self.rows = read_rows(self.task, asked.data)
        self.data: Path = asked.data
        self.times: int = asked.ours if asked.worker == OURS else 1
        self.clock = side_by_side.CLOCKS[asked.clock]
        self.asked, self._round = asked, 0

    def settings(self, precision: str) -> Settings:
        """Return the settings of a run whose updates are those of a round."""
        number = self.asked.rows * self.times
        steps = UNTIMED + -(-number // self.asked.batch_size)
        overrides = {"batch_size": self.asked.batch_size, "steps": steps, "epochs": 1 + UNTIMED, "precision": precision}
        overrides |= {"evaluations_per_epoch": 1, "max_evaluations": 1}
        return make_settings(self.task, self.start.sizes, overrides, train_rows=number)

    def next_rows(self) -> dict[str, Rows]:
        """Return the rows of the next round."""
        self._round += 1
        sizes = {"train": self.asked.rows, "dev": self.asked.dev_rows}
        return {split: part(self.rows[split], sizes[split] * self.times, self._round) for split in sizes}


def ours(work: Workload) -> dict[str, Callable[[], Any]]:
    """Return how ours answers."""
    from clue_bench.finetuning.predict import predict_logits
    from clue_bench.finetuning.run import Plan, prepare
    from clue_bench.finetuning.train import Finetuning

    last: list[Finetuning] = []

    def training() -> float:
        plan = Plan(
            task=work.task,
            start=work.start,
            settings=work.settings("auto"),
            seed=1,
            rows=work.next_rows(),
            data=work.data,
        )
        run = prepare(plan)
        last[:] = [run]
        started, trained = 0.0, 0
        for report in run.reports():
            if report.step == UNTIMED:
                started, trained = work.clock(), run.trained_rows
            if report.step == run.total_steps - 1:  # after the last one it looks at dev
                return (run.trained_rows - trained) / (work.clock() - started)
        raise AssertionError("a round of no updates")

    def dev() -> float:
        run, started = last[0], work.clock()
        predict_logits(run.model, run.dev, pad=run.pad, device=run.device, autocast=run.autocast)
        return len(run.dev) / (work.clock() - started)

    return {TRAINING: training, DEV: dev}


def trainer(work: Workload, precision: str) -> dict[str, Callable[[], Any]]:
    """Return how the Trainer answers."""
    from finetune_trainer import Clock, make_trainer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()

    last: list[Any] = []

    def training() -> float:
        clock = Clock(work.clock, untimed=UNTIMED)
        settings = work.settings(precision)
        with tempfile.TemporaryDirectory() as scratch:
            made = make_trainer(
                work.task,
                work.next_rows(),
                folder=work.start.folder,
                settings=settings,
                seed=1,
                out=scratch,
                looks=clock,
            )
            made.args.load_best_model_at_end = False
            made.train()
        last[:] = [made]
        assert settings.steps is not None
        return (settings.steps - UNTIMED) * settings.batch_size / clock.seconds

    def dev() -> float:
        made, started = last[0], work.clock()
        made.evaluate()
        return len(made.eval_dataset) / (work.clock() - started)

    return {TRAINING: training, DEV: dev}


WORKERS: dict[str, Callable[[Workload], dict[str, Callable[[], Any]]]] = {
    OURS: ours,
    FP32: partial(trainer, precision="fp32"),
    BF16: partial(trainer, precision="bf16"),
}


def compare(asked: argparse.Namespace, task: str, model: Path) -> side_by_side.Answers:
    """Measure one task with one model on every side."""
    return side_by_side.measure(
        __file__,
        asked,
        task=task,
        model=model,
        workers=WORKERS,
        questions=[TRAINING, DEV],
        more=["dev_rows", "batch_size"],
    )


def lines(model: str, task: str, found: side_by_side.Answers) -> list[str]:
    """Return a task's lines of the table."""
    return [
        f"| {' | '.join([model, task, question, *side_by_side.cells(found, question)])} |"
        for question in (TRAINING, DEV)
    ]


def main() -> None:
    """Measure and print, or be one of the workers."""
    parser = side_by_side.parser(__doc__, workers=WORKERS, rows="training rows of the Trainer in a round")
    parser.add_argument("--dev-rows", type=int, default=512, help="the same of dev")
    parser.add_argument("--batch-size", type=int, default=32)
    asked = parser.parse_args()
    if asked.worker:
        side_by_side.answer(WORKERS[asked.worker](Workload(asked)))
        return
    speeds = " | ".join(f"rows/s, {name}" for name in WORKERS)
    print(f"| model | task | work | {speeds} | ours / fp32 | ours / bf16 | MiB, {' / '.join(WORKERS)} |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for model in asked.model:
            opened = random_model(model, Path(folder))
            for task in asked.tasks:
                print("\n".join(lines(model.partition("=")[0], task, compare(asked, task, opened))), flush=True)


if __name__ == "__main__":
    main()
