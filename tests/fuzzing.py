"""Read mutations of a sound file for some time: a reader of other people's files reads, or raises one ClueBenchError.

    python fuzzing.py FILE SECONDS

FILE is sound, lies among what its reader wants beside it, and its name is one of READERS; it is overwritten. Where
atheris is installed (`pip install atheris`), what clue-bench's code does with a mutation decides which one is changed
next; else mutations are drawn blindly. Prints how many were read; exits with another code than 0 at the first fault,
with its traceback and, as `FILE.fault`, what was read.
"""

import contextlib
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

IS_GUIDED = atheris is not None and __name__ == "__main__"

with atheris.instrument_imports(include=["clue_bench", "tomllib"]) if IS_GUIDED else contextlib.nullcontext():
    from clue_bench.cards import load_card
    from clue_bench.corpus.read import Tally, read_documents
    from clue_bench.doors.predictions import read_predictions
    from clue_bench.doors.records import read_record
    from clue_bench.doors.shards import Corpus
    from clue_bench.errors import ClueBenchError
    from clue_bench.prediction.submission.check import check_submission
    from clue_bench.prediction.submission.slots import known_slots
    from clue_bench.pretraining.curve import read_reports
    from clue_bench.pretraining.recipe import Recipe
    from clue_bench.tasks.files import content, locate
    from clue_bench.tasks.formats import parse_table
    from clue_bench.tasks.task import Task, load_task
    from clue_bench.vocab import read_vocabulary
    from clue_bench.weights.configuration import read_object
    from clue_bench.weights.read import open_files

PIECES = [b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b'"', b"'", b",", b"\t", b"\n", b"\r", b"="]
PIECES += [
    b"-1",
    b"0",
    b"1e999",
    b"99999999999999999999",
    b"NaN",
    b"null",
    b"true",
    b"\\ud800",
    b"../",
    b"\xe4\xbd",
    b".",
]


def documents(path: Path) -> None:
    list(read_documents([path], longest=1_000, tally=Tally()))


def table(path: Path) -> None:
    parse_table(path.read_bytes(), name=path.name, where=str(path))


def archive(path: Path) -> None:
    found = locate(load_task("afqmc"), "dev", path.parent)
    if found is not None:
        content(found)


def corpus(path: Path) -> None:
    found = Corpus.open(path.parent)
    found.check()
    for read in (found.ids, found.documents, found.sentences):
        assert all(len(part) for part in read)
    assert found.labels is None
    assert found.vocabulary


def weights(path: Path) -> None:
    assert all(tensor.numel() >= 0 for _, tensor in open_files([path]).tensors())


READERS: dict[str, Callable[[Path], object]] = {
    "text.txt": documents,
    "text.jsonl": documents,
    "rows.csv": table,
    "rows.jsonl": table,
    "rows.json": table,
    "rows.xlsx": table,
    "rows.parquet": table,
    "task.toml": lambda path: load_card(path, Task),
    "recipe.toml": lambda path: load_card(path, Recipe),
    "manifest.json": corpus,
    "a.record.json": read_record,
    "predictions.jsonl": read_predictions,
    "metrics.jsonl": read_reports,
    "afqmc_public.zip": archive,
    "submit.zip": lambda path: check_submission(path, known=known_slots(), data=None),
    "config.json": read_object,
    "vocab.txt": read_vocabulary,
    "model.safetensors": weights,
    "pytorch_model.bin": weights,
}


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Return `data` with some bits, pieces and spans changed."""
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        start = draw.randrange(len(data) + 1)
        end = min(len(data), start + draw.choice((0, 1, 2, 8, 64)))
        match draw.randrange(5):
            case 0:
                middle = bytes(byte ^ (1 << draw.randrange(8)) for byte in data[start:end])
            case 1:
                middle = data[start:end] * draw.choice((0, 2, 300))
            case 2:
                other = draw.randrange(len(data) + 1)
                middle = data[other : other + 64]
            case _:
                middle = draw.choice(PIECES) * draw.choice((1, 1, 1, 2_000))
        data = data[:start] + middle + data[end:]
    return data[: draw.randrange(len(data) + 1)] if draw.random() < 0.05 else data


def check(path: Path) -> None:
    """Read a file; anything but a ClueBenchError with a hint is a bug."""
    refusal = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            READERS[path.name](path)
    except ClueBenchError as error:
        refusal = error
    assert refusal is None or (refusal.hint and len(f"{refusal.message}\n{refusal.hint}".splitlines()) == 2), refusal


def guided(path: Path, seconds: float) -> None:
    """Read what libFuzzer makes of a file, and say how many of them; ends the process."""
    sound, number, started = path.read_bytes(), 0, time.monotonic()
    seeds = path.with_name("seeds")
    seeds.mkdir(exist_ok=True)
    (seeds / path.name).write_bytes(sound)

    def read(data: bytes) -> None:
        nonlocal number
        number += 1
        path.write_bytes(data)
        check(path)
        if time.monotonic() - started > seconds:
            print(f"{path.name}: {number} read in {seconds:.0f} s, guided by coverage", flush=True)  # noqa: T201
            os._exit(0)

    def mutation(data: bytes, longest: int, seed: int) -> bytes:
        draw = random.Random(seed)
        return (mutated(data, draw) if draw.random() < 0.5 else atheris.Mutate(data, longest))[:longest]

    longest = max(20_000, 2 * len(sound))
    options = [f"-max_len={longest}", "-timeout=60", f"-exact_artifact_path={path}.fault", str(seeds)]
    atheris.Setup([sys.argv[0], *options], read, custom_mutator=mutation)
    atheris.Fuzz()


def blind(path: Path, seconds: float) -> None:
    """Read mutations of a file that are drawn anew each time, and say how many of them."""
    sound, ends, number, seed = path.read_bytes(), time.monotonic() + seconds, 0, time.time_ns()
    while time.monotonic() < ends:
        number += 1
        path.write_bytes(mutated(sound, random.Random(f"{seed} {number}")))
        try:
            check(path)
        except BaseException:
            path.rename(f"{path}.fault")
            raise
    print(f"{path.name}: {number} read in {seconds:.0f} s, drawn blindly")  # noqa: T201


if __name__ == "__main__":
    (guided if IS_GUIDED else blind)(Path(sys.argv[1]), float(sys.argv[2]))
