"""Pretraining against UER-py: positions a second, in turn, each in a process of its own.

    git clone https://github.com/dbiir/UER-py
    pip install six
    python benchmarks/pretraining.py --uer UER-py --text text.txt --work work --configs tiny-21k tiny-clue
        --vocab 21k=google_zh_vocab.txt --vocab 8k=clue_vocab.txt --vocab 100k=spiece.model

`text.txt` holds a sentence or paragraph a line, an empty line between documents. UER's preprocess.py and ours read the
same text; its pretrain.py and `clue-bench pretrain` then train the same architecture with the same rows a step, as
their users would, both with the dropout of UER's own configuration, ours a second time without any. Every run reads,
masks and trains; the medians are over reports after the first. Of each pair, every other one starts with the peer.

Prints a Markdown table of medians over pairs. A position is a place in a row, padding included (what both programs
report); useful are those that are no padding. The model's FLOPs count every layer in full and vocabulary logits where
the loss looks; the ceiling is what large matrix products of ours reach. Memory is the largest resident size.
WORK keeps the figures of every run (CONFIG-CLOCK.json), and what is there is not run again: `--pairs 0` prepares the
data and measures nothing. Threads are those of OMP_NUM_THREADS, for both.

Where other programs want the processor too, `--clock cpu` gives both one thread and counts seconds of its processor
time, in which waiting for a turn is not; a rate is then one of an undisturbed core, or a little below.
"""

import argparse
import json
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.records import PretrainRecord, read_record_of

OURS = [sys.executable, "-m", "clue_bench"]
LENGTH = 128
REPORTS = 3  # the first is not counted


class Config(NamedTuple):
    """One architecture: a recipe of ours with settings, and what UER's configuration file says."""

    vocab: str
    recipe: str
    settings: dict[str, Any]
    uer: dict[str, Any]
    batch: int = 64
    steps: int = 2  # between two reports; twice as many of ours


def bert(layers: int, width: int, vocab: str, *, heads: int | None = None, **more: Any) -> Config:
    """Return BERT with masked tokens, as UER's models/bert has it for its miniatures."""
    heads = heads or width // 64
    ours = {"layers": layers, "hidden_size": width, "heads": heads, "feed_forward_size": 4 * width, "dropout": 0.1}
    theirs = {"emb_size": width, "feedforward_size": 4 * width, "hidden_size": width, "hidden_act": "gelu"}
    theirs |= {"heads_num": heads, "layers_num": layers, "max_seq_length": 512, "dropout": 0.1}
    theirs |= {"data_processor": "mlm", "embedding": ["word", "pos", "seg"], "encoder": "transformer"}
    theirs |= {"mask": "fully_visible", "target": ["mlm"], "tie_weights": True}
    return Config(vocab, "roberta-word-tiny", {**ours, "vocab_size": "corpus"}, theirs, **more)


ALBERT = {"emb_size": 128, "feedforward_size": 3072, "hidden_size": 768, "hidden_act": "relu", "heads_num": 12}
ALBERT |= {"layers_num": 12, "max_seq_length": 512, "dropout": 0.0, "data_processor": "albert"}
ALBERT |= {"embedding": ["word", "pos", "seg"], "encoder": "transformer", "mask": "fully_visible"}
ALBERT |= {"factorized_embedding_parameterization": True, "parameter_sharing": True, "target": ["mlm", "sp"]}
GPT2 = {"emb_size": 768, "feedforward_size": 3072, "hidden_size": 768, "hidden_act": "gelu_fast", "heads_num": 12}
GPT2 |= {"layers_num": 12, "max_seq_length": 1024, "dropout": 0.1, "data_processor": "lm", "embedding": ["word", "pos"]}
GPT2 |= {"remove_embedding_layernorm": True, "encoder": "transformer", "mask": "causal"}
GPT2 |= {"layernorm_positioning": "pre", "target": ["lm"], "tie_weights": True}

CONFIGS = {
    "tiny-21k": bert(2, 128, "21k"),
    "tiny-100k": bert(2, 128, "100k"),
    "mini-21k": bert(4, 256, "21k"),
    "mini-100k": bert(4, 256, "100k"),
    "tiny-clue": bert(4, 312, "8k", heads=12),
    "small-21k": bert(4, 512, "21k", steps=1),
    "base-21k": bert(12, 768, "21k", batch=8, steps=1),
    "base-21k-batch32": bert(12, 768, "21k", batch=32, steps=1),
    "albert-base": Config("21k", "albert-base", {}, ALBERT, batch=8, steps=1),
    "gpt2-base": Config("21k", "gpt2-base", {}, GPT2, batch=8, steps=1),
}


class Run(NamedTuple):
    """One run: positions a second, share that is no padding, memory in MiB; FLOP/s and the ceiling of ours."""

    rate: float
    useful: float
    memory: float
    flops: float = 0.0
    ceiling: float = 0.0


def measured(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> tuple[str, float]:
    """Run a command in `folder`; return what it printed and its largest size in MiB. Ends this program if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{text}")
    return text, usage.ru_maxrss / 1024


def use_processor_time(folder: Path) -> None:
    """Make every Python program started from here take its time from the processor time of its only thread."""
    (folder / "sitecustomize.py").write_text("import time\ntime.time = time.perf_counter = time.process_time\n")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    os.environ["OMP_NUM_THREADS"] = "1"


class Peer:
    """UER-py from a clone of its repository, in a folder with the datasets that it made."""

    def __init__(self, uer: Path, folder: Path) -> None:
        self.uer, self.folder = uer.resolve(), folder
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "models").exists():
            (folder / "models").symlink_to(self.uer / "models")  # it looks for it where it is started
        path = os.pathsep.join(filter(None, [str(self.uer), os.environ.get("PYTHONPATH")]))
        self.environment = {**os.environ, "PYTHONPATH": path}

    def prepare(self, config: Config, text: Path, vocab: Path, megabytes: float) -> None:
        """Let it make its dataset from the first part of the text."""
        dataset = self._dataset(config)
        if dataset.exists():
            return
        documents = [d for d in _head(text, megabytes).split("\n\n") if d.strip()]
        by_line = ["".join(document.split("\n")) for document in documents]
        corpus = self.folder / "text.txt"
        pairs = "sp" in config.uer["target"]
        corpus.write_text("\n\n".join([*documents, ""]) if pairs else "\n".join([*by_line, ""]), encoding="utf-8")
        command = [sys.executable, str(self.uer / "preprocess.py"), "--corpus_path", str(corpus)]
        command += ["--dataset_path", str(dataset), "--seq_length", str(LENGTH), *_vocab_arguments(vocab)]
        command += ["--dynamic_masking", "--data_processor", config.uer["data_processor"]]
        measured(command, self.folder, self.environment)

    def run(self, config: Config, vocab: Path) -> Run:
        """Train."""
        settings = self.folder / "config.json"
        settings.write_text(json.dumps(config.uer), encoding="utf-8")
        command = [sys.executable, str(self.uer / "pretrain.py"), "--dataset_path", str(self._dataset(config))]
        command += ["--config_path", str(settings), "--output_model_path", str(self.folder / "model.bin")]
        command += ["--total_steps", str(REPORTS * config.steps), "--report_steps", str(config.steps)]
        command += ["--batch_size", str(config.batch), "--data_processor", config.uer["data_processor"]]
        printed, memory = measured([*command, *_vocab_arguments(vocab)], self.folder, self.environment)
        rates = [float(rate) for rate in re.findall(r"([\d.]+) tokens/s", printed)]
        return Run(statistics.median(rates[1:]), self._useful(config), memory)

    def _useful(self, config: Config) -> float:
        """Return the share of its rows' positions that are no padding."""
        padding = total = 0
        with self._dataset(config).open("rb") as file:
            while True:
                try:
                    ids, pad = pickle.load(file)[0]  # noqa: S301 - this program had the peer write it
                except EOFError:
                    return 1 - padding / total
                padding, total = padding + pad, total + len(ids) + pad

    def _dataset(self, config: Config) -> Path:
        return self.folder / f"{config.uer['data_processor']}-{config.vocab}.pt"


class Ours:
    """clue-bench, in a folder with its corpora and cards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def prepare(self, config: Config, text: Path, vocab: Path, megabytes: float) -> None:
        """Build the corpus, and a card of the recipe's first stage."""
        if not (self._corpus(config) / "manifest.json").exists():
            part = self.folder / "text.txt"
            part.write_text(_head(text, megabytes), encoding="utf-8")
            command = [*OURS, "corpus", "build", str(part), "--vocab", str(vocab), "--out", str(self._corpus(config))]
            measured(command, self.folder)
        card = self.folder / f"{config.recipe}.toml"
        card.unlink(missing_ok=True)
        measured([*OURS, "recipes", "copy", config.recipe, str(card)], self.folder)
        stage1 = card.read_text(encoding="utf-8").partition("\n[stage2]")[0]
        card.write_text(stage1 + "\n", encoding="utf-8")

    def run(self, config: Config, **settings: Any) -> Run:
        """Train."""
        steps = 2 * config.steps
        settings = {**config.settings, **settings, "global_batch": config.batch, "micro_batch": config.batch}
        settings |= {"log_every": steps, "save_every": steps * REPORTS, "max_length": LENGTH, "held_out_share": 0.0}
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            command = [*OURS, "pretrain", str(self.folder / f"{config.recipe}.toml"), "--out", out]
            command += ["--corpus", str(self._corpus(config)), "--steps", str(steps * REPORTS), "--tracker", "none"]
            command += [f"--set={key}={value}" for key, value in settings.items()]
            memory = measured(command, self.folder)[1]
            lines = (Path(out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            record = read_record_of(next(Path(out).glob("*record.json")), PretrainRecord)
        reports = [json.loads(line) for line in lines][1:]
        rate, useful, flops = (
            statistics.median(report[key] for report in reports)
            for key in ("tokens_per_second", "useful_share", "model_flops_per_second")
        )
        return Run(rate, useful, memory, flops, record.completed_results.matrix_product_flops_per_second)

    def first_step(self, config: Config) -> float:
        """Return the seconds from starting the program to its report of the first step."""
        settings = {**config.settings, "global_batch": config.batch, "micro_batch": config.batch}
        settings |= {"log_every": 1, "save_every": 2, "max_length": LENGTH, "held_out_share": 0.0}
        with tempfile.TemporaryDirectory(dir=self.folder) as out, tempfile.TemporaryFile() as said:
            command = [*OURS, "pretrain", str(self.folder / f"{config.recipe}.toml"), "--out", out, "--steps", "2"]
            command += ["--corpus", str(self._corpus(config)), "--tracker", "none"]
            command += [f"--set={key}={value}" for key, value in settings.items()]
            metrics = Path(out) / "metrics.jsonl"
            started = time.perf_counter()
            process = subprocess.Popen(command, cwd=self.folder, stdout=said, stderr=said)
            while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
                time.sleep(0.01)
            seconds = time.perf_counter() - started
            if process.wait():
                raise SystemExit(f"{' '.join(command)}: failed")
        return seconds

    def _corpus(self, config: Config) -> Path:
        return self.folder / config.vocab


def compare(peer: Peer, ours: Ours, config: Config, vocab: Path, *, first_is_peer: bool) -> dict[str, Run]:
    """Return the runs of one pair, and one of ours without dropout."""
    found = {}
    for side in ("peer", "ours") if first_is_peer else ("ours", "peer"):
        found[side] = peer.run(config, vocab) if side == "peer" else ours.run(config)
    if config.uer["dropout"]:
        found["plain"] = ours.run(config, dropout=0.0)
    return found


def row(name: str, pairs: list[dict[str, Run]], first_step: float) -> str:
    """Return a configuration's line of the table."""
    ours, peer = ([pair[side] for pair in pairs] for side in ("ours", "peer"))
    plain = [pair["plain"] for pair in pairs if "plain" in pair]

    def middle(values: list[float]) -> float:
        return statistics.median(values)

    ratios = [a.rate / b.rate for a, b in zip(ours, peer, strict=True)]
    useful = [a.rate * a.useful / (b.rate * b.useful) for a, b in zip(ours, peer, strict=True)]
    ceiling = max(run.ceiling for run in ours)
    best = plain or ours
    cells = [name, f"{middle([r.rate for r in ours]):,.0f}", f"{middle([r.rate for r in peer]):,.0f}"]
    cells += [f"{middle(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f})"]
    cells += [f"{1 - ours[0].useful:.1%} / {1 - peer[0].useful:.1%}", f"{middle(useful):.1f}"]
    cells += [f"{middle([a.rate / b.rate for a, b in zip(ours, plain, strict=True)]):.2f}" if plain else "–"]
    flops = middle([run.flops for run in best])
    cells += [f"{flops / 1e12:.2f}", f"{flops / ceiling:.0%}"]
    cells += [f"{middle([r.memory for r in ours]):,.0f} / {middle([r.memory for r in peer]):,.0f}", f"{first_step:.1f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uer", type=Path, required=True, help="a clone of UER-py")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--vocab", action="append", required=True, metavar="8k|21k|100k=FILE")
    parser.add_argument("--work", type=Path, required=True, help="corpora, datasets and figures")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=2.5, help="of text for the peer's preprocessing")
    asked = parser.parse_args()
    vocabs = {name: Path(file).resolve() for name, _, file in (given.partition("=") for given in asked.vocab)}
    work = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if asked.clock == "cpu":
        use_processor_time(work)
    peer, ours = Peer(asked.uer, work / "uer"), Ours(work / "ours")
    columns = ["configuration", "positions/s, ours", "UER-py", "ratio, full rows (range)", "padding, ours / UER-py"]
    columns += ["ratio, useful", "dropout / none", "TFLOP/s, no dropout", "of ceiling", "MiB, ours / UER-py"]
    columns += ["to first step, s"]
    print(f"| {' | '.join(columns)} |\n|---{'|--:' * (len(columns) - 1)}|", flush=True)
    for name in asked.configs:
        config = CONFIGS[name]
        vocab = vocabs[config.vocab]
        for side in (peer, ours):
            side.prepare(config, asked.text, vocab, asked.megabytes)
        kept = work / f"{name}-{asked.clock}.json"
        done = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"first_step": None, "pairs": []}
        pairs = [{side: Run(**run) for side, run in pair.items()} for pair in done["pairs"]]
        while len(pairs) < asked.pairs:
            done["first_step"] = done["first_step"] or ours.first_step(config)
            pairs.append(compare(peer, ours, config, vocab, first_is_peer=len(pairs) % 2 == 1))
            rates = {side: round(run.rate) for side, run in pairs[-1].items()}
            print(f"{name}, pair {len(pairs)}: {rates}", file=sys.stderr)
            done["pairs"] = [{side: run._asdict() for side, run in pair.items()} for pair in pairs]
            kept.write_text(json.dumps(done), encoding="utf-8")
        if pairs:
            print(row(name, pairs, done["first_step"]), flush=True)


def _head(text: Path, megabytes: float) -> str:
    """Return the documents that begin in the first `megabytes` of a text."""
    with text.open("rb") as file:
        part = file.read(int(megabytes * 2**20)).decode("utf-8", errors="ignore")
    return part.rpartition("\n\n")[0] or part


def _vocab_arguments(vocab: Path) -> list[str]:
    return ["--spm_model_path" if vocab.suffix == ".model" else "--vocab_path", str(vocab)]


if __name__ == "__main__":
    main()
