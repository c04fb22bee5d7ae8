r"""One architecture, one corpus, one budget: UER-py, our card, our own recipe; then the same fine-tuning of all three.

    git clone https://github.com/dbiir/UER-py
    pip install six
    python benchmarks/equal_budget.py --uer UER-py --text text.txt --vocab clue_vocab.txt --data clue --out equal \
        --minutes 60 --tasks tnews,ocnli

The architecture is that of RoBERTa-tiny-clue (4 layers, 312 wide). `text.txt` holds a sentence or paragraph a line, an
empty line between documents; every hundredth document is kept from all three, and what they say of it with one masking
is the held-out loss. Each rate is measured first, alone, in turn, and turned into the steps that fill the budget,
so that its schedule ends where the budget does. Fine-tuning has the same settings for all, BERT's dropout of 0.1 among
them, with which UER-py pretrains; ours, pretrained without, does better without (pretrain/LOG.md):

- `uer`: UER-py, unmodified, as its card trains such models: rows of 128, batches of 64, 1e-4, a tenth of warm-up,
  dropout 0.1, a document a line, dynamic masks;
- `card`: `clue-bench pretrain roberta-tiny-clue` with these settings of UER-py's card;
- `own`: `clue-bench pretrain clue-bench-tiny`, our recipe for small budgets, with a twentieth of warm-up.

Where other programs want the processor too, `--clock cpu` gives each side one thread and counts its processor time.
Ours continue after they were stopped; UER-py keeps no state, so that a stopped run of it begins anew. Prints a Markdown
table, and writes it to OUT/equal_budget.md.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pretraining import CONFIGS, LENGTH, OURS, Peer, _vocab_arguments, measured, use_processor_time
from side_by_side import in_one_line

import clue_bench as cb
from clue_bench.errors import ClueBenchError
from clue_bench.files import sha256, write_json, write_text
from clue_bench.pretraining.recipe import load_recipe

SIDES = ("uer", "card", "own")
HELD_OUT = 100  # one document of so many
BATCH = 64
ROUNDS = 2
TIMED = 6  # steps between two reports
MASKED = 0.15
ARCHITECTURE = CONFIGS["tiny-clue"]
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "card": (
        "roberta-tiny-clue",
        {
            "vocab_size": "corpus",
            "global_batch": BATCH,
            "micro_batch": 32,
            "learning_rate": 1e-4,
            "warmup_share": 0.1,
            "dropout": 0.1,
        },
    ),
    "own": ("clue-bench-tiny", {"global_batch": 32, "micro_batch": 32, "warmup_share": 0.05}),
}
FINE_TUNING = {"dropout": 0.1, "epochs": 5}  # the rate is the default of this size
UER = ["--learning_rate", "1e-4", "--warmup", "0.1", "--batch_size", str(BATCH), "--seed", "1"]


class Result(NamedTuple):
    """What one side reached: tokens seen, held-out loss in nats a masked token, and scores in percent, by task."""

    tokens: float
    loss: float
    scores: dict[str, list[float]]


def refuse_another(out: Path, **files: Path) -> None:
    """Remember in `out` which text and vocabulary its runs are of, and by which recipes.

    Raises ClueBenchError where they were others.
    """
    recipes = {side: load_recipe(*recipe).model_dump(mode="json") for side, recipe in RECIPES.items()}
    asked = {**{name: sha256(path) for name, path in files.items()}, "recipes": recipes}
    kept = out / "runs_of.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else asked
    if other := [name for name in asked if found[name] != asked[name]]:
        raise ClueBenchError(f"{out}: its runs are of other {' and '.join(other)}", "give another --out")
    write_json(kept, asked)


def split_text(text: Path, out: Path) -> tuple[Path, Path]:
    """Write the documents that are trained on and those that are not; return both files."""
    train, held_out = out / "train.txt", out / "held_out.txt"
    if not held_out.exists():
        documents = [each.strip("\n") for each in text.read_text(encoding="utf-8").split("\n\n") if each.strip()]
        kept = documents[::HELD_OUT]
        rest = [each for number, each in enumerate(documents) if number % HELD_OUT]
        write_text(train, "\n\n".join([*rest, ""]))
        write_text(held_out, "\n\n".join([*kept, ""]))
    return train, held_out


class Uer(Peer):
    """UER-py, which trains once and for all."""

    def make_dataset(self, text: Path, vocab: Path) -> None:
        """Let it make its dataset of the whole text."""
        self.prepare(ARCHITECTURE, text, vocab, megabytes=text.stat().st_size / 1e6 + 1)

    def train(self, steps: int, vocab: Path, model: Path, *, report: int) -> str:
        """Train; return what it printed."""
        settings = self.folder / "config.json"
        settings.write_text(json.dumps(ARCHITECTURE.uer), encoding="utf-8")
        command = [sys.executable, str(self.uer / "pretrain.py"), "--dataset_path", str(self._dataset(ARCHITECTURE))]
        command += ["--config_path", str(settings), "--output_model_path", str(model), "--total_steps", str(steps)]
        command += ["--report_steps", str(report), "--save_checkpoint_steps", str(steps), "--data_processor", "mlm"]
        return measured([*command, *UER, *_vocab_arguments(vocab)], self.folder, self.environment)[0]

    def finished(self, steps: int, vocab: Path, converted: Path) -> Path:
        """Train once, and return its model as a folder that everyone can open."""
        if not converted.exists():
            self.train(steps, vocab, self.folder / "model.bin", report=100)
            model = self.folder / f"model.bin-{steps}"
            cb.convert(model, converted, source_kind="uer", config=self.folder / "config.json", vocabulary=vocab)
        return converted


class Ours:
    """clue-bench, by the card or by our own recipe, on a corpus that is built once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def build(self, text: Path, vocab: Path) -> None:
        """Build the corpus."""
        if not (self.folder / "corpus" / "manifest.json").exists():
            command = [*OURS, "corpus", "build", str(text), "--vocab", str(vocab), "--out", "corpus"]
            measured(command, self.folder)

    def train(self, side: str, steps: int, out: Path, **more: Any) -> None:
        """Train, or go on."""
        recipe, settings = RECIPES[side]
        command = [*OURS, "pretrain", recipe, "--corpus", "corpus", "--out", str(out), "--steps", str(steps)]
        command += ["--tracker", "none", *(f"--set={key}={value}" for key, value in {**settings, **more}.items())]
        measured(command, self.folder)

    def seconds_a_step(self, side: str) -> float:
        """Return what a step takes in a short run."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            run = Path(folder) / "run"
            self.train(side, 3 * TIMED, run, log_every=TIMED, save_every=TIMED * 10**5, held_out_share=0.0)
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return float(lines[-1]["seconds"] - lines[0]["seconds"]) / (lines[-1]["step"] - lines[0]["step"])


def uer_seconds_a_step(uer: Uer, vocab: Path) -> float:
    """Return what a step of UER-py takes: it reports tokens a second, padding included."""
    with tempfile.TemporaryDirectory(dir=uer.folder) as folder:
        printed = uer.train(3 * TIMED, vocab, Path(folder) / "model.bin", report=TIMED)
    rates = [float(rate) for rate in re.findall(r"([\d.]+) tokens/s", printed)]
    return BATCH * LENGTH / statistics.median(rates[1:])


def held_out_loss(model: Path, text: Path, *, rows: int = 200) -> float:
    """Return nats a masked token of a checkpoint, by transformers, on the first rows of the text, with one masking."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForMaskedLM.from_pretrained(model).eval()
    lines = [line for line in text.read_text(encoding="utf-8").split("\n") if line]
    ids = [i for line in tokenizer(lines, add_special_tokens=False)["input_ids"] for i in line]
    width = LENGTH - 2
    drawn = torch.tensor(ids[: rows * width][: len(ids) // width * width]).view(-1, width)
    chosen = torch.rand(drawn.shape, generator=torch.Generator().manual_seed(1)) < MASKED
    masked = drawn.masked_fill(chosen, tokenizer.mask_token_id)
    edge = torch.ones(len(drawn), 1, dtype=torch.long)
    inputs = torch.cat([edge * tokenizer.cls_token_id, masked, edge * tokenizer.sep_token_id], 1)
    total = 0.0
    with torch.inference_mode():
        for rows_in, rows_right, places in zip(inputs.split(32), drawn.split(32), chosen.split(32), strict=True):
            logits = network(rows_in).logits[:, 1:-1][places]
            total += float(torch.nn.functional.cross_entropy(logits.float(), rows_right[places], reduction="sum"))
    return total / int(chosen.sum())


def fine_tuned(model: Path, tasks: list[str], *, out: Path, seeds: int, **more: Any) -> dict[str, list[float]]:
    """Return the official scores in percent on dev, one a seed, by task."""
    return {
        task: [
            100 * cb.finetune(task, model, out=out / f"{task}-{seed}", seed=seed, settings=FINE_TUNING, **more).accuracy
            for seed in range(1, seeds + 1)
        ]
        for task in tasks
    }


def table(results: dict[str, Result], floors: dict[str, float]) -> str:
    """Return the Markdown table: mean and standard deviation over fine-tuning seeds."""
    tasks = list(floors)
    lines = [f"| | M tokens | held-out loss | {' | '.join(tasks)} |", "|---|" + "--:|" * (len(tasks) + 2)]
    for side, found in results.items():
        cells = [side, f"{found.tokens / 1e6:.1f}", f"{found.loss:.3f}"]
        for task in tasks:
            scores = found.scores[task]
            spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
            cells.append(f"{statistics.mean(scores):.2f}{spread}")
        lines.append(f"| {' | '.join(cells)} |")
    floor = " | ".join(f"{floors[task]:.2f}" for task in tasks)
    return "\n".join([*lines, f"| TF-IDF + linear | | | {floor} |"])


def main() -> None:
    """Do what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uer", type=Path, required=True, help="a clone of UER-py")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--vocab", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of CLUE's task data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60, help="of pretraining, each side [60]")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--sides", default=",".join(SIDES), help="[all three]")
    parser.add_argument("--tasks", default="tnews,ocnli,afqmc", help="[tnews,ocnli,afqmc]")
    parser.add_argument("--seeds", type=int, default=3, help="of fine-tuning [3]")
    parser.add_argument("--updates", type=int, help="of each fine-tuning [those of the default epochs]")
    asked = parser.parse_args()
    sides, out, vocab = asked.sides.split(","), asked.out.resolve(), asked.vocab.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if asked.clock == "cpu":
        use_processor_time(out)
    refuse_another(out, text=asked.text, vocab=vocab)
    train, held_out = split_text(asked.text, out)
    uer, ours = Uer(asked.uer, out / "uer"), Ours(out / "ours")
    if "uer" in sides:
        uer.make_dataset(train, vocab)
    ours.build(train, vocab)

    kept = out / f"rates-{asked.clock}.json"
    rates: dict[str, float] = json.loads(kept.read_text()) if kept.exists() else {}
    missing = [side for side in sides if side not in rates]
    for number in range(ROUNDS * len(missing)):
        side = missing[number % len(missing)]
        taken = uer_seconds_a_step(uer, vocab) if side == "uer" else ours.seconds_a_step(side)
        rates[side] = min(taken, rates.get(side, taken))
    write_json(kept, rates)

    found = cb.floor(asked.tasks.split(","), data=asked.data, out=out / "runs")
    floors = {run.task: 100 * run.accuracy for run in found if run.model == "floor-tfidf"}
    results: dict[str, Result] = {}
    for side in sides:
        steps = round(60 * asked.minutes / rates[side])
        tokens = steps * LENGTH * (BATCH if side == "uer" else RECIPES[side][1]["global_batch"])
        print(f"{side}: {rates[side]:.2f} s a step, {steps:,} steps, {tokens / 1e6:.1f} M tokens", flush=True)
        if side == "uer":
            model = uer.finished(steps, vocab, out / f"uer-{steps}")
        else:
            ours.train(side, steps, out / side)
            model = out / side / "checkpoint"
        more = {"data": asked.data, "seeds": asked.seeds, "steps": asked.updates}
        scores = fine_tuned(model, list(floors), out=out / "runs" / side, **more)
        results[side] = Result(tokens, held_out_loss(model, held_out), scores)
        (out / "equal_budget.md").write_text(table(results, floors) + "\n", encoding="utf-8")
    print(f"{table(results, floors)}\n\n{out / 'equal_budget.md'}")


if __name__ == "__main__":
    in_one_line(main)
