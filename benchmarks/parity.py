"""Is a fine-tuned score of ours worse than the Trainer's? Seeds of both, in turn, and the difference.

    python benchmarks/parity.py --model runs/tiny --data clue --tasks afqmc tnews --seeds 3 --out parity

Runs `clue-bench finetune` and `benchmarks/finetune_trainer.py` with the same rows, hyper-parameters and looks at dev,
each in a process of its own (which takes OMP_NUM_THREADS from here), the Trainer first with every other seed. Prints
mean and standard deviation over seeds of the highest dev accuracy of all looks, by the same rule on both sides (a
record's own best passes over looks at which all predictions are one class), the difference of the means with its 95 %
interval (Welch's t), and medians of rows per second in training (without looking and saving) and in looking at dev.
What is there already is not run again.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import t as student

from clue_bench.doors.records import FinetuneRecord, parse_record

OURS, PEER = "ours", "Trainer"
PREDICTING = "evaluation_rows_per_second"


class Result(NamedTuple):
    """One run: the highest dev accuracy, and rows per second in training and in prediction (None: not measured)."""

    accuracy: float
    training: float
    predicting: float | None


def ours(asked: argparse.Namespace, task: str, seed: int) -> Result:
    """Return the result of one run of ours."""
    command = [sys.executable, "-m", "clue_bench", "finetune", "--json"]
    record = parse_record(_output(command, asked, task, seed, out=asked.out / f"ours-{task}-s{seed}"))
    assert isinstance(record, FinetuneRecord)
    return _result(record.completed_results.model_dump())


def peer(asked: argparse.Namespace, task: str, seed: int) -> Result:
    """Return the result of one run of the Trainer."""
    command = [sys.executable, str(Path(__file__).with_name("finetune_trainer.py"))]
    return _result(_output(command, asked, task, seed, out=asked.out / f"trainer-{task}-s{seed}"))


def _result(results: dict[str, Any]) -> Result:
    best = max(look["accuracy"] for look in results["evaluations"])
    return Result(best, results["train_rows_per_second"], results.get(PREDICTING))


def _output(command: list[str], asked: argparse.Namespace, task: str, seed: int, *, out: Path) -> dict[str, Any]:
    """Run a command with a run's arguments; return the JSON that it prints. Ends this program if it fails."""
    arguments = ["--task", task, "--model", asked.model, "--data", str(asked.data), "--seed", str(seed)]
    arguments += ["--out", str(out), *(f"--set={setting}" for setting in asked.set)]
    done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)  # it has said why
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_task(asked: argparse.Namespace, task: str) -> dict[str, list[Result]]:
    """Return the results of both sides, a seed each."""
    sides = {OURS: ours, PEER: peer}
    found: dict[str, list[Result]] = {OURS: [], PEER: []}
    for seed in range(1, asked.seeds + 1):
        for name in (OURS, PEER) if seed % 2 else (PEER, OURS):
            print(f"{task}, seed {seed}, {name}", file=sys.stderr)
            found[name].append(sides[name](asked, task, seed))
    return found


def difference(a: list[float], b: list[float]) -> str:
    """Return mean(a) - mean(b) with the bounds of its 95 % interval, where seeds allow one."""
    middle = statistics.fmean(a) - statistics.fmean(b)
    if min(len(a), len(b)) < 2:
        return f"{middle:+.2f}"
    parts = [statistics.variance(side) / len(side) for side in (a, b)]
    if not sum(parts):
        return f"{middle:+.2f}"
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    half = float(student.ppf(0.975, freedom)) * math.sqrt(sum(parts))
    return f"{middle:+.2f} ({middle - half:+.2f} to {middle + half:+.2f})"


def spread(values: list[float]) -> str:
    """Return mean ± standard deviation."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def speed(values: list[float | None]) -> str:
    """Return the median of rows per second."""
    measured = [value for value in values if value is not None]
    return f"{statistics.median(measured):,.0f}" if measured else "–"


def row(task: str, found: dict[str, list[Result]]) -> str:
    """Return a task's line of the table."""
    accuracies = {name: [100 * result.accuracy for result in results] for name, results in found.items()}
    cells = [task, str(len(found[OURS])), *(spread(accuracies[name]) for name in (OURS, PEER))]
    cells.append(difference(accuracies[OURS], accuracies[PEER]))
    cells += [speed([result.training for result in found[name]]) for name in (OURS, PEER)]
    cells += [speed([result.predicting for result in found[name]]) for name in (OURS, PEER)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["afqmc", "tnews"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    speeds = " | ".join(f"{what} rows/s, {name}" for what in ("training", "dev") for name in (OURS, PEER))
    print(f"| task | n | {OURS} | {PEER} | difference, 95 % | {speeds} |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for task in asked.tasks:
        print(row(task, run_task(asked, task)), flush=True)


if __name__ == "__main__":
    main()
