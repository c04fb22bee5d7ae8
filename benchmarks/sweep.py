r"""A sweep of 12 runs as one command against 12 commands, one after the other.

    python benchmarks/sweep.py --data clue --task afqmc --model runs/tiny --steps 400

Learning rates × seeds: `clue-bench bench` searches over 8 learning rates with the first seed and does the best one with
4 more, 12 runs; the other side types `clue-bench finetune` 12 times with exactly those settings and seeds. Both write
records, predictions and checkpoints of every run. Prints the seconds of both in each round, their ratio, the largest
memory of a process tree at any moment, and how far the dev accuracies of the same run lie apart: workers have one
thread each, which changes sums in their last bits. With 2 rounds or more the order turns round.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import side_by_side

from clue_bench.doors.records import FinetuneRecord, read_records

RATES = ("2e-5", "3e-5", "5e-5", "8e-5", "1e-4", "1.5e-4", "2e-4", "3e-4")
SEEDS = 5
SECONDS_BETWEEN_SAMPLES = 0.2


class Outcome(NamedTuple):
    """What one side took: seconds, MiB, and the dev accuracy of each (learning rate, seed)."""

    seconds: float
    memory_mib: float
    accuracies: dict[tuple[float, int], float]


def descendants_mib(process: int) -> float:
    """Return the proportional memory of a process and those that it started, in MiB (Linux)."""
    total, left = 0.0, [process]
    while left:
        folder = Path("/proc") / str(left.pop())
        try:
            rollup = (folder / "smaps_rollup").read_text(encoding="utf-8")
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
            for task in (folder / "task").iterdir():
                left += map(int, (task / "children").read_text(encoding="utf-8").split())
        except (OSError, StopIteration):  # it has ended
            continue
    return total


def timed(commands: list[list[str]]) -> tuple[float, float]:
    """Do the commands one after the other; return seconds and the most MiB held at a moment."""
    most, started = 0.0, time.perf_counter()
    for command in commands:
        with subprocess.Popen([*side_by_side.CLUE_BENCH, *command], stdout=subprocess.DEVNULL) as process:
            read = partial(descendants_mib, process.pid)
            with side_by_side.sampled(read, seconds=SECONDS_BETWEEN_SAMPLES) as sizes:
                code = process.wait()
        most = max(most, *sizes)
        if code:
            raise SystemExit(code)  # it has said why
    return time.perf_counter() - started, most


def accuracies(folder: Path) -> dict[tuple[float, int], float]:
    """Return the dev accuracy of every run below `folder`."""
    found = {}
    for record in read_records(folder):
        if isinstance(record, FinetuneRecord):
            found[record.effective["learning_rate"], record.seed] = record.completed_results.dev.accuracy
    return found


def swept(asked: argparse.Namespace, out: Path) -> Outcome:
    """Do the sweep as one command."""
    command = ["bench", "--task", asked.task, "--seeds", str(SEEDS), f"--grid=learning_rate={','.join(RATES)}"]
    command += ["--no-floor", "--json", *common(asked), "--out", str(out)]
    with side_by_side.held(asked.lock):
        return Outcome(*timed([command]), accuracies(out))


def one_by_one(asked: argparse.Namespace, out: Path, best: float) -> Outcome:
    """Do the same runs with a command each."""
    wanted = [(float(rate), 1) for rate in RATES] + [(best, seed) for seed in range(2, SEEDS + 1)]
    commands = []
    for rate, seed in wanted:
        command = ["finetune", "--task", asked.task, "--seed", str(seed), f"--set=learning_rate={rate}", "--json"]
        commands.append([*command, *common(asked), "--out", str(out / f"{rate}-{seed}")])
    with side_by_side.held(asked.lock):
        return Outcome(*timed(commands), accuracies(out))


def common(asked: argparse.Namespace) -> list[str]:
    """Return the options that both commands have."""
    steps = ["--steps", str(asked.steps)] if asked.steps else []
    return ["--model", asked.model, "--data", str(asked.data), *steps, *(f"--set={setting}" for setting in asked.set)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="updates of each run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--lock", type=Path, help="file to lock while a side works")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    print("| round | runs | 12 commands, s | one sweep, s | ratio | MiB, commands / sweep | largest difference |")
    print("|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    ratios, best = [], float(RATES[0])
    for number in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            # Which rate is best is known after the first sweep, and the same in every round: runs repeat themselves.
            if number % 2:
                alone = one_by_one(asked, Path(folder) / "alone", best)
                sweep = swept(asked, Path(folder) / "sweep")
            else:
                sweep = swept(asked, Path(folder) / "sweep")
                best = next(rate for rate, seed in sweep.accuracies if seed == SEEDS)
                alone = one_by_one(asked, Path(folder) / "alone", best)
        ratios.append(alone.seconds / sweep.seconds)
        apart = max(abs(sweep.accuracies[run] - alone.accuracies[run]) for run in sweep.accuracies)
        cells = [str(number + 1), str(len(sweep.accuracies)), f"{alone.seconds:.0f}", f"{sweep.seconds:.0f}"]
        cells += [
            f"{ratios[-1]:.2f}×",
            f"{alone.memory_mib:,.0f} / {sweep.memory_mib:,.0f}",
            f"{100 * apart:.2f} points",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"median {statistics.median(ratios):.2f}×")


if __name__ == "__main__":
    main()
