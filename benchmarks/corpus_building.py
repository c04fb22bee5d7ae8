"""Corpus building against UER-py's preprocess.py and against jieba: MB/s of text and peak memory, one core each.

    python benchmarks/corpus_building.py --uer UER-py --text text.txt --vocab google_zh_vocab.txt \
        --vocab clue_vocab_8021.txt --vocab cluecorpussmall_spm.model --words google_zh_vocab.txt

Each job is run in alternating pairs, ours and the peer's, every process bound to one core; medians of the pairs. Ours
is the command `clue-bench corpus build --workers 1`, disk included: a process that reads and one that tokenises share
the core. The peer's text is shorter, the first --peer-mb of the same file, so the start-up of either (the same command
on one line, CPU seconds in the table) is taken off its time; "with start-up" leaves ours in. Times are CPU seconds of
all processes of a command, which neighbours on the machine disturb less than the clock; the clock's ratio is beside it.
Memory is the resident size of all processes together, sampled; for ours also with the text repeated four times.
The peer gets its published options (`--data_processor mlm --dynamic_masking`), with --words `--whole_word_masking`, for
which it cuts words with jieba while it preprocesses; the last row is jieba alone, without a tokenizer.
Needs `pip install jieba six`, and Linux.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import side_by_side

SECONDS_BETWEEN_SAMPLES = 0.05
HEADER = (
    "| job | MB of text, ours / peer | ours MB/s | peer MB/s | ratio | with start-up | by the clock | "
    "start-up s, ours / peer | peak MiB, ours / peer | ours, 4x text |"
)
CUT = "import sys, jieba\nfor line in open(sys.argv[1], encoding='utf-8'): list(jieba.cut(line))"


class Run(NamedTuple):
    """What one command took: CPU and clock seconds, and MiB at its peak."""

    cpu: float
    clock: float
    peak: float


class Job(NamedTuple):
    """Two commands, as far as their text, and the text that each gets."""

    name: str
    ours: list[str]
    peer: list[str]
    ours_text: Path
    peer_text: Path


def main() -> None:
    """Run the jobs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uer", type=Path, required=True, help="a clone of UER-py")
    parser.add_argument("--text", type=Path, required=True, help="a .txt of 20 MB or more")
    parser.add_argument("--vocab", type=Path, action="append", default=[], help="vocab.txt or .model; repeatable")
    parser.add_argument("--words", type=Path, help="a vocab.txt, for word segmentation as well")
    parser.add_argument("--peer-mb", type=float, default=4.0, help="of text for the peer; a quarter with --words")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{HEADER}\n|{'---|' * HEADER[1:].count('|')}", flush=True)
        for job in jobs(asked, Path(folder)):
            print(row(job, asked.pairs, asked.core, Path(folder)), flush=True)


def jobs(asked: argparse.Namespace, folder: Path) -> Iterator[Job]:
    """Yield what was asked for, with the peer's text written."""
    (folder / "models").symlink_to(asked.uer.resolve() / "models")  # the peer looks for it where it runs
    text, whole = asked.text.resolve(), first_part(asked.text, asked.peer_mb, folder / "peer.txt")
    ours = [*side_by_side.CLUE_BENCH, "corpus", "build", "--out", str(folder / "corpus")]
    ours += ["--workers", "1", "--json"]
    peer = [sys.executable, str(asked.uer.resolve() / "preprocess.py"), "--dataset_path", str(folder / "dataset.pt")]
    peer += ["--seq_length", "128", "--data_processor", "mlm"]
    for vocab in asked.vocab:
        option = "--spm_model_path" if vocab.suffix == ".model" else "--vocab_path"
        mine = [*ours, "--vocab", str(vocab.resolve())]
        its = [*peer, "--dynamic_masking", option, str(vocab.resolve()), "--corpus_path"]
        yield Job(vocab.name, mine, its, text, whole)
    if asked.words:
        first = asked.words.resolve()
        mine = [*ours, "--words", "rjieba", "--vocab", str(first)]
        its = [*peer, "--whole_word_masking", "--dup_factor", "1", "--vocab_path", str(first), "--corpus_path"]
        yield Job("words", mine, its, text, first_part(asked.text, asked.peer_mb / 4, folder / "words.txt"))
        yield Job("words, peer: jieba alone", mine, [sys.executable, "-c", CUT], text, whole)


def first_part(text: Path, megabytes: float, out: Path) -> Path:
    """Write the first whole lines of `text`."""
    data = text.open("rb").read(int(megabytes * 1e6))
    out.write_bytes(data[: data.rindex(b"\n") + 1])
    return out


def row(job: Job, pairs: int, core: int, folder: Path) -> str:
    """Return the table's row for one job."""
    line, longer = folder / "line.txt", folder / "longer.txt"
    line.write_text("中文。\n", encoding="utf-8")
    runs: dict[str, list[Run]] = {"mine": [], "my start": [], "its": [], "its start": []}
    for _ in range(pairs):
        runs["mine"].append(measure(job.ours, job.ours_text, core, folder))
        runs["its"].append(measure(job.peer, job.peer_text, core, folder))
        runs["my start"].append(measure(job.ours, line, core, folder))
        runs["its start"].append(measure(job.peer, line, core, folder))
    with longer.open("wb") as file:
        for _ in range(4):
            file.write(job.ours_text.read_bytes() + b"\n")
    cpu = {name: statistics.median(run.cpu for run in some) for name, some in runs.items()}
    clock = {name: statistics.median(run.clock for run in some) for name, some in runs.items()}
    mine, its = (text.stat().st_size / 1e6 for text in (job.ours_text, job.peer_text))
    ours, peer = mine / (cpu["mine"] - cpu["my start"]), its / (cpu["its"] - cpu["its start"])
    by_clock = (mine / (clock["mine"] - clock["my start"])) / (its / (clock["its"] - clock["its start"]))
    peaks = [max(run.peak for run in runs[name]) for name in ("mine", "its")]
    return (
        f"| {job.name} | {mine:.1f} / {its:.1f} | {ours:.1f} | {peer:.2f} | {ours / peer:.1f} | "
        f"{mine / cpu['mine'] / peer:.1f} | {by_clock:.1f} | {cpu['my start']:.1f} / {cpu['its start']:.1f} | "
        f"{peaks[0]:.0f} / {peaks[1]:.0f} | {measure(job.ours, longer, core, folder).peak:.0f} |"
    )


def measure(command: list[str], text: Path, core: int, folder: Path) -> Run:
    """Run `command` on `text`, bound to `core`."""
    shutil.rmtree(folder / "corpus", ignore_errors=True)
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*command, str(text)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # no thread of ours runs by then
    )
    with side_by_side.sampled(partial(session_bytes, process.pid), seconds=SECONDS_BETWEEN_SAMPLES) as sizes:
        errors = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
    clock = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{' '.join(command)}: {errors.decode()[-2000:]}")
    return Run(usage.ru_utime + usage.ru_stime, clock, max(sizes) / 2**20)


def session_bytes(session: int) -> float:
    """Return the resident bytes of all processes of a session."""
    return sum(resident(path, session) for path in Path("/proc").glob("[0-9]*"))


def resident(process: Path, session: int) -> int:
    """Return the resident bytes of a process of `session`, 0 for any other."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") if int(fields[3]) == session else 0
    except (OSError, IndexError):  # it has ended
        return 0


if __name__ == "__main__":
    main()
