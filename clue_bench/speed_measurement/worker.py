"""The process that does one measurement of one model, so that its peak of memory is its own; both of its ends.

Input on stdin: a job, one line of JSON, then a line for every repetition. Output on stdout, one line of JSON each:
what was decided while warming up, then each repetition, then, when stdin ends, the facts again and the memory. A job
that fails writes {"error": …, "hint": …} and ends with exit code 1. Messages of libraries go to stderr. `Worker` is
the end that asks.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from clue_bench.errors import ClueBenchError
from clue_bench.training import hardware

if TYPE_CHECKING:
    from clue_bench.speed_measurement.finetuning import FinetuningClock, PredictionClock
    from clue_bench.speed_measurement.training import TrainingClock


class Worker:
    """The process that does one measurement of one model."""

    def __init__(self, job: dict[str, Any], name: str) -> None:
        """Start it; it begins to warm up."""
        self._name = f"{name}, {job['measurement']}"
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed at the exit
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clue_bench.speed_measurement.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            encoding="utf-8",
        )
        self._write(json.dumps(job))

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died; `answer` says of what
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for its next answer. Raises ClueBenchError if it failed or died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._messages.seek(0)
            last = self._messages.read().decode(errors="replace").strip().rpartition("\n")[2]
            reason = last or ("killed, perhaps because memory ran out" if code < 0 else "no message")
            raise ClueBenchError(f"{self._name}: ended with {code}: {reason}", "measure fewer or smaller models")
        value: dict[str, Any] = json.loads(line)
        if "error" in value:
            raise ClueBenchError(f"{self._name}: {value['error']}", value["hint"])
        return value

    def repetition(self) -> dict[str, Any]:
        """Have it measure once."""
        self._write("")
        return self.answer()

    def end(self) -> dict[str, Any]:
        """End it; return its facts, with what became better known since, and its peaks of memory."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        self._process.kill()
        self._process.wait()
        self._messages.close()


def open_clock(job: dict[str, Any]) -> "TrainingClock | FinetuningClock | PredictionClock":
    """Return the clock of a job, warmed up. Raises ClueBenchError."""
    from clue_bench.cards import decode
    from clue_bench.doors.shards import Corpus
    from clue_bench.finetuning.base_models.opening import open_pretrained
    from clue_bench.pretraining.recipe import Recipe
    from clue_bench.speed_measurement.finetuning import FinetuningClock, PredictionClock
    from clue_bench.speed_measurement.training import TrainingClock
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    if job["measurement"] == "training":
        recipe = decode(Recipe, job["recipe"], where=f"recipe {job['recipe']['name']}")
        corpus = Corpus.open(Path(job["corpus"]))
        return TrainingClock(recipe, corpus, seconds=job["seconds"], folder=Path(job["folder"]))
    task = load_task(job["task"])
    base, rows = open_pretrained(job["model"]), read_split(task, "train", Path(job["data"]))
    kind = FinetuningClock if job["measurement"] == "finetuning" else PredictionClock
    return kind(base, task, rows, seconds=job["seconds"])


def resident_peak_mib() -> int:
    """Return the largest resident size of this process, in MiB.

    Linux counts in what getrusage reports the size of the process that started this one; VmHWM begins anew.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return hardware.peak_memory_mib()
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 2**10
    return hardware.peak_memory_mib()


def main() -> None:
    """Do the job on stdin."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        clock = open_clock(json.loads(sys.stdin.readline()))
        answer({"facts": clock.facts, "hardware": hardware.describe_hardware()})
        for _ in sys.stdin:
            answer(clock.repetition()._asdict())
        import torch

        from clue_bench.speed_measurement.training import TrainingClock

        device = torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else None
        memory = {"resident_mib": resident_peak_mib(), "device_mib": device}
        if isinstance(clock, TrainingClock):
            clock.measure_ceiling()  # a machine that was busy at first may be quiet now
        answer({"facts": clock.facts, "memory": memory})
    except ClueBenchError as error:
        answer({"error": error.message, "hint": error.hint})
        sys.exit(1)


if __name__ == "__main__":
    main()
