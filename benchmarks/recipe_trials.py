r"""Recipes at an equal budget, compared by held-out loss and by a fixed probe.

    pip install '.[benchmarks]'
    clue-bench corpus build TEXT --vocab clue-bench-tiny --out corpus
    python benchmarks/recipe_trials.py benchmarks/trials.toml --corpus corpus --data clue --out trials --seconds 600

The corpus has the vocabulary of clue-bench-tiny where a trial learns from that model, as one of trials.toml does. A
TOML file has a table per trial: the `recipe` it starts from and `set` with what it changes (as --set does), of which
what all have in common stands above the tables; perhaps `share`, the part of the budget that it gets; a `corpus` of its
own, of another vocabulary or cleaned, whose held-out loss compares with nothing; or an `objective` of objectives.py,
with its arguments in `given`. Every trial is pretrained with each pretraining seed for as many steps
as fit the budget, and judged by its held-out loss and by a probe: TNEWS', AFQMC and OCNLI with settings that suit small
models, a few fine-tuning seeds each. The budget is seconds on this machine, turned into steps by the rate of what a
trial computes, measured first, alone, in turn and kept in OUT/rates-*.json; trials that compute the same, such as two
learning rates, have one rate and so the same steps. The table says how long each took in fact, and names those that
were a tenth or more off. Where other programs want the processor too, --clock cpu takes one thread and counts its
processor time. Or --tokens, the same number for all. The same command goes on after it was stopped.

Prints a Markdown table, and writes it to OUT/trials.md: mean ± half of the 95 % interval over pretraining seeds where
there are several, and the difference to the first trial, paired by seed. Each interval stands for itself: of many
trials that change nothing, one in twenty has a difference without 0, so what looks good is run again with other seeds.
"""

import argparse
import itertools
import json
import math
import statistics
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from objectives import PREDICT_NO_TOKENS, check_teacher, pretrain_by
from scipy.stats import t as student
from side_by_side import in_one_line

import clue_bench as cb
from clue_bench.files import write_json, write_text
from clue_bench.pretraining.recipe import Recipe, load_recipe

PROBE = {
    "tnews": {"max_length": 48, "epochs": 2},
    "afqmc": {"max_length": 96, "epochs": 3},
    "ocnli": {"max_length": 96, "epochs": 3},
}
"""Settings that suit small models and take minutes; the same for every trial."""
SHARED = {"learning_rate": 5e-4, "batch_size": 32, "evaluations_per_epoch": 1, "dropout": 0.0}
WARM, TIMED = 3, 12  # steps before the clock, and on it
ROUNDS = 3
FREE = {
    "name", "title", "seed", "steps", "learning_rate", "final_learning_rate", "warmup_share", "decay_share",
    "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "initial_attention",
}  # fmt: skip
"""Keys of a recipe that do not change what a step computes, but for the numbers."""
FAR_OFF = 0.1  # of the budget


class Trial(NamedTuple):
    """What is tried: a recipe's name or file, the keys it changes, and the share of the budget that it gets."""

    name: str
    recipe: str
    changes: dict[str, Any]
    share: float
    objective: str | None = None
    given: Mapping[str, Any] = MappingProxyType({})
    corpus: str | None = None

    def pretrained(self, corpus: Path, out: Path, *, changes: dict[str, Any], steps: int, progress: bool) -> cb.Run:
        """Pretrain into `out` on the trial's own corpus or `corpus`, with further changes, or go on; return the run."""
        corpus = self.corpus_or(corpus)
        if self.objective is None:
            return cb.pretrain(
                self.recipe,
                corpus=corpus,
                out=out,
                settings=changes,
                steps=steps,
                cuda_graphs=torch.cuda.is_available(),
                progress=progress,
                tracker="none",
            )
        pretrain_by(self.objective, load_recipe(self.recipe, changes, steps=steps), corpus, out, **self.given)
        return next(run for run in cb.load_runs(out) if run.folder == out)

    def corpus_or(self, corpus: Path) -> Path:
        """Return the trial's own corpus, `corpus` if it has none."""
        return corpus if self.corpus is None else Path(self.corpus)

    def loaded(self, *, steps: int | None = None) -> Recipe:
        """Return the recipe with its changes."""
        return load_recipe(self.recipe, self.changes, steps=steps)

    def computes(self, corpus: Path) -> str:
        """Return what its steps compute, as text: trials with the same one take the same time."""
        stages = {"stage1": FREE, "stage2": FREE}
        recipe = self.loaded().model_dump(mode="json", exclude={**dict.fromkeys(FREE, True), **stages})
        what = {"recipe": recipe, "objective": self.objective, "given": dict(self.given)}
        return json.dumps({**what, "corpus": str(self.corpus_or(corpus))}, sort_keys=True)


def read_trials(path: Path) -> list[Trial]:
    """Return the trials of a TOML file, in its order. What stands above its tables holds for all of them."""
    read = tomllib.loads(path.read_text(encoding="utf-8"))
    shared, recipe = read.pop("set", {}), read.pop("recipe", None)
    return [
        Trial(
            name,
            table.get("recipe", recipe),
            {**shared, **table.get("set", {})},
            table.get("share", 1.0),
            table.get("objective"),
            table.get("given", {}),
            table.get("corpus"),
        )
        for name, table in read.items()
    ]


def seconds_per_stage_step(trial: Trial, corpus: Path) -> list[float]:
    """Return how long one step of each stage takes: the median of a few timed stretches of a short run."""
    found = []
    for stage in trial.loaded().stages:
        changes = {key: value for key, value in trial.changes.items() if not key.startswith("stage")}
        changes |= stage.model_dump(exclude={"steps"}) | {
            "held_out_share": 0.0,
            "log_every": WARM,
            "save_every": 10**6 * WARM,
        }
        with tempfile.TemporaryDirectory() as folder:
            run = trial.pretrained(corpus, Path(folder) / "run", changes=changes, steps=WARM + TIMED, progress=False)
            lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        taken = [(b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in itertools.pairwise(lines)]
        found.append(statistics.median(taken))
    return found


def measured(trials: list[Trial], corpus: Path, path: Path) -> dict[str, list[float]]:
    """Return each trial's seconds a step, by stage: the median of some rounds, in turn; `path` keeps them all."""
    known: dict[str, list[list[float]]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    first = {trial.computes(corpus): trial for trial in reversed(trials)}
    for number in range(ROUNDS):
        for what, trial in reversed(first.items()):
            if len(known.get(what, [])) <= number:
                known.setdefault(what, []).append(seconds_per_stage_step(trial, corpus))
                write_json(path, known)
    medians = {what: list(map(statistics.median, zip(*known[what], strict=True))) for what in first}
    return {trial.name: medians[trial.computes(corpus)] for trial in trials}


def steps_for(trial: Trial, per_step: list[float], *, seconds: float | None, tokens: float | None) -> int:
    """Return the steps of the whole run that fit the budget, divided among stages as the recipe does."""
    recipe = trial.loaded()
    shares = [stage.steps / recipe.total_steps for stage in recipe.stages]
    costs = per_step if tokens is None else [stage.global_batch * stage.max_length for stage in recipe.stages]
    budget = (tokens if tokens is not None else seconds) or 0.0
    return max(len(shares), round(budget * trial.share / sum(map(math.prod, zip(shares, costs, strict=True)))))


def interval(values: list[float]) -> str:
    """Return the mean, and half of its 95 % interval by Student's t where there are several values; – if not known."""
    mean = statistics.mean(values)
    if math.isnan(mean):
        return "–"
    if len(values) < 2:
        return f"{mean:.2f}"
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.2f} ± {half:.2f}"


def probe(model: cb.Run, tasks: list[str], *, data: Path, out: Path, seeds: int) -> dict[str, float]:
    """Return the mean score in percent over the fine-tuning seeds, by task."""
    scores = {}
    for task in tasks:
        runs = [
            cb.finetune(
                task,
                model,
                data=data,
                out=out / f"{task}-seed{seed}",
                seed=seed,
                settings={
                    **SHARED,
                    **PROBE[task],
                    "max_length": min(PROBE[task]["max_length"], model.settings["max_positions"]),
                },
                progress=False,
            )
            for seed in range(1, seeds + 1)
        ]
        scores[task] = 100 * statistics.mean(run.accuracy for run in runs)
    return scores


def table(trials: list[Trial], results: dict[str, list[dict[str, float]]], *, seconds: float | None = None) -> str:
    """Return the Markdown table of what is complete, and below it who was far from the budget of `seconds`."""
    done = [trial for trial in trials if results.get(trial.name)]
    first = results[done[0].name]
    columns = list(first[0])
    names = ["trial", "seeds", *columns, "loss against the first", "probe against the first"]
    lines = [f"| {' | '.join(names)} |", "|---|" + "--:|" * (len(names) - 1)]
    for trial in done:
        rows = results[trial.name]
        cells = [trial.name, str(len(rows)), *(interval([row[column] for row in rows]) for column in columns)]
        for compared in (["held-out loss"], [column for column in columns if column in PROBE]):
            is_empty = trial is done[0] or not compared
            if compared == ["held-out loss"] and row_length(trial) != row_length(done[0]):
                is_empty = True  # other rows are held out
            cells.append("" if is_empty else interval(list(_differences(rows, first, compared))))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *far_off(done, results, seconds)])


def far_off(trials: list[Trial], results: dict[str, list[dict[str, float]]], seconds: float | None) -> Iterator[str]:
    """Yield a sentence for each trial whose mean time is not the budget's: the machine was faster or slower then."""
    for trial in trials if seconds is not None else []:
        given = (seconds or 0.0) * trial.share
        taken = statistics.mean(row["seconds"] for row in results[trial.name])
        if abs(taken - given) > FAR_OFF * given:
            yield f"\n{trial.name} took {taken:,.0f} s where {given:,.0f} s were given: not an equal budget."


def row_length(trial: Trial) -> int:
    """Return how long the rows are that are held out: those of the last stage."""
    return trial.loaded().stages[-1].max_length


def _differences(rows: list[dict[str, float]], first: list[dict[str, float]], columns: list[str]) -> Iterator[float]:
    """Yield each pretraining seed's difference to the first trial, a mean over columns."""
    for row, other in zip(rows, first, strict=False):
        yield statistics.mean(row[column] - other[column] for column in columns)


def main() -> None:
    """Do what is missing, and print the table after every trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=Path, help="TOML file with a table per trial")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of CLUE's task data")
    parser.add_argument("--out", type=Path, required=True)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--seconds", type=float, help="of pretraining, on this machine")
    budget.add_argument("--tokens", type=float, help="of pretraining")
    parser.add_argument("--seeds", type=int, default=2, help="of pretraining [2]")
    parser.add_argument("--probe-seeds", type=int, default=3, help="of fine-tuning; 0 leaves the probe out [3]")
    parser.add_argument("--tasks", default=",".join(PROBE), help="of the probe [all three]")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="what counts as a second [wall]")
    given = parser.parse_args()
    tasks = given.tasks.split(",")
    if unknown := sorted(set(tasks) - set(PROBE)):
        parser.error(f"--tasks: {', '.join(unknown)}: the probe has {', '.join(PROBE)}")
    if given.clock == "cpu":
        torch.set_num_threads(1)
        time.perf_counter = time.process_time  # a hack: the engine's clock is this function
    trials = read_trials(given.trials)
    given.out.mkdir(parents=True, exist_ok=True)
    for trial in trials:
        if "teacher" in trial.given:
            check_teacher(trial.given["teacher"], trial.corpus_or(given.corpus))
    rates = {} if given.seconds is None else measured(trials, given.corpus, given.out / f"rates-{given.clock}.json")
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(1, given.seeds + 1):
        for trial in trials:
            steps = steps_for(trial, rates.get(trial.name, []), seconds=given.seconds, tokens=given.tokens)
            started = time.perf_counter()
            folder = given.out / f"{trial.name}-seed{seed}"
            run = trial.pretrained(
                given.corpus, folder, changes={**trial.changes, "seed": seed}, steps=steps, progress=True
            )
            found = run.record.completed_results
            is_comparable = trial.objective not in PREDICT_NO_TOKENS and trial.corpus is None
            row = {
                "seconds": found.seconds,
                "M tokens": run.record.model.pretraining_tokens / 1e6,
                "held-out loss": found.held_out_loss if is_comparable else math.nan,
                "held-out accuracy": 100 * found.held_out_accuracy if is_comparable else math.nan,
            }
            if given.probe_seeds:
                row |= probe(run, tasks, data=given.data, out=folder / "probe", seeds=given.probe_seeds)
            results.setdefault(trial.name, []).append(row)
            text = table(trials, results, seconds=given.seconds)
            write_text(given.out / "trials.md", f"{text}\n")
            print(f"{trial.name}, seed {seed}: {steps:,} steps, {time.perf_counter() - started:,.0f} s", flush=True)
    print(f"{text}\n\n{given.out / 'trials.md'}")


if __name__ == "__main__":
    in_one_line(main)
