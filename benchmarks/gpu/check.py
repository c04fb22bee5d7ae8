"""Check the GPU path in some minutes: is it right, does a step ever wait for the device, and how fast is it.

    python benchmarks/gpu/check.py [right] [waits] [speed] [--smoke]

Input: nothing; texts are random ids. Output: a table of what was found beside what is expected, on stdout; the exit
code is 1 if something that can be right or wrong is wrong. Speeds are neither: they are for README.md beside this file.
`--smoke` runs every part at the smallest size, on the CPU too, where it shows only that the script itself works.

Small runs train at a real rate: at the start of a warm-up wrong gradients would change no loss enough to be seen.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from clue_bench.doors.shards import Corpus
from clue_bench.models import attention, gpt2
from clue_bench.models.config import flops_per_token
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.train import Pretraining
from clue_bench.speed_measurement.models import made_up_vocabulary, write_synthetic_corpus
from clue_bench.tables import make_table
from clue_bench.training import hardware

CPU = torch.device("cpu")
SMALL = {"global_batch": 16, "micro_batch": 8, "max_length": 64, "warmup_share": 0.0, "learning_rate": 1e-3}
NARROW = {"hidden_size": 128, "layers": 2, "heads": 4, "feed_forward_size": 256}
RECIPES = ["roberta-word-tiny", "roberta-tiny-clue", "albert-base", "roformer-base-wwm", "gpt2-base"]
STEPS = 6
FP32, BF16 = 1e-4, 1e-2  # relative distance of a loss from the CPU's in fp32
VOCABULARY = 8_021


class Finding(NamedTuple):
    """One line of the table; `is_right` is None where nothing can be wrong."""

    check: str
    found: str
    expected: str
    is_right: bool | None


class Bench:
    """Makes runs of recipes on a device, over corpora of random ids."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self._corpora: dict[tuple[int, bool], Corpus] = {}

    def run(
        self,
        recipe: str,
        device: torch.device,
        *,
        vocabulary: int = VOCABULARY,
        cuda_graphs: bool = False,
        compiled: bool = False,
        **sets: Any,
    ) -> Pretraining:
        """Return a run of the recipe's first stage, ready for its first step."""
        values = {"stage1.steps": 10**6, "held_out_share": 0.0, "vocab_size": vocabulary}
        loaded = load_recipe(recipe, {**values, **sets}).model_copy(update={"stage2": None, "starts_from": ""})
        key = vocabulary, loaded.objective == "wwm"
        if key not in self._corpora:
            self._corpora[key] = write_synthetic_corpus(
                self.folder / f"corpus-{key[0]}-{key[1]}", made_up_vocabulary(vocabulary), with_words=key[1]
            )
        pick, hardware.pick_device = hardware.pick_device, lambda: device
        try:
            out = self.folder / f"run-{time.time_ns()}"
            run = Pretraining(loaded, self._corpora[key], out, cuda_graphs=cuda_graphs, compiled=compiled)
        finally:
            hardware.pick_device = pick
        run.model.train()
        return run


def losses(run: Pretraining, steps: int) -> np.ndarray:
    """Return the losses of the next steps."""
    sums = [run._advance().sums.heads_43.cpu() for _ in range(steps)]
    return np.array([float((each[:, 0] / each[:, 2].clamp(min=1)).sum()) for each in sums])


@contextmanager
def masks_of_attention_from_the_pool() -> Iterator[None]:
    """Let attention drop as on a CPU; on a GPU its kernel draws masks of its own."""
    whole = attention.has_fused_kernel
    attention.has_fused_kernel = gpt2.has_fused_kernel = lambda x: False
    try:
        yield
    finally:
        attention.has_fused_kernel = gpt2.has_fused_kernel = whole


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest relative distance."""
    return float(np.abs(b / a - 1).max())


def right(bench: Bench) -> Iterator[Finding]:
    """Compare the GPU's batches and losses with the CPU's, and resumed and recorded runs with plain ones."""
    device = bench.device
    bounds = {"fp32": FP32, "bf16": BF16} | ({"fp16": BF16} if device.type == "cuda" else {})
    for recipe in RECIPES:
        for dropout in (0.0, 0.1):
            sets = {**SMALL, **NARROW, "dropout": dropout}
            cpu = bench.run(recipe, CPU, precision="fp32", **sets)
            start = {name: weight.clone() for name, weight in cpu.model.state_dict().items()}
            others = {t: bench.run(recipe, device, precision=t, **sets) for t in bounds}
            for other in others.values():
                other.model.load_state_dict(start)
                other._refresh()  # bf16 copies of the weights
            same = _same_batch(cpu, others["fp32"])
            yield Finding(f"{recipe}, dropout {dropout}: batch", "equal" if same else "differs", "equal", same)
            wanted = losses(cpu, STEPS)
            for precision, bound in bounds.items():
                with masks_of_attention_from_the_pool() if dropout else nullcontext():
                    far = distance(wanted, losses(others[precision], STEPS))
                yield Finding(
                    f"{recipe}, dropout {dropout}: {precision} from the CPU", f"{far:.1e}", f"< {bound}", far < bound
                )
        by_kernel = bench.run(recipe, device, precision="fp32", **sets)
        by_kernel.model.load_state_dict(start)
        far = distance(wanted, losses(by_kernel, STEPS))
        yield Finding(f"{recipe}, masks by attention's kernel: from the CPU", f"{far:.1e}", f"< {BF16}", far < BF16)
    a, b = (bench.run("roberta-word-tiny", device, **SMALL) for _ in range(2))
    twice = float(np.abs(losses(a, 20) - losses(b, 20)).max())
    yield Finding("the same run twice: losses differ by", f"{twice:.1e}", "0 on CPUs", None)
    yield _resumed(bench)
    if device.type == "cuda":
        eager, replayed = (bench.run("roberta-word-tiny", device, cuda_graphs=g, dropout=0.1, **SMALL) for g in (0, 1))
        far = distance(losses(eager, 20), losses(replayed, 20))
        yield Finding("recorded step from the plain one, 20 steps", f"{far:.1e}", "< 1e-3", far < 1e-3)
        for recipe, dropout in product(RECIPES, (0.0, 0.1)):
            sets = {**SMALL, **NARROW, "dropout": dropout, "precision": "fp32"}
            plain, fused = (bench.run(recipe, device, compiled=c, cuda_graphs=c, **sets) for c in (False, True))
            far = distance(losses(plain, 20), losses(fused, 20))
            name = f"{recipe}, dropout {dropout}: recorded and compiled from plain, 20 steps"
            yield Finding(name, f"{far:.1e}", "< 1e-3", far < 1e-3)


def _same_batch(a: Pretraining, b: Pretraining) -> bool:
    batches = [run.feeds.assemble(run.feeds.inputs(3, slice(0, 16)))[0] for run in (a, b)]
    pairs = zip(*(list(_tensors(batch)) for batch in batches), strict=True)
    return all(torch.equal(x.cpu(), y.cpu()) for x, y in pairs)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _tensors(each)


def _resumed(bench: Bench) -> Finding:
    whole, first, second = (bench.run("roberta-word-tiny", bench.device, **SMALL) for _ in range(3))
    wanted = losses(whole, 10)
    losses(first, 5)
    first.out.mkdir(parents=True, exist_ok=True)
    first.save()
    second.out = first.out
    second.resume()
    far = distance(wanted[5:], losses(second, 5))
    return Finding("resumed at step 5: later losses from the whole run's", f"{far:.1e}", f"< {FP32}", far < FP32)


def waits(bench: Bench) -> Iterator[Finding]:
    """Let a step raise if it asks the device for a value."""
    for recipe in RECIPES:
        run = bench.run(recipe, bench.device, **SMALL, **NARROW)
        losses(run, 3)
        found = "nothing"
        if bench.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
            try:
                run._advance()
            except RuntimeError as error:
                found = str(error).splitlines()[0]
            finally:
                torch.cuda.set_sync_debug_mode("default")
        yield Finding(f"{recipe}: what waits in a step", found, "nothing", found == "nothing")


SPEEDS: list[tuple[str, int, int, float, str]] = [  # recipe, rows, length, dropout, how
    ("roberta-word-tiny", 64, 128, 0.1, "plain"),
    ("roberta-word-tiny", 64, 128, 0.1, "recorded"),
    ("roberta-word-tiny", 2048, 128, 0.0, "recorded"),
    ("roberta-tiny-clue", 64, 128, 0.0, "plain"),
    ("roberta-tiny-clue", 512, 128, 0.0, "recorded"),
    ("roberta-word-base", 64, 128, 0.1, "plain"),
    ("roberta-word-base", 512, 128, 0.1, "plain"),
    ("roberta-word-base", 512, 128, 0.0, "recorded"),
    ("roberta-word-base", 128, 512, 0.0, "recorded"),
    ("roformer-base-wwm", 128, 512, 0.0, "recorded"),
    ("gpt2-base", 64, 1024, 0.0, "recorded"),
    ("albert-base", 512, 128, 0.0, "recorded"),
    ("roberta-word-tiny", 2048, 128, 0.0, "recorded, compiled"),
    ("roberta-word-base", 512, 128, 0.0, "recorded, compiled"),
    ("roberta-word-base", 512, 128, 0.1, "recorded, compiled"),
    ("roberta-word-base", 128, 512, 0.0, "recorded, compiled"),
    ("roformer-base-wwm", 128, 512, 0.0, "recorded, compiled"),
    ("gpt2-base", 64, 1024, 0.0, "recorded, compiled"),
]


def speed(bench: Bench, *, smoke: bool) -> Iterator[Finding]:
    """Tokens per second, share of what matrix products reach here, and peak memory; a vocabulary of 21,128."""
    ceiling = hardware.measure_matrix_products(bench.device, hardware.pick_precision("auto", bench.device))
    yield Finding("matrix products, random data", f"{ceiling / 1e12:.1f} TFLOP/s", "", None)
    for recipe, rows, length, dropout, how in SPEEDS[:2] if smoke else SPEEDS:
        sets: dict[str, Any] = {"global_batch": 2 * rows, "micro_batch": rows, "max_length": length, "dropout": dropout}
        if smoke:
            sets |= {"global_batch": 16, "micro_batch": 8}
        is_recorded = how != "plain" and bench.device.type == "cuda"
        name = f"{recipe}, {rows} x {length}, dropout {dropout}, {how if is_recorded else 'plain'}"
        try:
            sets |= {"cuda_graphs": is_recorded, "compiled": "compiled" in how}
            found = _rate(bench, recipe, ceiling, smoke=smoke, **sets)
        except Exception as error:  # noqa: BLE001  out of memory, say: a line of the table, and the others go on
            found = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
        yield Finding(name, found, "", None)


def _rate(bench: Bench, recipe: str, ceiling: float, *, smoke: bool, **sets: Any) -> str:
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run = bench.run(recipe, bench.device, vocabulary=21_128, max_positions=max(512, sets["max_length"]), **sets)
    for _ in range(1 if smoke else 5):
        last = run._advance()
    float(last.gradient_norm)
    started, steps = time.perf_counter(), 0
    while steps < (1 if smoke else 4) or (not smoke and time.perf_counter() - started < 1.5):
        last, steps = run._advance(), steps + 1
        if steps % 4 == 0:
            float(last.gradient_norm)  # waits
    float(last.gradient_norm)
    stage = run.feeds.stage
    rate = steps * stage.global_batch * stage.max_length / (time.perf_counter() - started)
    share = rate * flops_per_token(run.config, length=stage.max_length, predictions=run.feeds.train.predictions)
    peak = torch.cuda.max_memory_allocated() / 2**30 if bench.device.type == "cuda" else 0.0
    return f"{rate / 1e6:.3f} M tokens/s, {share / ceiling:.1%} of the products, {peak:.1f} GiB"


def main() -> int:
    """Run the parts that were asked for; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="right, waits, speed; all by default")
    parser.add_argument("--smoke", action="store_true", help="the smallest size; without a GPU on the CPU")
    asked = parser.parse_args()
    if not asked.smoke and not torch.cuda.is_available():
        parser.error("no GPU here; --smoke shows that the script works")
    device = torch.device("cuda", 0) if torch.cuda.is_available() else CPU
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    parts: dict[str, Callable[[Bench], Iterator[Finding]]] = {
        "right": right,
        "waits": waits,
        "speed": lambda bench: speed(bench, smoke=asked.smoke),
    }
    if unknown := set(asked.parts) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    findings = []
    with tempfile.TemporaryDirectory() as folder:
        for part in asked.parts or parts:
            for finding in parts[part](Bench(Path(folder), device)):
                print(finding, file=sys.stderr, flush=True)
                findings.append(finding)
    verdicts = {True: "ok", False: "WRONG", None: ""}
    rows = [(f.check, f.found, f.expected, verdicts[f.is_right]) for f in findings]
    title = f"{name}, torch {torch.__version__}"
    print(make_table(title, ["check", "found", "expected", "verdict"], rows).to_markdown())
    return int(any(f.is_right is False for f in findings))


if __name__ == "__main__":
    sys.exit(main())
