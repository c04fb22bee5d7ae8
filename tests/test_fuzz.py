"""Readers of other people's files, on mutations of sound ones: they read, or raise one ClueBenchError with a hint.

The slow test has 20 s for each reader, or CLUE_BENCH_FUZZ_SECONDS:

    CLUE_BENCH_FUZZ_SECONDS=260 python -m pytest -n 0 -rP -m slow tests/test_fuzz.py      # an hour
"""

import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import fuzzing
import pytest

from clue_bench.tasks.formats import write_rows

ROOT = Path(__file__).parent.parent
SECONDS = os.environ.get("CLUE_BENCH_FUZZ_SECONDS", "20")


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
    tables = tmp_path_factory.mktemp("tables")
    for name in ("rows.xlsx", "rows.parquet"):
        write_rows(tables / name, [{"text": "一二", "label": "甲"}, {"text": "三", "label": "乙"}])
    with zipfile.ZipFile(tables / "submit.zip", "w") as archive:
        archive.writestr("afqmc_predict.json", '{"id": 0, "label": "0"}\n' * 3861)
    with zipfile.ZipFile(tables / "afqmc_public.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dev.json", '{"sentence1": "一", "sentence2": "二", "label": "0"}\n' * 100)
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
        "rows.xlsx": tables / "rows.xlsx",
        "rows.parquet": tables / "rows.parquet",
        "afqmc_public.zip": tables / "afqmc_public.zip",
        "submit.zip": tables / "submit.zip",
        "metrics.jsonl": checkpoint_folder / "metrics.jsonl",
        "predictions.jsonl": '{"id": 0, "label": "a", "probabilities": {"a": 0.5, "b": 0.5}}\n',
        "config.json": checkpoint / "config.json",
        "vocab.txt": vocabulary_file,
        "model.safetensors": checkpoint / "model.safetensors",
        "pytorch_model.bin": pickle,
    }
    return {name: each.encode() if isinstance(each, str) else each.read_bytes() for name, each in files.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzzing.READERS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name, sound, corpus_folder, tmp_path):
    shutil.copytree(corpus_folder, tmp_path / "files")
    path = tmp_path / "files" / name
    path.write_bytes(sound[name])
    command = [sys.executable, fuzzing.__file__, path, SECONDS]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    fault = Path(f"{path}.fault")
    assert done.returncode == 0, f"{done.stderr[-8000:]}\n{fault.read_bytes()[:3000] if fault.is_file() else ''!r}"
    print(done.stdout)  # noqa: T201  with -rP
    assert int(done.stdout.split()[1]) > 10


@pytest.mark.parametrize(
    "name", [name for name in fuzzing.READERS if not name.startswith(("model", "pytorch", "manifest"))]
)
def test_some_mutated_files_are_read_or_refused_in_one_line(name, sound, tmp_path):
    path = tmp_path / name
    for seed in range(15):
        path.write_bytes(fuzzing.mutated(sound[name], random.Random(seed)))
        fuzzing.check(path)
