"""The peer: one fine-tuning run by `transformers.Trainer`, as its users write it.

    python benchmarks/finetune_trainer.py --task tnews --model runs/tiny/checkpoint --data clue --seed 1 --out peer

Same rows, hyper-parameters and number of looks at dev as `clue-bench finetune` with its defaults (or --set): AdamW,
linear warm-up and decay, clipping, dynamic padding, the best dev accuracy kept. Everything else is the Trainer's own.
Writes OUT/result.json and prints it as one line. Needs `pip install accelerate`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from clue_bench.catalog import parse_overrides
from clue_bench.finetune.pretrained import open_pretrained
from clue_bench.finetune.score import score
from clue_bench.finetune.settings import Settings, make_settings
from clue_bench.finetune.train import planned_steps
from clue_bench.task_data.read import Rows, read_rows
from clue_bench.task_data.task import Task, load_task


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


def accuracy(prediction: Any) -> dict[str, float]:
    """Return what the Trainer chooses the best checkpoint by."""
    scores = score(np.asarray(prediction.label_ids), prediction.predictions.argmax(axis=1))
    return {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1}


def make_trainer(
    task: Task, rows: dict[str, Rows], *, folder: str, settings: Settings, seed: int, out: Path, bf16: bool
) -> Trainer:
    """Return the Trainer of one run."""
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=len(task.labels),
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
    )
    train, dev = (Encodings(rows[split], tokenizer, settings.max_length) for split in ("train", "dev"))
    steps = planned_steps(settings, train_rows=len(train))
    looks = min(settings.max_evaluations, settings.epochs * settings.evaluations_per_epoch)
    every = max(1, steps // looks)
    arguments = TrainingArguments(
        output_dir=str(out / "trainer"),
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=128,
        max_steps=steps,
        warmup_steps=round(steps * settings.warmup_share),
        lr_scheduler_type="linear",
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip_norm,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        logging_steps=max(1, steps // 10),
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        bf16=bf16,
        seed=seed,
    )
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=dev,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )


def run(
    task: Task, *, model: str, data: Path, seed: int, out: Path, overrides: dict[str, Any], bf16: bool
) -> dict[str, Any]:
    """Train, and return the result that is written to OUT/result.json."""
    rows = read_rows(task, data)
    start = open_pretrained(model)
    settings = make_settings(task, start.sizes, overrides, train_rows=len(rows["train"]))
    trainer = make_trainer(task, rows, folder=str(start.folder), settings=settings, seed=seed, out=out, bf16=bf16)
    started = time.perf_counter()
    trained = trainer.train()
    seconds = time.perf_counter() - started
    looks = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry]
    best = max(looks, key=lambda entry: entry["eval_accuracy"])
    evaluating = sum(entry["eval_runtime"] for entry in looks)
    result = {
        "task": task.name,
        "model": start.name,
        "seed": seed,
        "accuracy": best["eval_accuracy"],
        "macro_f1": best["eval_macro_f1"],
        "best_step": best["step"],
        "total_steps": trained.global_step,
        "seconds": seconds,
        "train_rows_per_second": trained.global_step * settings.batch_size / (seconds - evaluating),
        "dev_rows_per_second": len(looks) * len(rows["dev"]) / evaluating,
        "precision": "bf16" if bf16 else "fp32",
        "settings": settings.model_dump(),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--bf16", action="store_true")
    asked = parser.parse_args()
    result = run(
        load_task(asked.task),
        model=asked.model,
        data=asked.data,
        seed=asked.seed,
        out=asked.out,
        overrides=parse_overrides(asked.set),
        bf16=asked.bf16,
    )
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
