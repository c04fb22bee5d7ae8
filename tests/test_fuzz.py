"""Readers of other people's files, on mutations of sound ones: they read, or raise one ClueBenchError with a hint."""

import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from clue_bench.cards import load_card
from clue_bench.corpus.read import Tally, read_documents
from clue_bench.doors.predictions import read_predictions
from clue_bench.doors.records import read_record
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import Recipe
from clue_bench.tasks.formats import parse_table
from clue_bench.tasks.task import Task
from clue_bench.vocab import read_vocabulary
from clue_bench.weights.read import open_files, read_object

ROOT = Path(__file__).parent.parent
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
    "task.toml": lambda path: load_card(path, Task),
    "recipe.toml": lambda path: load_card(path, Recipe),
    "manifest.json": corpus,
    "a.record.json": read_record,
    "predictions.jsonl": read_predictions,
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


def check(reader: Callable[[Path], object], path: Path) -> None:
    """Read a file; anything but a ClueBenchError with a hint is a bug."""
    refusal = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader(path)
    except ClueBenchError as error:
        refusal = error
    assert refusal is None or (refusal.hint and len(f"{refusal.message}\n{refusal.hint}".splitlines()) == 2), refusal


@pytest.fixture(scope="module")
def sound(tmp_path_factory, text_file, vocabulary_file, corpus_folder, checkpoint_folder) -> dict[str, bytes]:
    """The contents of a sound file for each reader."""
    import torch
    from safetensors.torch import load_file

    checkpoint = checkpoint_folder / "checkpoint"
    pickle = tmp_path_factory.mktemp("pickle") / "pytorch_model.bin"
    torch.save(
        {name: tensor[:2].clone() for name, tensor in load_file(checkpoint / "model.safetensors").items()}, pickle
    )
    rows = '{"text": "一二", "label": "甲", "n": 1.5}\n{"text": "三", "label": null, "n": [1, {"a": "b"}]}\n'
    record = next(checkpoint_folder.glob("*.record.json"))
    files: dict[str, Path | str] = {
        "text.txt": text_file,
        "text.jsonl": rows,
        "rows.csv": 'text,label\n"一, ""二""",甲\n三,乙\n',
        "rows.jsonl": rows,
        "rows.json": f"[{rows.strip().replace(chr(10), ',')}]",
        "task.toml": ROOT / "tasks" / "cluewsc2020.toml",
        "recipe.toml": ROOT / "pretrain" / "debug.toml",
        "manifest.json": corpus_folder / "manifest.json",
        "a.record.json": record,
        "predictions.jsonl": '{"id": 0, "label": "a", "probabilities": {"a": 0.5, "b": 0.5}}\n',
        "config.json": checkpoint / "config.json",
        "vocab.txt": vocabulary_file,
        "model.safetensors": checkpoint / "model.safetensors",
        "pytorch_model.bin": pickle,
    }
    return {name: each.encode() if isinstance(each, str) else each.read_bytes() for name, each in files.items()}


def fuzz(name: str, sound: bytes, folder: Path, *, seconds: float, seed: int) -> int:
    """Read mutations of a file for some time; return how many."""
    ends, path, number = time.monotonic() + seconds, folder / name, 0
    while time.monotonic() < ends:
        number += 1
        path.write_bytes(mutated(sound, random.Random(f"{seed} {number}")))
        try:
            check(READERS[name], path)
        except BaseException as error:
            error.add_note(f"{name}, seed {seed} {number}: {path.read_bytes()[:3000]!r}")
            raise
    return number


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name, sound, corpus_folder, tmp_path):
    import shutil

    shutil.copytree(corpus_folder, tmp_path / "files")
    assert fuzz(name, sound[name], tmp_path / "files", seconds=20, seed=time.time_ns()) > 10


@pytest.mark.parametrize("name", [name for name in READERS if not name.startswith(("model", "pytorch", "manifest"))])
def test_some_mutated_files_are_read_or_refused_in_one_line(name, sound, tmp_path):
    path = tmp_path / name
    for seed in range(15):
        path.write_bytes(mutated(sound[name], random.Random(seed)))
        check(READERS[name], path)
