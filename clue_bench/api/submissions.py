"""Write the zip for CLUE's score server from runs, or check one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.api.run_tables import FLAGS
from clue_bench.api.runs import Run
from clue_bench.files import expanded
from clue_bench.numbers import counted
from clue_bench.tables import Column, Shown, Table, make_table

if TYPE_CHECKING:
    from clue_bench.prediction.submission.check import SubmissionCheck
    from clue_bench.prediction.submission.runs import RunSubmission


@dataclass(frozen=True, repr=False)
class Submission(Shown):
    """A valid zip, its contents, and the runs that it was written from."""

    zip: Path
    report: "SubmissionCheck"
    answers: "tuple[RunSubmission, ...]" = ()
    choices: tuple[str, ...] = ()
    """A sentence for each task of which several runs were given, or that another task's model answers: which it was."""

    @property
    def notes(self) -> list[str]:
        """Return what to know: flags of runs, other revisions of test files, what is missing."""
        found = [f"note: {choice}" for choice in self.choices]
        for run in self.answers:
            if run.record.flags:
                found.append(f"warning: {run.folder}: {', '.join(FLAGS.get(flag, flag) for flag in run.record.flags)}")
            for split, facts in run.record.data.files.items():
                if split not in ("train", "dev") and not facts.is_official:
                    found.append(f"warning: {run.folder}: predicted another {split} file than the official one")
        found += [f"note: {note}" for note in self.report.notes]
        missing = ", ".join(self.report.missing) or "none"
        return [
            *found,
            f"{self.zip}: valid, {counted(len(self.report.files), 'file')}; CLUE's that are not in it: {missing}",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the files and what is missing as plain values."""
        files = [
            {
                "name": file.slot.name,
                "task": file.slot.task.name,
                "split": file.slot.split,
                "rows": file.rows,
                "ids": file.ids,
                "run_id": self._run_of.get(file.slot.name),
            }
            for file in self.report.files
        ]
        facts = {"zip": str(self.zip), "valid": True, "files": files}
        return {**facts, "missing": self.report.missing, "notes": [*self.choices, *self.report.notes]}

    @property
    def tables(self) -> list[Table]:
        """Return one table with a line for each file."""
        rows = [
            (file.slot.name, file.slot.task.name, file.slot.split, f"{file.rows:,}", file.ids, run)
            for file in self.report.files
            for run in [self._run_of.get(file.slot.name, "")]
        ]
        return [
            make_table(
                "", ["file", "task", "split", "rows", Column("ids", is_words=True), "run" if self.answers else ""], rows
            )
        ]

    @property
    def _run_of(self) -> dict[str, str]:
        return {name: run.record.run_id for run in self.answers for name in run.files}


def submit(
    runs: Sequence[Run | Path | str],
    *,
    out: Path | str = "submit.zip",
    data: Path | str | None = None,
    cards: Sequence[str] = (),
) -> Submission:
    """Write CLUE's submission from fine-tuning runs and check it; of several runs of a task, the best on dev is taken.

    Raises ClueBenchError.

    `data` is a folder with the test files, to compare ids with; the diagnostics in it are answered by the model of
    OCNLI, else of CMNLI. `cards` are .toml files of your own tasks.
    """
    from clue_bench.prediction.submission.runs import choose_runs
    from clue_bench.prediction.submission.slots import known_slots
    from clue_bench.prediction.submission.unseen import answer_unseen
    from clue_bench.prediction.submission.write import write_submission

    known = known_slots(list(cards))
    answers, choices = choose_runs([run.folder if isinstance(run, Run) else expanded(run) for run in runs], known)
    folder = None if data is None else expanded(data)
    if folder is not None:
        unseen, notes = answer_unseen(answers, known, folder)
        answers, choices = [*answers, *unseen], [*choices, *notes]
    check = write_submission(expanded(out), answers, known=known, data=folder)
    return Submission(expanded(out), check, tuple(answers), tuple(choices))


def check_submission(path: Path | str, *, data: Path | str | None = None, cards: Sequence[str] = ()) -> Submission:
    """Check a submission: names, counts, order, ids, labels. Raises ClueBenchError for the first mistake."""
    from clue_bench.prediction.submission.check import check_submission
    from clue_bench.prediction.submission.slots import known_slots

    folder = None if data is None else expanded(data)
    return Submission(expanded(path), check_submission(expanded(path), known=known_slots(list(cards)), data=folder))
