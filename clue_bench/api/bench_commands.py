"""The missing runs of a benchmark as commands, one each, for a scheduler that starts them on many machines.

Input: the arguments of `bench`. Output: a `clue-bench finetune` for every run that is neither complete nor being done
by a process, which writes the folder that `bench` would; nothing is run. `bench` itself then finds them complete.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clue_bench import files
from clue_bench.api.bench_plan import PlannedSweep, plan_lines
from clue_bench.api.bench_request import Asked, cells_of, opened, planned_sweep
from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, as_reference
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import typed
from clue_bench.tables import Column, Shown, Table, make_table

if TYPE_CHECKING:
    from clue_bench.finetuning.grid import Grid
    from clue_bench.finetuning.sweep import Planned


class MissingRun(NamedTuple):
    """A run that is to be done; `status` is "" or that of the record that is there.

    `gpus` is how much of a GPU it fills, where there is one.
    """

    task: str
    model: str
    seed: int
    settings: dict[str, Any]
    status: str
    run_id: str
    command: str
    gpus: float


@dataclass(frozen=True, repr=False)
class BenchPlan(Shown):
    """The runs of a benchmark that are to be done. `is_complete`: none will follow once the best settings are known."""

    missing: tuple[MissingRun, ...]
    is_complete: bool

    @property
    def commands(self) -> list[str]:
        """Return a command for each run, as a shell reads it."""
        return [run.command for run in self.missing]

    @property
    def tables(self) -> tuple[Table, ...]:
        """One table, with a row for each run."""
        rows = [(run.task, run.model, str(run.seed), run.status or "to do", run.command) for run in self.missing]
        return (make_table("Runs to do", ["task", "model", "seed", Column("state", is_words=True), "command"], rows),)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"is_complete": self.is_complete, "runs": [run._asdict() for run in self.missing]}


def plan_bench(
    models: "str | Path | Run | Sequence[str | Path | Run]",
    tasks: str | Sequence[str] | None = None,
    *,
    data: Path | str = "data",
    text: Sequence[str] | None = None,
    label: str | None = None,
    out: Path | str = "runs",
    seeds: int | Sequence[int] = 3,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    search: bool = False,
    grid: "Grid | None" = None,
    retry_failed: bool = False,
    model_names: Sequence[str] = (),
    progress: bool = True,
) -> BenchPlan:
    """Return a command for every run that `bench` with the same arguments would do; run nothing.

    They can be started in any order, on machines that see the same folders. With `search` or `grid`, the best setting's
    other seeds are there once the settings have been tried: ask again then. Raises ClueBenchError as `bench` does.
    """
    given = [models] if isinstance(models, str | Path | Run) else list(models)
    references = [str(as_reference(model, "model")) for model in given]
    asked = Asked.of(
        out, seeds=seeds, settings=settings, steps=steps, search=search, grid=grid, retry_failed=retry_failed,
        show=Progress(progress),
    )  # fmt: skip
    named = [(reference, name) for reference, name in zip(references, model_names or [""] * len(given), strict=False)]
    with opened(given, tasks, asked, data=data, text=text, label=label, model_names=model_names) as (jobs, starts):
        if len(starts) != len(given):
            raise ClueBenchError("a model is given twice", "give every model once")
        cells = cells_of(jobs, starts)
        sweeps = [planned_sweep(cell, asked) for cell in cells]
        asked.show.notes(plan_lines(sweeps, seeds=asked.seeds, retry_failed=retry_failed))
        rows = ["--data", str(data), *_columns(text), *(["--label", label] if label else [])]
        missing = []
        for number, sweep in enumerate(sweeps):
            (reference, name), job = named[number % len(starts)], jobs[number // len(starts)]
            words = ["clue-bench", "finetune", "--model", reference, *(["--name", name] if name else [])]
            task = job.asked if isinstance(job.asked, str) else job.given.card.name  # a card's file, as it was given
            words += [*([] if job.asked is None else ["--task", task]), *rows]
            missing += [_missing(sweep, run, words, asked.out) for run in _to_do(sweep, asked)]
    is_complete = all(_is_decided(sweep) for sweep in sweeps)
    if not is_complete:
        asked.show.note("the best setting's other seeds follow: ask again when these runs are done")
    return BenchPlan(tuple(missing), is_complete)


def _columns(text: Sequence[str] | None) -> list[str]:
    columns = [text] if isinstance(text, str) else list(text or ())
    return [word for option, column in zip(("--text", "--text2"), columns, strict=False) for word in (option, column)]


def _is_decided(sweep: PlannedSweep) -> bool:
    """Return whether it is known which setting gets the other seeds."""
    points = [run.status for run in sweep.runs[: sweep.num_points]]
    return sweep.num_points == 1 or ("completed" in points and not {"", "interrupted"} & set(points))


def _to_do(sweep: PlannedSweep, asked: Asked) -> "list[Planned]":
    """Return the runs to start; not those that a process is doing at the moment."""
    states = {"", "interrupted", *(["failed"] if asked.retry_failed else [])}
    known = sweep.runs if _is_decided(sweep) else sweep.runs[: sweep.num_points]
    return [run for run in known if run.status in states and not files.is_held(asked.lock_of(run.plan.run_id))]


def _missing(sweep: PlannedSweep, run: "Planned", words: list[str], out: Path) -> MissingRun:
    from clue_bench.finetuning.workers import runs_a_gpu

    run_id, seed = run.plan.run_id, run.plan.seed
    sets = [word for key, value in run.point.items() for word in ("--set", f"{key}={_exactly(value)}")]
    command = shlex.join([*words, "--seed", str(seed), *sets, "--out", str(out / run_id)])
    gpus = 1 / runs_a_gpu(run.plan)
    return MissingRun(sweep.task, sweep.model, seed, dict(run.point), run.status, run_id, command, gpus)


def _exactly(value: Any) -> str:
    text = typed(value)
    return repr(value) if isinstance(value, float) and float(text) != value else text
