"""The peer: one fine-tuning run by `transformers.Trainer`, as its users write it.

    python benchmarks/finetune_trainer.py --task tnews --model runs/tiny --data clue --seed 1 --out peer

Same rows, hyper-parameters and precision as `clue-bench finetune` with its defaults (or --set), and dev is looked at
after the same updates: AdamW, linear warm-up and decay, clipping, batches in random order padded to their longest row,
the best dev accuracy kept. Everything else is the Trainer's own; its best model is not kept. Options that a plain
script lacks (`fgm_epsilon` …) are refused. Writes OUT/result.json and prints it as one line; a result that is there
already is printed again. Needs `pip install 'clue-bench[benchmarks]'`; for BERT and its kin.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from clue_bench.cards import parse_overrides
from clue_bench.errors import ClueBenchError
from clue_bench.files import write_json
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.score import score
from clue_bench.finetuning.settings import Settings, make_settings
from clue_bench.finetuning.train import ADAM, evaluation_steps, planned_steps
from clue_bench.tasks.rows import Rows, read_rows
from clue_bench.tasks.task import Task, load_task
from clue_bench.training.hardware import pick_device, pick_precision

FILE = "result.json"
PLAIN = {"patience": 0, "layer_decay": 1.0, "ema_decay": 0.0, "fgm_epsilon": 0.0, "r_drop_alpha": 0.0}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


class Encodings(torch.utils.data.Dataset):
    """Rows as the tokenizer gives them, not yet padded."""

    def __init__(self, rows: Rows, tokenizer: Any, max_length: int) -> None:
        texts = [list(column) for column in zip(*rows.texts, strict=True)]
        self.fields = tokenizer(*texts, truncation="longest_first", max_length=max_length)
        self.labels = rows.labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {**{name: values[number] for name, values in self.fields.items()}, "labels": self.labels[number]}


class Looks(TrainerCallback):
    """Looks at dev after given updates; sums the seconds of training between looks, without evaluating and saving."""

    def __init__(self, steps: list[int]) -> None:
        self.steps, self.seconds, self._since = set(steps), 0.0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock, and ask for a look where one is due."""
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        control.should_evaluate = control.should_save = state.global_step in self.steps

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock again."""
        self._since = time.perf_counter()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock again."""
        self._since = time.perf_counter()


class Clock(Looks):
    """Takes the seconds of all updates but the first `untimed`, by the clock `now`, and looks at nothing."""

    def __init__(self, now: Callable[[], float], *, untimed: int) -> None:
        super().__init__([])
        self._now, self._untimed = now, untimed

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock after the untimed updates, stop it at the end."""
        if state.global_step == self._untimed:
            self._since = self._now()
        self.seconds = self._now() - self._since


def scores(prediction: Any) -> dict[str, float]:
    """Return what the Trainer chooses the best checkpoint by, and macro-F1."""
    found = score(np.asarray(prediction.label_ids), prediction.predictions.argmax(axis=1))
    return {"accuracy": found.accuracy, "macro_f1": found.macro_f1}


def make_trainer(
    task: Task, rows: dict[str, Rows], *, folder: Path, settings: Settings, seed: int, out: str, looks: Looks
) -> Trainer:
    """Return the Trainer of one run."""
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    dropouts = {name: settings.dropout for name in DROPOUTS if hasattr(config, name)}
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(task.labels), **dropouts)
    train, dev = (Encodings(rows[split], tokenizer, settings.max_length) for split in ("train", "dev"))
    steps = planned_steps(settings, train_rows=len(train))
    arguments = TrainingArguments(
        output_dir=out,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=64,  # about as many tokens as ours predicts at once
        max_steps=steps,
        warmup_steps=round(steps * settings.warmup_share),
        lr_scheduler_type="linear",
        weight_decay=settings.weight_decay,
        adam_beta1=ADAM["adam_beta1"],
        adam_beta2=ADAM["adam_beta2"],
        adam_epsilon=ADAM["adam_epsilon"],
        max_grad_norm=settings.clip_norm,
        label_smoothing_factor=settings.label_smoothing,
        eval_strategy="steps",
        eval_steps=steps + 1,  # `Looks` asks instead, after the updates that ours looks after
        save_strategy="steps",
        save_steps=steps + 1,
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        bf16=pick_precision(settings.precision, pick_device()) == "bf16",
        seed=seed,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=dev,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=scores,
        callbacks=[looks],
    )
    trainer.remove_callback(PrinterCallback)  # stdout is for the result
    return trainer


def run(task: Task, *, model: str, data: Path, seed: int, out: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Train and write OUT/result.json, or find it; return it.

    Raises ClueBenchError for options that a plain script lacks, and if OUT holds the result of another run.
    """
    rows = read_rows(task, data)
    start = open_pretrained(model)
    settings = make_settings(task, start.sizes, overrides, train_rows=len(rows["train"]))
    lacking = [key for key, value in PLAIN.items() if getattr(settings, key) != value]
    if lacking:
        raise ClueBenchError(f"a plain Trainer script has no {', '.join(lacking)}", "leave them out")
    identity = {
        "task": task.name,
        "model": start.name,
        "model_sha256": start.sha256,
        "train_md5": rows["train"].facts.md5,
        "seed": seed,
        "precision": pick_precision(settings.precision, pick_device()),
        "settings": settings.model_dump(),
    }
    if (out / FILE).is_file():
        found: dict[str, Any] = json.loads((out / FILE).read_text(encoding="utf-8"))
        if {key: found.get(key) for key in identity} != identity:
            raise ClueBenchError(f"{out / FILE} is the result of another run", "choose another --out")
        return found
    looks = Looks(evaluation_steps(settings, train_rows=len(rows["train"])))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = make_trainer(task, rows, folder=start.folder, settings=settings, seed=seed, out=scratch, looks=looks)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    result = {**identity, **outcome(trainer, looks, rows, settings), "seconds": seconds}
    write_json(out / FILE, result)
    return result


def outcome(trainer: Trainer, looks: Looks, rows: dict[str, Rows], settings: Settings) -> dict[str, Any]:
    """Return what a run came to."""
    found = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry]
    best = max(found, key=lambda entry: entry["eval_accuracy"])
    updates = trainer.state.global_step
    whole, rest = divmod(updates, -(-len(rows["train"]) // settings.batch_size))
    trained = whole * len(rows["train"]) + rest * settings.batch_size
    return {
        "accuracy": best["eval_accuracy"],
        "macro_f1": best["eval_macro_f1"],
        "best_step": best["step"],
        "total_steps": updates,
        "evaluations": [
            {"step": e["step"], "accuracy": e["eval_accuracy"], "macro_f1": e["eval_macro_f1"]} for e in found
        ],
        "train_rows_per_second": trained / looks.seconds,
        "evaluation_rows_per_second": len(found) * len(rows["dev"]) / sum(entry["eval_runtime"] for entry in found),
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    overrides = parse_overrides(asked.set)
    try:
        result = run(
            load_task(asked.task),
            model=asked.model,
            data=asked.data,
            seed=asked.seed,
            out=asked.out,
            overrides=overrides,
        )
    except ClueBenchError as error:
        raise SystemExit(f"{error.message}\n{error.hint}") from error
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
