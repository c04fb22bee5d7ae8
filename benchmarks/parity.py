"""Is a fine-tuned score of ours worse than the Trainer's? Seeds of both, one after the other, and the difference.

    python benchmarks/parity.py --model runs/tiny --data clue --tasks afqmc tnews --seeds 3 --out parity

Runs `clue-bench finetune` and `benchmarks/finetune_trainer.py` in turn, with the same hyper-parameters, and prints mean
and standard deviation of dev accuracy, the difference of the means with a 95 % interval (Welch's t, over seeds), and
rows per second of both. What is there already is not run again.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from scipy.stats import t as student


def ours(asked: argparse.Namespace, task: str, seed: int) -> dict[str, Any]:
    """Return the result of one run of ours."""
    out = asked.out / f"ours-{task}-s{seed}"
    command = [sys.executable, "-c", "from clue_bench.cli import main; main()", "finetune", "--json"]
    command += ["--task", task, "--model", asked.model, "--data", str(asked.data), "--seed", str(seed)]
    command += ["--out", str(out), *(f"--set={setting}" for setting in asked.set)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    results = json.loads(done.stdout)["results"]
    return {"accuracy": results["dev"]["accuracy"], "train_rows_per_second": results["train_rows_per_second"]}


def peer(asked: argparse.Namespace, task: str, seed: int) -> dict[str, Any]:
    """Return the result of one run of the Trainer."""
    out = asked.out / f"trainer-{task}-s{seed}"
    if not (out / "result.json").is_file():
        command = [sys.executable, str(Path(__file__).with_name("finetune_trainer.py")), "--task", task]
        command += ["--model", asked.model, "--data", str(asked.data), "--seed", str(seed), "--out", str(out)]
        command += [f"--set={setting}" for setting in asked.set] + ["--bf16"] * asked.bf16
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return result


def welch(a: list[float], b: list[float]) -> tuple[float, float]:
    """Return the difference of means and half the width of its 95 % interval."""
    parts = [statistics.variance(side) / len(side) for side in (a, b)]
    error = math.sqrt(sum(parts))
    if error == 0.0:
        return statistics.fmean(a) - statistics.fmean(b), 0.0
    freedom = error**4 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    return statistics.fmean(a) - statistics.fmean(b), float(student.ppf(0.975, freedom)) * error


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["afqmc", "tnews"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--bf16", action="store_true", help="the Trainer in bf16, too")
    asked = parser.parse_args()
    print("| task | ours | Trainer | difference, 95 % over seeds | rows/s, ours | rows/s, Trainer |")
    print("|---|--:|--:|--:|--:|--:|")
    for task in asked.tasks:
        pairs = [(ours(asked, task, seed), peer(asked, task, seed)) for seed in range(1, asked.seeds + 1)]
        accuracies = [[100 * side[n]["accuracy"] for side in pairs] for n in (0, 1)]
        speeds = [statistics.median(side[n]["train_rows_per_second"] for side in pairs) for n in (0, 1)]
        shown = [f"{statistics.fmean(side):.2f} ± {statistics.stdev(side):.2f}" for side in accuracies]
        difference, half = welch(*accuracies)
        cells = [task, *shown, f"{difference:+.2f} ± {half:.2f}", *(f"{speed:,.0f}" for speed in speeds)]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
