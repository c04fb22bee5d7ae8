"""Write the zip: the same predictions give the same bytes. No torch."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from clue_bench import files
from clue_bench.errors import ClueBenchError
from clue_bench.prediction.submission.check import SubmissionCheck, check_submission
from clue_bench.prediction.submission.runs import RunSubmission, SubmissionLine
from clue_bench.prediction.submission.slots import ONE_OBJECT, Slot
from clue_bench.tasks.task import Kind

EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can state; no clock, so that the same predictions give the same bytes
UNIX = 3  # the system that a zip says it was made on, whatever it was


def write_submission(
    out: Path, runs: Sequence[RunSubmission], *, known: dict[str, Slot], data: Path | None
) -> SubmissionCheck:
    """Write the predictions of `runs`, at most one per task, as a zip; the same predictions give the same bytes.

    Raises ClueBenchError, and keeps an earlier zip, if two runs are of one task or a prediction is not valid.
    """
    of_task: dict[str, RunSubmission] = {}
    for run in runs:
        other = of_task.setdefault(run.task, run)
        if other is not run:
            raise ClueBenchError(f"{other.folder} and {run.folder} are both runs of {run.task}", "give one of them")
    texts = {name: _text(lines, known[name].task.kind) for run in runs for name, lines in run.files.items()}
    with files.replacing(out) as temporary:
        _write_zip(temporary, texts)
        try:
            return check_submission(temporary, known=known, data=data, called=out)
        except ClueBenchError as error:
            raise ClueBenchError(f"no zip was written: {error.message}", error.hint) from error


def _text(lines: Sequence[SubmissionLine], kind: Kind) -> str:
    """Return a file of the submission: JSON Lines, or one object of answers found in passages."""
    if kind in ONE_OBJECT:
        return json.dumps({str(line.id): line.label for line in lines}, ensure_ascii=False) + "\n"
    return "".join(json.dumps(line._asdict(), ensure_ascii=False) + "\n" for line in lines)


def _write_zip(path: Path, texts: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in sorted(texts.items()):
            member = zipfile.ZipInfo(name, date_time=EARLIEST)
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, UNIX
            member.external_attr = 0o644 << 16
            archive.writestr(member, text.encode())
