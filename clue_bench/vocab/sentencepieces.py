"""Train sentencepiece vocabularies, as UER's word models have them; the same text gives the same model.

1. Sentences go to a process of their own (`trainer`), which keeps them in memory, or a random sample of them.
2. The library makes up to a million candidate pieces and drops a quarter of them a round, until `size` are left.
3. The model comes back as a `Vocabulary`.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.vocab.read import read_vocabulary
from clue_bench.vocab.trainer import LONGEST_SENTENCE
from clue_bench.vocab.vocabulary import Vocabulary

MEMORY_PER_BYTE = 24  # bytes of memory a byte of text; measured 21 (482 MiB for 22.9 MiB of text and 100,000 pieces)
BYTES_BETWEEN_CHECKS = 2**24
SECONDS_BETWEEN_LOOKS = 0.2


class Trained(NamedTuple):
    """A trained vocabulary, and what of the text it was trained on."""

    vocabulary: Vocabulary
    sentences: int
    """Sentences that the trainer was given; with a sample, those it was drawn from."""
    too_long: int
    """Sentences of more than LONGEST_SENTENCE bytes, which were left out."""


def train_sentencepiece(
    sentences: Iterable[str], *, size: int, sample: int | None, on_round: Callable[[int], None]
) -> Trained:
    """Train a model of `size` pieces; `on_round` is called with the number of pieces that are left.

    `sample` bounds the memory: so many sentences are drawn at random; without it all of them are used.
    Raises ClueBenchError if the text is too small or too large for that, or `size` too small for its characters.
    """
    with tempfile.TemporaryDirectory(prefix="clue-bench-") as folder:
        model, log = Path(folder, "spiece.model"), Path(folder, "log")
        command = [sys.executable, "-m", "clue_bench.vocab.trainer", str(model), str(size), str(sample or 0)]
        with log.open("wb") as errors, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors) as process:
            try:
                assert process.stdin is not None
                used, too_long = _feed(process.stdin, sentences, is_bounded=sample is not None)
                _watch(process, log, on_round)
            finally:
                if process.poll() is None:
                    process.kill()
        if process.returncode:
            raise _failure(log.read_text(encoding="utf-8", errors="replace"), size, process.returncode)
        return Trained(read_vocabulary(model), used, too_long)


def _feed(stdin: IO[bytes], sentences: Iterable[str], *, is_bounded: bool) -> tuple[int, int]:
    """Write the sentences, one a line, and close; return how many there were and how many were too long."""
    used = too_long = size = checked = 0
    try:
        with stdin:
            for sentence in sentences:
                data = sentence.encode()
                if len(data) > LONGEST_SENTENCE:
                    too_long += 1
                    continue
                stdin.write(data + b"\n")
                used, size = used + 1, size + len(data)
                if not is_bounded and size - checked >= BYTES_BETWEEN_CHECKS:
                    _check_memory(size)
                    checked = size
    except BrokenPipeError:
        pass  # the process has ended; its log says why
    return used, too_long


def _check_memory(size: int) -> None:
    """Raise ClueBenchError if `size` bytes of text are more than can be trained on here."""
    free = _free_memory()
    if free is not None and size * (MEMORY_PER_BYTE - 1) > free:  # the text itself is in the process by now
        raise ClueBenchError(
            f"over {size / 2**20:,.0f} MiB of text need more memory to train on than the "
            f"{free / 2**30:.1f} GiB that are free",
            "--sentences 5000000 trains on a random sample of so many sentences",
        )


def _free_memory() -> int | None:
    """Return the bytes that processes can still have, None where the system does not say."""
    facts = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", facts.read_text()) if facts.is_file() else None
    return int(found[1]) * 1024 if found else None


def _watch(process: "subprocess.Popen[bytes]", log: Path, on_round: Callable[[int], None]) -> None:
    """Report each round of the process from its log until it ends."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        has_ended = False
        while not has_ended:
            has_ended = process.poll() is not None  # before the last look, which sees the whole log
            for pieces in re.findall(r"EM sub_iter=0 size=(\d+)", lines.read()):
                on_round(int(pieces))
            if not has_ended:
                time.sleep(SECONDS_BETWEEN_LOOKS)


def _failure(log: str, size: int, code: int) -> ClueBenchError:
    """Return what the library's last words mean."""
    if found := re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", log):
        most = int(found[1])
        return ClueBenchError(
            f"the text is too small for {size:,} pieces: {most:,} is the largest possible size",
            f"--size {most} or less, or more text",
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", log):
        least = int(found[1])
        return ClueBenchError(
            f"{size:,} pieces are too few: the text's characters and the special tokens are {least:,}",
            f"--size {least} or more",
        )
    if "!sentences_.empty()" in log:
        return ClueBenchError("no text to train a vocabulary on", "every sentence is empty, or too long")
    if code < 0:
        return ClueBenchError(
            f"training was ended by signal {-code}, perhaps for want of memory", "--sentences N trains on a sample"
        )
    return ClueBenchError(f"sentencepiece: {(log.strip() or str(code)).splitlines()[-1]}", "this is its last message")
