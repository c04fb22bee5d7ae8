"""The missing runs of a benchmark on the machines of a Ray cluster.

Input: the arguments of `plan_bench`. Output: the folders that the plan's commands write, which `bench` finds complete.
A task of Ray's is one command, typed in the folder that this process works in, for all machines see the same files.
Where a worker or a machine dies, its command ends with it; Ray starts it elsewhere, and the run goes on from its state.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.api.bench_commands import MissingRun, plan_bench
from clue_bench.api.progress import Progress
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted

RETRIES = 5
"""Workers or machines that may die under one run before it is given up."""

# Linux kills a command when the worker that started it is gone; else it would hold the run's folder for ever.
_TYPED = """
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
os.execv(sys.executable, [sys.executable, "-m", "clue_bench", *sys.argv[1:]])
"""


class Ended(NamedTuple):
    """The exit code of a command, and what it said last."""

    code: int
    words: str


def run_on_ray(models: Any, tasks: Any, *, show: Progress, retry_failed: bool, **given: Any) -> None:
    """Do the runs that `bench` would do, each by a worker of the cluster, a core or its share of a GPU for each.

    What has failed is a record, as always. Raises ClueBenchError if there is no cluster, or a run has left no record.
    """
    said: dict[str, str] = {}  # last by the commands that were tried
    with _joined_cluster() as ray:
        while True:
            again = retry_failed and not said
            missing = plan_bench(models, tasks, retry_failed=again, progress=False, **given).missing
            new = [run for run in missing if run.run_id not in said]  # a searched setting's other seeds follow later
            if not new:
                break
            show.note(f"{counted(len(new), 'run')} on the Ray cluster of {counted(len(ray.nodes()), 'machine')}")
            said |= _do(ray, new, show)
    if missing:
        what = f"{counted(len(missing), 'run')} without a result: {missing[0].run_id}: {said[missing[0].run_id]}"
        raise ClueBenchError(what, "type the same command again")


@contextmanager
def _joined_cluster() -> Iterator[Any]:
    """Give Ray, which has joined the cluster; what it prints goes to stderr, for stdout is the result's."""
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise ClueBenchError("--engine ray: Ray is not installed", "run pip install 'clue-bench[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    with redirect_stdout(sys.stderr):
        try:
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        except ConnectionError as error:
            raise ClueBenchError(
                "--engine ray: no Ray cluster is known here",
                "run ray start --head on one machine, ray start --address=HOST:6379 on the others; or set RAY_ADDRESS",
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def _do(ray: Any, missing: list[MissingRun], show: Progress) -> dict[str, str]:
    """Do the runs; return what the command of each said last."""
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    said = {}
    with show.bar("bench", len(missing), count=True) as bar:
        pending = {}
        for run in missing:
            needs = {"num_gpus": run.gpus} if has_gpus else {"num_cpus": 1}
            task = ray.remote(max_retries=RETRIES, **needs)(_run_command)
            pending[task.remote(run.command, str(Path.cwd()))] = run
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            run = pending.pop(ready)
            try:
                ended = ray.get(ready)
            except ray.exceptions.RayError as error:
                ended = Ended(1, f"{type(error).__name__}: {RETRIES + 1} workers have died under it")
            said[run.run_id] = ended.words
            if ended.code:
                show.note(f"failed: {run.run_id}: {ended.words}")
            bar.update(len(missing) - len(pending), f"{run.task}, {run.model}, seed {run.seed}")
    return said


def _run_command(command: str, folder: str) -> Ended:
    """Run a command of the plan in `folder`."""
    words = [sys.executable, "-c", _TYPED, *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines()
    errors = [line for line in said if line.startswith("error: ")]
    return Ended(done.returncode, (errors or said or ["it said nothing"])[-1].removeprefix("error: "))
