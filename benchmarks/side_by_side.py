"""Two or more toolkits on one machine, in turn.

Input: a command per side, each of which starts a worker and stays in memory; questions to ask it. Output: the answers
of every round, and medians with their range. Each side has a process of its own, so that what one tells the C library
about memory, or loads, cannot help or hurt the other; only one works at a time. The order turns round with every
round: noise that lasts hits all of them.

A worker reads a question a line and answers with one line of JSON (`answer`). Its last answer, to END, is the most
memory that it has held.
"""

import argparse
import fcntl
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from clue_bench.errors import STOPPED, ClueBenchError, Interrupted
from clue_bench.training import hardware

CLUE_BENCH = [sys.executable, "-m", "clue_bench"]
READY, END = "ready", "end"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""Seconds by which to measure. Those of the processor, with one thread, do not count what others do on the machine."""


def in_one_line(main: Callable[[], None]) -> None:
    """Call a script's `main`; let its errors and interruptions end it as those of `clue-bench`: in a line or two."""
    try:
        main()
    except Interrupted as interruption:
        print(f"{interruption.message}\nhint: {interruption.hint}", file=sys.stderr)
        sys.exit(STOPPED)
    except ClueBenchError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(1)


Answers = dict[tuple[str, str], list[Any]]
"""What each side said to each question, a value per round."""


class Side:
    """A worker process. Ends with the block."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self._hear()  # that it is ready
        except BaseException:
            self.close()
            raise

    def ask(self, question: str) -> Any:
        """Return the worker's answer. Ends this program if the worker has ended, which has said why."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: ended with code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.communicate()


def answer(questions: dict[str, Callable[[], Any]]) -> None:
    """Be the worker: answer what comes on stdin until END."""
    print(json.dumps(READY), flush=True)
    for line in sys.stdin:
        question = line.strip()
        if question == END:
            print(json.dumps(hardware.peak_memory_mib()), flush=True)
            return
        print(json.dumps(questions[question]()), flush=True)


def alternate(sides: Sequence[Side], questions: Sequence[str], *, rounds: int, lock: Path | None = None) -> Answers:
    """Ask every side every question in turn, so many rounds after one that warms up; then how much memory it held.

    A `lock` is held all the while, for machines on which others measure too.
    """
    found: Answers = {(side.name, question): [] for side in sides for question in (*questions, END)}
    with held(lock):
        for number in range(rounds + 1):
            for side in sides if number % 2 else reversed(sides):
                for question in questions:
                    value = side.ask(question)
                    if number:
                        found[side.name, question].append(value)
                        said = f"{side.name}, {question}: {str(value)[:60]}"
                        print(f"round {number}: {said}", file=sys.stderr, flush=True)
    for side in sides:
        found[side.name, END].append(side.ask(END))
    return found


def parser(description: str | None, *, workers: Iterable[str], rows: str) -> argparse.ArgumentParser:
    """Return the arguments of a benchmark of tasks; `rows` says whose rows --rows counts."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", action="append", required=True)
    made.add_argument("--data", type=Path, required=True)
    made.add_argument("--tasks", nargs="+", default=["afqmc", "tnews", "cmnli", "iflytek"])
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--rows", type=int, default=512, help=rows)
    made.add_argument("--ours", type=int, default=4, help="how many times as many are ours")
    made.add_argument("--clock", choices=CLOCKS, default="wall")
    made.add_argument("--lock", type=Path, help="file to lock during each measurement")
    made.add_argument("--worker", choices=list(workers), help=argparse.SUPPRESS)
    return made


def measure(
    script: str,
    asked: argparse.Namespace,
    *,
    task: str,
    model: Path,
    workers: Iterable[str],
    questions: Sequence[str],
    more: Sequence[str] = (),
) -> Answers:
    """Start `script` as each of the workers, for one task and model, and ask them in turn.

    They are given --data, --rows, --ours and --clock as asked, and what `more` names (`parser` and its caller's own).
    """
    given = [f"--{name.replace('_', '-')}={getattr(asked, name)}" for name in ("data", "rows", "ours", "clock", *more)]
    command = [script, f"--model={model}", f"--tasks={task}", *given]
    with ExitStack() as stack:
        sides = [stack.enter_context(Side(name, [*command, f"--worker={name}"])) for name in workers]
        return alternate(sides, questions, rounds=asked.rounds, lock=asked.lock)


def cells(found: Answers, question: str) -> list[str]:
    """Return the medians of all sides, the first one's ratios to the others, and what memory each held."""
    names = list(dict.fromkeys(name for name, _ in found))
    speeds = [found[name, question] for name in names]
    ratios = [ratio(speeds[0], peer) for peer in speeds[1:]]
    memory = " / ".join(f"{found[name, END][0]:,}" for name in names)
    return [*(f"{statistics.median(values):,.1f}" for values in speeds), *ratios, memory]


def ratio(ours: Sequence[float], peer: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, with the smallest and the largest."""
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    return f"{statistics.median(ratios):.2f}× ({min(ratios):.2f}–{max(ratios):.2f})"


@contextmanager
def sampled(read: Callable[[], float], *, seconds: float) -> Iterator[list[float]]:
    """Yield a list that grows by what `read` returns, every so many seconds while the block runs."""
    values = [0.0]
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(seconds):
            values.append(read())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield values
    finally:
        ended.set()
        thread.join()


@contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """Hold the lock on a file, if there is one."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
