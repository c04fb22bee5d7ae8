"""Runs of a sweep side by side, each in a process with some of the cores.

Input: runs of one model on one task. Output: their reports as they come, and their records.

A step of a small model has too little in it for two cores: much of it is work that one core does while the other waits.
Two runs, a core each, end sooner than one after the other with both cores. A worker is started once, reads the model
once, tokenises once, and does one run after the other.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.records import FinetuneRecord
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.pretrained import Untrained
from clue_bench.finetuning.encode import Encodings
from clue_bench.finetuning.run import Plan
from clue_bench.finetuning.settings import Settings
from clue_bench.finetuning.train import FinetuningReport
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import Task
from clue_bench.training import hardware

MAX_WORKERS = 8  # each holds a model, its gradients and moments
MAX_HIDDEN = 512  # of wider models a step fills two cores
MIN_UPDATES = 100  # a worker needs seconds to start


class Order(NamedTuple):
    """One run that is wanted."""

    plan: Plan
    folder: Path
    asked: dict[str, Any]
    retry_failed: bool


class News(NamedTuple):
    """What a worker says of the order of this number: a report, the record that ends it, or why it cannot be."""

    number: int
    what: FinetuningReport | FinetuneRecord | ClueBenchError


Doing = Callable[[Order, Encodings], Generator[FinetuningReport, None, FinetuneRecord]]
"""Does one run; returns its record, whatever came of it."""


@dataclass(frozen=True)
class _Shared:
    """What all orders have in common, and a worker reads once."""

    model: Path
    is_untrained: bool
    task: Task
    rows: dict[str, Rows]
    data: Path
    threads: int


class _Errand(NamedTuple):
    """An order without what is shared."""

    number: int
    settings: Settings
    seed: int
    run_id: str
    folder: Path
    asked: dict[str, Any]
    retry_failed: bool


def num_workers(plans: Sequence[Plan]) -> int:
    """Return how many of these runs to do side by side here: 1 on a GPU, for wide models and for short runs."""
    import torch

    if len(plans) < 2 or hardware.pick_device().type != "cpu":
        return 1
    if plans[0].start.sizes.hidden_size > MAX_HIDDEN or min(plan.total_steps for plan in plans) < MIN_UPDATES:
        return 1
    return min(torch.get_num_threads(), len(plans), MAX_WORKERS)


def side_by_side(orders: Sequence[Order], *, workers: int, do: Doing) -> Iterator[News]:
    """Do the orders, which share task, model and rows, with so many processes; yield what they say.

    `do` is a function of a module. Ends the processes with the iteration. A process that dies is news of an error.
    """
    import torch

    if not orders:
        return
    first = orders[0].plan
    shared = _Shared(
        model=first.start.folder,
        is_untrained=isinstance(first.start, Untrained),
        task=first.task,
        rows=first.rows,
        data=first.data,
        threads=max(1, torch.get_num_threads() // workers),
    )
    waiting = deque(
        _Errand(n, o.plan.settings, o.plan.seed, o.plan.run_id, o.folder, o.asked, o.retry_failed)
        for n, o in enumerate(orders)
    )
    with _processes(min(workers, len(orders)), shared, do) as lines:
        busy = {line: _send_next(line, waiting) for line in lines}
        while busy:
            for line in wait(list(busy)):
                assert isinstance(line, Connection)
                news = _heard(line, busy[line])
                yield news
                if isinstance(news.what, FinetuningReport):
                    continue
                has_died = isinstance(news.what, ClueBenchError)
                if has_died or not waiting:
                    del busy[line]
                else:
                    busy[line] = _send_next(line, waiting)
        for errand in waiting:  # whoever would have done them has died
            yield News(errand.number, ClueBenchError("no worker is left", "type the same command again"))


@contextmanager
def _processes(number: int, shared: _Shared, do: Doing) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads, half alive
    lines: list[Connection] = []
    started: list[BaseProcess] = []
    try:
        for _ in range(number):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs, shared, do), daemon=True)
            process.start()
            theirs.close()
            lines.append(ours)
            started.append(process)
        yield lines
    finally:
        for process in started:
            process.terminate()
        for line, process in zip(lines, started, strict=True):
            line.close()
            process.join()


def _send_next(line: Connection, waiting: deque[_Errand]) -> int:
    errand = waiting.popleft()
    line.send(errand)
    return errand.number


def _heard(line: Connection, number: int) -> News:
    try:
        what = line.recv()
    except (EOFError, ConnectionError):
        what = ClueBenchError(
            "its process was ended from outside", "short of memory? OMP_NUM_THREADS=1 has one at a time"
        )
    return News(number, what)


def _work(line: Connection, shared: _Shared, do: Doing) -> None:
    """Be a worker: do errands until the other side is gone."""
    import torch

    from clue_bench.finetuning.base_models.pretrained import open_pretrained, untrained

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who started this ends it
    os.environ["OMP_NUM_THREADS"] = str(shared.threads)
    torch.set_num_threads(shared.threads)
    found = open_pretrained(shared.model)
    start = untrained(found) if shared.is_untrained else found
    encodings = Encodings()
    with suppress(EOFError, ConnectionError):
        while True:
            errand: _Errand = line.recv()
            plan = Plan(shared.task, start, errand.settings, errand.seed, shared.rows, shared.data)
            assert plan.run_id == errand.run_id, "the checkpoint has changed since the sweep began"
            _do(line, Order(plan, errand.folder, errand.asked, errand.retry_failed), do, encodings)


def _do(line: Connection, order: Order, do: Doing, encodings: Encodings) -> None:
    reports = do(order, encodings)
    while True:
        try:
            line.send(next(reports))
        except StopIteration as end:
            line.send(end.value)
            return
        except ClueBenchError as error:
            line.send(error)
            return
