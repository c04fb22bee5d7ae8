"""Disks that take nothing, or lose files in mid-run: one line that names the file, and nothing half written."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clue_bench.cli import main

LIGHT = [
    "vocab train text.txt --out disk/new.txt --size 200",
    "vocab prune vocab.txt --out disk/new.txt",
    "corpus build text.txt --vocab vocab.txt --out disk/new --workers 1",
    "recipes copy debug disk/new.toml",
    "tasks copy afqmc disk/new.toml",
    "tasks new rows.csv --text text --label label --out disk/new.toml",
    "leaderboard --records . --out disk/new",
    "data fetch --task afqmc --data disk/new --mirror http://127.0.0.1:1",
]
"""Commands that write to a disk."""

WITH_TORCH = [
    "pretrain recipe.toml --corpus corpus --out disk/new --tracker none",
    "finetune --data rows.csv --text text --label label --model tiny --out disk/new --steps 2",
    "floor --data rows.csv --text text --label label --out disk/new",
    "bench --data rows.csv --text text --label label --model tiny --out disk/new --seeds 1 --steps 2",
    "convert tiny disk/new --from hf",
    "vocab extend tiny --token 好 --out disk/new",
    "vocab exchange tiny --vocab vocab.txt --out disk/new",
    "predict --model tuned --file rows.csv --out disk/new.csv",
    "analyse tuned --data rows.csv --out disk/new.html",
    "speed --model tiny --out disk/new --repetitions 3 --seconds 0.01",
]


@pytest.fixture
def folder(tmp_path, monkeypatch, text_file, vocabulary_file, corpus_folder, recipe_file):
    """The current folder, with a sound input of every kind but models."""
    folder = tmp_path / "here"
    folder.mkdir()
    for source, name in ((text_file, "text.txt"), (vocabulary_file, "vocab.txt"), (recipe_file, "recipe.toml")):
        shutil.copy(source, folder / name)
    shutil.copytree(corpus_folder, folder / "corpus")
    rows = "".join(f"{'的一是在'[number % 4 :]}{number},{'好坏'[number % 2]}\n" for number in range(60))
    (folder / "rows.csv").write_text("text,label\n" + rows, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # main() is not alone in this process
    return folder


@pytest.fixture
def disk(folder):
    """What mounts a disk of its own at the folder `disk`, with some options; skips where nothing may be mounted."""
    place = folder / "disk"
    place.mkdir()
    mounted = []

    def disk(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(place)

    yield disk
    for each in mounted:
        subprocess.run(["umount", "-l", each], check=True)


def typed(words, capfd, monkeypatch):
    """Type a command; return its exit code and stderr."""
    monkeypatch.setattr(sys, "argv", ["clue-bench", *words.split()])
    with pytest.raises(SystemExit) as exited:
        main()
    return exited.value.code, capfd.readouterr().err


def listing():
    return sorted(str(path) for path in Path().rglob("*") if path.is_file() and path.name != ".lock")


def check_refusal(words, capfd, monkeypatch, *, named, hint):
    """Type a command where nothing can be written; it must say so in two lines, and leave no file."""
    before = listing()
    code, err = typed(words, capfd, monkeypatch)
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    assert (code, len(errors), "Traceback" in err) == (1, 1, False), err
    assert named in errors[0], err
    assert hint in lines[lines.index(errors[0]) + 1], err
    assert listing() == before


@pytest.mark.parametrize("words", LIGHT)
def test_a_disk_that_is_read_only_is_named(words, disk, capfd, monkeypatch):
    disk("ro")
    check_refusal(words, capfd, monkeypatch, named="disk", hint="hint:")


@pytest.mark.parametrize("words", LIGHT)
@pytest.mark.parametrize("code", [errno.EDQUOT, errno.ENOSPC])
def test_a_quota_that_is_used_up_is_named(words, code, folder, capfd, monkeypatch):
    def full(descriptor):
        raise OSError(code, os.strerror(code))

    if words.startswith("data fetch"):
        pytest.skip("there is nothing to fetch")
    (folder / "disk").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    check_refusal(words, capfd, monkeypatch, named=os.strerror(code), hint="free space")


@pytest.fixture
def models(folder, checkpoint_folder):
    """A checkpoint and a fine-tuned one beside the other inputs."""
    import clue_bench as cb

    shutil.copytree(checkpoint_folder, folder / "tiny")
    cb.finetune("rows", "tiny", data="rows.csv", text="text", label="label", out="tuned", steps=2, progress=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("words", WITH_TORCH)
def test_a_disk_that_is_read_only_is_named_by_commands_that_train(words, models, disk, capfd, monkeypatch):
    disk("ro")
    check_refusal(words, capfd, monkeypatch, named="disk", hint="hint:")


@pytest.mark.slow
@pytest.mark.parametrize("words", WITH_TORCH)
def test_a_disk_that_is_full_is_named_by_commands_that_train(words, models, disk, capfd, monkeypatch):
    disk("size=4k")
    Path("disk/filler").write_bytes(bytes(4096))
    code, err = typed(words, capfd, monkeypatch)
    assert (code, err.count("error:"), "Traceback" in err, "free space" in err) == (1, 1, False, True), err
    assert [path for path in listing() if ".tmp" in path or not Path(path).stat().st_size] == []


PRETRAIN = "pretrain recipe.toml --corpus corpus --out new --tracker none"
LOST = {
    f"{PRETRAIN} --set save_every=2": ("corpus", "new"),
    "pretrain --from tiny --corpus corpus --out new --steps 24 --tracker none": ("tiny", "corpus"),
    "finetune --data rows.csv --text text --label label --model tiny --out new --steps 24": ("rows.csv", "tiny", "new"),
    "floor --data rows.csv --text text --label label --out new": ("rows.csv", "new"),
    "bench --data rows.csv --text text --label label --model tiny --out new --seeds 2 --steps 12": ("rows.csv", "tiny"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("words", "lost"), [(words, lost) for words, each in LOST.items() for lost in each])
def test_what_is_lost_in_mid_run_is_named_and_the_run_goes_on_when_it_is_back(words, lost, models, capfd, monkeypatch):
    assert typed(words, capfd, monkeypatch)[0] == 0
    expected = {str(path): path.read_bytes() for path in Path("new").rglob("model.safetensors")}
    shutil.rmtree("new")

    def lose():
        while not list(Path("new").rglob("*.record.json")):
            time.sleep(0.002)
        time.sleep(0.05)
        Path(lost).rename("gone")

    thread = threading.Thread(target=lose)
    thread.start()
    code, err = typed(words, capfd, monkeypatch)
    thread.join()
    assert (code in (0, 1), "Traceback" in err, err.count("error:") == code) == (True, False, True), err
    if lost != "new":
        Path("gone").rename(lost)
    assert typed(words, capfd, monkeypatch)[0] == 0
    assert {str(path): path.read_bytes() for path in Path("new").rglob("model.safetensors")} == expected
