r"""Questions on passages: ours against a plain script of `transformers`, in turn on one machine.

    python benchmarks/questions.py --data clue --model pretrain/checkpoints/clue-bench-tiny --tuned runs/cmrc2018

The peer is written as the library's own examples answer questions: a fast tokenizer cuts every passage into windows of
512 tokens, all padded to that length; the Trainer in fp32; of each window the 20 best first and last tokens, whose sums
compete. Windows, stride, batch size, dropout, optimizer, clipping and weights are the same. "training" is windows a
second in whole updates, from tokenised windows; "prediction" is questions a second, from texts to answers. Each round
takes other rows. With --tuned, the folder of a fine-tuned run, both answer the same questions with its weights: how
many answers are the same, and their exact match and F1. Prints medians over rounds and the rounds' ratios.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import side_by_side
import torch

from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.score import span_scores
from clue_bench.finetuning.settings import Settings, make_settings
from clue_bench.finetuning.train import ADAM
from clue_bench.tasks.answers import NOWHERE
from clue_bench.tasks.rows import Rows, read_rows
from clue_bench.tasks.task import Task, load_task

OURS, PEER = "ours", "Trainer fp32"
TRAINING, PREDICTION, ANSWERS = "training", "prediction", "answers"
UNTIMED = 2  # updates at the beginning of a round, in which buffers are made
N_BEST = 20


def part(rows: Rows, number: int, seed: int) -> Rows:
    """Return random questions of a split."""
    picked = np.sort(np.random.default_rng(seed).permutation(len(rows))[:number])
    chosen = {name: [getattr(rows, name)[n] for n in picked] for name in ("texts", "ids")}
    return replace(rows, labels=rows.labels[picked], answers=tuple(rows.answers[n] for n in picked), **chosen)


class Workload:
    """What both sides are given: the rows of a round, and settings."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.task: Task = load_task(asked.tasks[0])
        self.rows = read_rows(self.task, asked.data)
        self.start = open_pretrained(asked.model[0])
        self.clock = side_by_side.CLOCKS[asked.clock]
        self.asked, self._round = asked, 0

    def next_rows(self) -> dict[str, Rows]:
        """Return the rows of the next round."""
        self._round += 1
        sizes = {"train": self.asked.rows, "dev": self.asked.dev_rows}
        return {split: part(self.rows[split], size, self._round) for split, size in sizes.items()}

    def settings(self, windows: int) -> Settings:
        """Return the settings of a round that goes over so many windows once."""
        steps = -(-windows // self.asked.batch_size)
        overrides = {"batch_size": self.asked.batch_size, "steps": steps, "epochs": 1, "precision": "fp32"}
        return make_settings(self.task, self.start.sizes, overrides | {"max_evaluations": 1}, train_rows=windows)


def outcome(rows: Rows, answers: list[str]) -> dict[str, Any]:
    """Return answers with their scores."""
    found = span_scores(answers, [[each.text for each in right] for right in rows.answers])
    return {"answers": answers, "exact": found.exact_match, "f1": found.macro_f1}


def ours(work: Workload) -> dict[str, Callable[[], Any]]:
    """Return how ours answers."""
    from clue_bench.finetuning.encode import encode_task
    from clue_bench.finetuning.run import Plan, prepare
    from clue_bench.prediction.predictor import Predictor

    last: list[Any] = []

    def training() -> float:
        rows = work.next_rows()
        length = work.settings(1).max_length
        windows = len(encode_task(rows["train"], work.start.tokeniser, max_length=length, task=work.task))
        plan = Plan(work.task, work.start, work.settings(windows), seed=1, rows=rows, data=work.asked.data)
        run = prepare(plan)
        last[:] = [run, rows["dev"]]
        started, trained = 0.0, 0
        for report in run.reports():
            if report.step == UNTIMED:
                started, trained = work.clock(), run.trained_rows
            if report.step == run.total_steps - 1:  # after the last one it looks at dev
                return (run.trained_rows - trained) / (work.clock() - started)
        raise AssertionError("a round of no updates")

    def prediction() -> float:
        from clue_bench.finetuning.judge import answered
        from clue_bench.finetuning.predict import predict_logits

        run, rows = last
        started = work.clock()
        encoded = encode_task(rows, work.start.tokeniser, max_length=run.settings.max_length, task=work.task)
        answered(encoded, predict_logits(run.model, encoded, pad=run.pad, device=run.device, autocast=run.autocast))
        return len(rows) / (work.clock() - started)

    def same() -> dict[str, Any]:
        rows = part(work.rows["dev"], work.asked.dev_rows, 0)
        model = Predictor.open(work.asked.tuned, task=work.task)
        model.description = replace(model.description, max_length=work.settings(1).max_length)
        found = model.predict(rows.texts)
        return outcome(rows, [best[0].label for best in found.rows])

    return {TRAINING: training, PREDICTION: prediction, ANSWERS: same}


class Windows(torch.utils.data.Dataset):
    """Windows as the tokenizer cuts them, padded; `places` say which characters of the passage each token is."""

    def __init__(self, rows: Rows, tokenizer: Any, *, max_length: int, stride: int, is_training: bool) -> None:
        passages, questions = (list(column) for column in zip(*rows.texts, strict=True))
        found = tokenizer(
            questions,
            passages,
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            padding="max_length",
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        self.rows, self.owners = rows, found.pop("overflow_to_sample_mapping")
        self.places = [
            [place if text == 1 else None for place, text in zip(places, found.sequence_ids(number), strict=True)]
            for number, places in enumerate(found.pop("offset_mapping"))
        ]
        self.fields = dict(found)
        if is_training:
            labels = [self._label(number) for number in range(len(self.owners))]
            self.fields["start_positions"], self.fields["end_positions"] = zip(*labels, strict=True)

    def _label(self, number: int) -> tuple[int, int]:
        """Return the first and last token of the answer, [CLS] where the window does not hold it."""
        answer = next(each for each in self.rows.answers[self.owners[number]] if each.start != NOWHERE)
        end = answer.start + len(answer.text.rstrip())
        inside = [(at, place) for at, place in enumerate(self.places[number]) if place is not None]
        if not inside or inside[0][1][0] > answer.start or inside[-1][1][1] < end:
            return 0, 0
        first = max(at for at, (begin, _) in inside if begin <= answer.start)
        return first, max(first, max(at for at, (begin, _) in inside if begin < end))

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {name: values[number] for name, values in self.fields.items()}

    def answers(self, starts: np.ndarray, ends: np.ndarray, *, max_answer: int) -> list[str]:
        """Return each question's best answer, given the scores (windows, tokens) of first and last tokens."""
        best: list[tuple[float, str]] = [(-np.inf, "")] * len(self.rows)
        for number, (owner, places) in enumerate(zip(self.owners, self.places, strict=True)):
            inside = [at for at, place in enumerate(places) if place is not None]
            firsts, lasts = (sorted(inside, key=lambda at: -side[number][at])[:N_BEST] for side in (starts, ends))
            for first in firsts:
                for last in lasts:
                    total = float(starts[number][first]) + float(ends[number][last])
                    if first <= last < first + max_answer and total > best[owner][0]:
                        text = self.rows.texts[owner][0][places[first][0] : places[last][1]]
                        best[owner] = (total, text)
        return [text for _, text in best]


def peer(work: Workload) -> dict[str, Callable[[], Any]]:
    """Return how a script with the Trainer answers."""
    from finetune_trainer import DROPOUTS, Clock, Looks
    from transformers import (
        AutoConfig,
        AutoModelForQuestionAnswering,
        AutoTokenizer,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        set_seed,
    )
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()

    def made(folder: Path, out: str, settings: Settings, rows: Rows, clock: Looks) -> Any:
        set_seed(1)
        config = AutoConfig.from_pretrained(folder)
        model = AutoModelForQuestionAnswering.from_pretrained(folder, **dict.fromkeys(DROPOUTS, settings.dropout))
        assert config.model_type == "bert", "the peer's dropouts are BERT's"
        windows = Windows(
            rows,
            AutoTokenizer.from_pretrained(folder),
            max_length=settings.max_length,
            stride=work.task.stride,
            is_training=True,
        )
        arguments = TrainingArguments(
            output_dir=out,
            learning_rate=settings.learning_rate,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=8,
            num_train_epochs=1,
            warmup_steps=round(settings.warmup_share * len(windows) / settings.batch_size),
            lr_scheduler_type="linear",
            weight_decay=settings.weight_decay,
            adam_epsilon=ADAM["adam_epsilon"],
            max_grad_norm=settings.clip_norm,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            seed=1,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=windows, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        return trainer

    def answers_of(trainer: Any, folder: Path, rows: Rows, length: int) -> list[str]:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        windows = Windows(rows, tokenizer, max_length=length, stride=work.task.stride, is_training=False)
        starts, ends = trainer.predict(windows).predictions
        return windows.answers(starts, ends, max_answer=work.task.max_answer)

    last: list[Any] = []

    def training() -> float:
        rows, clock = work.next_rows(), Clock(work.clock, untimed=UNTIMED)
        with tempfile.TemporaryDirectory() as scratch:
            trainer = made(work.start.folder, scratch, work.settings(1), rows["train"], clock)
            trainer.train()
        last[:] = [trainer, rows["dev"]]
        return (len(trainer.train_dataset) - UNTIMED * work.asked.batch_size) / clock.seconds

    def prediction() -> float:
        trainer, rows = last
        started = work.clock()
        answers_of(trainer, work.start.folder, rows, work.settings(1).max_length)
        return len(rows) / (work.clock() - started)

    def same() -> dict[str, Any]:
        rows, folder = part(work.rows["dev"], work.asked.dev_rows, 0), Path(work.asked.tuned) / "checkpoint"
        with tempfile.TemporaryDirectory() as scratch:
            trainer = made(folder, scratch, work.settings(1), part(work.rows["train"], 1, 0), Looks([]))
            return outcome(rows, answers_of(trainer, folder, rows, work.settings(1).max_length))

    return {TRAINING: training, PREDICTION: prediction, ANSWERS: same}


WORKERS: dict[str, Callable[[Workload], dict[str, Callable[[], Any]]]] = {OURS: ours, PEER: peer}


def agreement(found: side_by_side.Answers) -> str:
    """Return how far the answers of both sides with the same weights are the same."""
    first, second = (found[name, ANSWERS][0] for name in WORKERS)
    pairs = list(zip(first["answers"], second["answers"], strict=True))
    scores = " / ".join(f"EM {each['exact']:.4f} F1 {each['f1']:.4f}" for each in (first, second))
    return f"{sum(a == b for a, b in pairs)} of {len(pairs)} answers with the same weights are the same; {scores}"


def main() -> None:
    """Measure and print, or be one of the workers."""
    parser = side_by_side.parser(__doc__, workers=WORKERS, rows="training questions in a round")
    parser.add_argument("--dev-rows", type=int, default=24, help="the same of dev")
    parser.add_argument("--batch-size", type=int, default=4, help="windows")
    parser.add_argument("--tuned", default="", help="folder of a fine-tuned run, whose answers are compared")
    parser.set_defaults(tasks=["cmrc2018"], rows=24, rounds=2)
    asked = parser.parse_args()
    if asked.worker:
        side_by_side.answer(WORKERS[asked.worker](Workload(asked)))
        return
    found = side_by_side.measure(
        __file__,
        asked,
        task=asked.tasks[0],
        model=Path(asked.model[0]),
        workers=WORKERS,
        questions=[TRAINING, PREDICTION, *([ANSWERS] if asked.tuned else [])],
        more=["dev_rows", "batch_size", "tuned"],
    )
    print(f"| work | {' | '.join(f'rows/s, {name}' for name in WORKERS)} | ours / peer | MiB, both |")
    print("|---|--:|--:|--:|--:|")
    for question in (TRAINING, PREDICTION):
        print(f"| {' | '.join([question, *side_by_side.cells(found, question)])} |")
    if asked.tuned:
        print(agreement(found))


if __name__ == "__main__":
    main()
