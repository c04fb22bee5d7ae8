"""Predictions of test sets without training data: CLUE's diagnostics, which a model of OCNLI or CMNLI answers.

Input: the runs of a submission, and a data folder. Output: predictions, made now by the model of one of the runs.
"""

from collections.abc import Sequence
from pathlib import Path

from clue_bench.doors.records import CHECKPOINT
from clue_bench.prediction.submission.runs import RunSubmission, SubmissionLine
from clue_bench.prediction.submission.slots import Slot
from clue_bench.tasks.files import locate
from clue_bench.tasks.rows import read_split


def answer_unseen(
    runs: Sequence[RunSubmission], known: dict[str, Slot], data: Path
) -> tuple[list[RunSubmission], list[str]]:
    """Return predictions of the test sets in `data` that other tasks' models answer, and who answered each, or why not.

    The first of the tasks that the card names, and that a run with weights is of, does. Raises ClueBenchError.
    """
    answered, notes = [], []
    for slot in known.values():
        if not slot.task.answered_by or locate(slot.task, slot.split, data) is None:
            continue
        fitting = [run for name in slot.task.answered_by for run in runs if run.task == name]
        able = [run for run in fitting if (run.folder / CHECKPOINT).is_dir()]
        if able:
            answered.append(_answered(able[0], slot, data))
            notes.append(f"{slot.task.name}: answered by {able[0].folder}, a model of {able[0].task}")
        elif fitting:
            notes.append(f"{slot.task.name}: left out, since {fitting[0].folder} has no weights to answer it with")
        else:
            notes.append(f"{slot.task.name}: left out, no run of {' or '.join(slot.task.answered_by)} is given")
    return answered, notes


def _answered(run: RunSubmission, slot: Slot, data: Path) -> RunSubmission:
    from clue_bench.prediction.predictor import Predictor  # torch, which nothing else of a submission needs

    rows = read_split(slot.task, slot.split, data)
    found = Predictor.open(run.folder, task=slot.task).predict(rows.texts).rows
    lines = [SubmissionLine(each, best[0].label) for each, best in zip(rows.ids, found, strict=True)]
    return RunSubmission(run.folder, run.record, slot.task.name, {slot.name: lines})
