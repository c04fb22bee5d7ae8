r"""Rows per second of prediction: ours against `pipeline("text-classification")` of transformers, in turn.

    python benchmarks/prediction.py --data clue --tasks afqmc tnews cmnli iflytek \
        --model 4/312=vocab/clue_vocab_8021.txt --model 12/768=vocab/google_zh_vocab_21128.txt

A --model is as in `finetuning.py`; it gets a head with random weights. Both sides are given the same texts, a random
part of the test set, and return a label and its probability for each row: tokenising is inside. Ours is `Predictor`
with its default precision, the pipeline has batches of 32, cut to the same length, in fp32 (its default) and in bf16.
Each round takes other rows, ours --ours times as many. Memory is the most that a side's process held.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import side_by_side
import torch
from finetuning import part, random_model

from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.pretrained import provenance_after
from clue_bench.tasks.rows import read_split
from clue_bench.tasks.task import load_task

OURS, FP32, BF16 = "ours", "pipeline fp32", "pipeline bf16"
QUESTION = "prediction"
BATCH = 32


def with_head(model: Path, task_name: str, folder: Path) -> Path:
    """Write `model` with a random head for a task, as a run of ours leaves it."""
    start, task = open_pretrained(model), load_task(task_name)
    torch.manual_seed(0)
    labels = tuple(task.labels)
    out = folder / f"{model.name}-{task_name}"
    made = provenance_after(start, task=task_name, settings={"max_length": task.max_length}, seed=0)
    start.write(out, start.classifier(labels, dropout=0.0), labels=labels, provenance=made)
    return out


class Workload:
    """Rows of each round."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.task = load_task(asked.tasks[0])
        self.model = Path(asked.model[0])
        self._rows = read_split(self.task, "test", asked.data)
        self._number = asked.rows * (asked.ours if asked.worker == OURS else 1)
        self.clock = side_by_side.CLOCKS[asked.clock]
        self._round = 0

    def timed(self, predict: Callable[[list[tuple[str, ...]]], None]) -> float:
        """Return rows per second over the next rows."""
        self._round += 1
        texts = part(self._rows, self._number, self._round).texts
        started = self.clock()
        predict(texts)
        return len(texts) / (self.clock() - started)


def ours(work: Workload) -> dict[str, Callable[[], Any]]:
    """Return how ours answers."""
    from clue_bench.prediction.predictor import Predictor

    predictor = Predictor.open(work.model)

    def predict(texts: list[tuple[str, ...]]) -> None:
        answers = predictor.predict(texts)
        assert len([(scores[0].label, scores[0].probability) for scores in answers.rows]) == len(texts)

    return {QUESTION: lambda: work.timed(predict)}


def pipeline(work: Workload, dtype: torch.dtype) -> dict[str, Callable[[], Any]]:
    """Return how the pipeline answers."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    classify: Any = transformers.pipeline("text-classification", model=str(work.model), dtype=dtype, device="cpu")

    def predict(texts: list[tuple[str, ...]]) -> None:
        rows = [{"text": row[0], "text_pair": row[1]} if len(row) == 2 else row[0] for row in texts]
        answers = classify(rows, batch_size=BATCH, truncation=True, max_length=work.task.max_length)
        assert len([(answer["label"], answer["score"]) for answer in answers]) == len(texts)

    return {QUESTION: lambda: work.timed(predict)}


WORKERS: dict[str, Callable[[Workload], dict[str, Callable[[], Any]]]] = {
    OURS: ours,
    FP32: partial(pipeline, dtype=torch.float32),
    BF16: partial(pipeline, dtype=torch.bfloat16),
}


def line(asked: argparse.Namespace, task: str, model: Path, name: str) -> str:
    """Measure one task with one model, and return its line of the table."""
    found = side_by_side.measure(__file__, asked, task=task, model=model, workers=WORKERS, questions=[QUESTION])
    return f"| {' | '.join([name, task, *side_by_side.cells(found, QUESTION)])} |"


def main() -> None:
    """Measure and print, or be one of the workers."""
    parser = side_by_side.parser(__doc__, workers=WORKERS, rows="rows of the pipeline in a round")
    asked = parser.parse_args()
    if asked.worker:
        side_by_side.answer(WORKERS[asked.worker](Workload(asked)))
        return
    speeds = " | ".join(f"rows/s, {name}" for name in WORKERS)
    print(f"| model | task | {speeds} | ours / fp32 | ours / bf16 | MiB, {' / '.join(WORKERS)} |")
    print("|---|---|--:|--:|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for model in asked.model:
            opened = random_model(model, Path(folder))
            for task in asked.tasks:
                classifier = with_head(opened, task, Path(folder))
                print(line(asked, task, classifier, model.partition("=")[0]), flush=True)


if __name__ == "__main__":
    main()
