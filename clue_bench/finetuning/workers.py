"""Do the runs of a sweep in parallel, each in a process with some of the cores, or with a GPU of its own.

Input: runs of one model on one task. Output: their reports as they come, and their records.

A step of a small model has too little work for two cores: one of them mostly waits. Two runs with a core each end
sooner than one after the other with both. A worker is started once, reads the model once, tokenises once, and does one
run after the other.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.records import FinetuneRecord, FolderInUseError
from clue_bench.errors import ClueBenchError, Interrupted
from clue_bench.finetuning.base_models.pretrained import Untrained
from clue_bench.finetuning.encode import Encodings
from clue_bench.finetuning.run import Plan
from clue_bench.finetuning.settings import Settings
from clue_bench.finetuning.train import FinetuningReport
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import Task
from clue_bench.training import hardware
from clue_bench.training.spawning import hidden_script

MAX_WORKERS = 8  # each holds a model, its gradients and moments
MAX_HIDDEN = 512  # a step of wider models keeps two cores busy
MIN_UPDATES = 100  # a worker needs seconds to start
RUNS_A_GPU = 4  # of narrower models


class RunRequest(NamedTuple):
    """One run to do."""

    plan: Plan
    folder: Path
    asked: dict[str, Any]
    retry_failed: bool
    needs_weights: bool = False  # a run whose weights were dropped is repeated


class Message(NamedTuple):
    """About the request of this number: a report, the record that ends it, or the error that prevents it."""

    number: int
    what: FinetuningReport | FinetuneRecord | ClueBenchError


DoRun = Callable[[RunRequest, Encodings], Generator[FinetuningReport, None, FinetuneRecord]]
"""Does one run and returns its record, whatever the outcome."""


@dataclass(frozen=True)
class _Shared:
    """What all requests have in common, and a worker reads once."""

    model: Path
    is_untrained: bool
    provenance: dict[str, Any]  # holds the name that the model was given, which its folder need not know
    task: Task
    rows: dict[str, Rows]
    data: Path
    threads: int


class _Job(NamedTuple):
    """A request without what is shared."""

    number: int
    settings: Settings
    seed: int
    run_id: str
    folder: Path
    asked: dict[str, Any]
    retry_failed: bool
    needs_weights: bool


def num_workers(plans: Sequence[Plan]) -> int:
    """Return how many of these runs to do in parallel: one or several a GPU; on CPUs, 1 for wide and for short ones."""
    import torch

    if len(plans) < 2:
        return 1
    if hardware.pick_device().type == "cuda":
        return min(torch.cuda.device_count() * runs_a_gpu(plans[0]), len(plans))
    if plans[0].start.sizes.hidden_size > MAX_HIDDEN or min(plan.total_steps for plan in plans) < MIN_UPDATES:
        return 1
    return min(torch.get_num_threads(), len(plans), MAX_WORKERS)


def runs_a_gpu(plan: Plan) -> int:
    """Return how many runs of this size share a GPU: the kernels of narrow models are too small to fill one."""
    return 1 if plan.start.sizes.hidden_size > MAX_HIDDEN else RUNS_A_GPU


def side_by_side(requests: Sequence[RunRequest], *, workers: int, do: DoRun) -> Iterator[Message]:
    """Do the requests, which share task, model and rows, in several processes; yield their news.

    `do` is a function of a module. The processes end with the iteration; one that dies leaves a message with an error.
    """
    import torch

    if not requests:
        return
    first = requests[0].plan
    shared = _Shared(
        model=first.start.folder,
        is_untrained=isinstance(first.start, Untrained),
        provenance=first.start.provenance,
        task=first.task,
        rows=first.rows,
        data=first.data,
        threads=max(1, torch.get_num_threads() // workers),
    )
    waiting = deque(
        _Job(number, plan.settings, plan.seed, plan.run_id, folder, asked, retry_failed, needs_weights)
        for number, (plan, folder, asked, retry_failed, needs_weights) in enumerate(requests)
    )
    with _processes(min(workers, len(requests)), shared, do) as connections:
        busy = {connection: _send_next(connection, waiting) for connection in connections}
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                message = _receive(connection, busy[connection])
                yield message
                if isinstance(message.what, FinetuningReport):
                    continue
                has_died = isinstance(message.what, ClueBenchError) and not isinstance(message.what, FolderInUseError)
                if has_died or not waiting:
                    del busy[connection]
                else:
                    busy[connection] = _send_next(connection, waiting)
        for job in waiting:  # every worker that could do them has died
            yield Message(job.number, ClueBenchError("every worker process has died", "type the same command again"))


@contextmanager
def _processes(number: int, shared: _Shared, do: DoRun) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads, half alive
    connections: list[Connection] = []
    started: list[BaseProcess] = []
    try:
        for index in range(number):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs, shared, do, index), daemon=True)
            with hidden_script():
                process.start()
            theirs.close()
            connections.append(ours)
            started.append(process)
        yield connections
    finally:
        for process in started:
            process.terminate()
        for connection, process in zip(connections, started, strict=True):
            connection.close()
            process.join()


def _send_next(connection: Connection, waiting: deque[_Job]) -> int:
    job = waiting.popleft()
    connection.send(job)
    return job.number


def _receive(connection: Connection, number: int) -> Message:
    try:
        what = connection.recv()
    except (EOFError, ConnectionError):
        what = ClueBenchError(
            "its process was ended from outside",
            "set OMP_NUM_THREADS=1 if memory is short: then there is one process at a time",
        )
    return Message(number, what)


def _work(connection: Connection, shared: _Shared, do: DoRun, index: int) -> None:
    """Be worker number `index`: do jobs until the other side is gone."""
    import torch

    from clue_bench.finetuning.base_models.opening import open_pretrained
    from clue_bench.finetuning.base_models.pretrained import untrained

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who started this ends it
    os.environ["OMP_NUM_THREADS"] = str(shared.threads)
    os.environ["LOCAL_RANK"] = str(index)  # by which a process picks its GPU
    torch.set_num_threads(shared.threads)
    found = open_pretrained(shared.model)
    start = replace(untrained(found) if shared.is_untrained else found, provenance=shared.provenance)
    encodings = Encodings()
    with suppress(EOFError, ConnectionError, Interrupted):
        while True:
            job: _Job = connection.recv()
            plan = Plan(shared.task, start, job.settings, job.seed, shared.rows, shared.data)
            assert plan.run_id == job.run_id, "the checkpoint has changed since the sweep began"
            request = RunRequest(plan, job.folder, job.asked, job.retry_failed, job.needs_weights)
            _do(connection, request, do, encodings)


def _send(connection: Connection, report: FinetuningReport, reports: Iterator[FinetuningReport]) -> None:
    """Send a report; if nobody is there any more, let the run save what it has and stop. Raises ConnectionError."""
    try:
        connection.send(report)
    except ConnectionError:
        signal.raise_signal(signal.SIGTERM)
        deque(reports, maxlen=0)
        raise


def _do(connection: Connection, request: RunRequest, do: DoRun, encodings: Encodings) -> None:
    reports = do(request, encodings)
    while True:
        try:
            _send(connection, next(reports), reports)
        except StopIteration as end:
            connection.send(end.value)
            return
        except ClueBenchError as error:
            connection.send(error)
            return
