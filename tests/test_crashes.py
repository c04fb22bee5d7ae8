"""A command that was killed, whenever it was, and is typed again leaves what it leaves when nobody kills it."""

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crashes.py")
BUILD = "corpus build text.txt --vocab vocab.txt --out corpus --workers 1"
OWN = "--data rows.csv --text text --label label"
LIGHT = {
    "corpus build": (BUILD, 10),
    "vocab train": ("vocab train text.txt --out new.txt --size 200", 5),
    "vocab prune": ("vocab prune vocab.txt --out pruned.txt", 5),
    "data fetch": ("data fetch --task afqmc.toml --data data --mirror MIRROR", 4),
}
"""Commands that need no torch, and how many of their file-system events are tried in the fast tests."""

FULL = {
    **{verb: words for verb, (words, _) in LIGHT.items()},
    "leaderboard": "leaderboard --records tuned --out board",
    "pretrain": "pretrain recipe.toml --corpus made --out run --tracker none",
    "pretrain --from": "pretrain --from tiny --corpus made --out run --steps 3 --tracker none",
    "finetune": f"finetune --model tiny {OWN} --out run --steps 3",
    "floor": f"floor {OWN} --out runs",
    "bench": f"bench --model tiny {OWN} --out runs --seeds 2 --steps 2",
    "convert": "convert tiny converted --from hf --dtype float16",
    "predict": "predict --model tuned --file rows.csv --out predicted.csv",
    "analyse": "analyse tuned --data rows.csv",
}
CARD = """
name = "afqmc"
title = "测试"
column = "T"
text_fields = ["text"]
label_field = "label"
labels = ["a", "b"]
label_descriptions = ["甲", "乙"]
metric = "accuracy"
max_length = 16
[splits.train]
file = "train.jsonl"
rows = 1
[splits.dev]
file = "dev.jsonl"
rows = 1
[archive]
file = "afqmc.zip"
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the runs are forks of one process")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(tmp_path):
    """The address of a folder that holds the card's zip."""
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / "afqmc.zip", "w") as archive:
        for split in ("train", "dev"):
            archive.writestr(f"{split}.jsonl", json.dumps({"text": split, "label": "a"}) + "\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def crash(tmp_path, text_file, vocabulary_file, mirror):
    """What kills a command at some of its events, in a folder with text, rows and whatever `more` names."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    shutil.copy(text_file, folder / "text.txt")
    shutil.copy(vocabulary_file, folder / "vocab.txt")
    (folder / "afqmc.toml").write_text(CARD, encoding="utf-8")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([f"{'的一是在'[number % 4 :]}{number}", "好坏"[number % 2]] for number in range(60))

    def crash(words, points, **more):
        for name, source in more.items():
            shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
        command = [sys.executable, SCRIPT, folder, tmp_path / "work", points, *words.replace("MIRROR", mirror).split()]
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["faults"] == []
        return found

    return crash


@pytest.mark.parametrize("verb", LIGHT)
def test_a_killed_command_typed_again_leaves_the_same(verb, crash):
    words, points = LIGHT[verb]
    assert crash(words, points)["kills"] >= 4


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, checkpoint_folder):
    """The folder of a fine-tuning run on rows like those of `crash`."""
    import clue_bench as cb

    folder = tmp_path_factory.mktemp("tuned")
    rows = [{"text": f"{'的一是在'[number % 4 :]}{number}", "label": "好坏"[number % 2]} for number in range(60)]
    return cb.finetune(
        "rows", checkpoint_folder, data=rows, text="text", label="label", out=folder / "run", settings={"steps": 2}
    ).folder


@pytest.mark.slow
@pytest.mark.parametrize("verb", FULL)
def test_wherever_a_command_is_killed_typed_again_it_leaves_the_same(
    verb, crash, corpus_folder, recipe_file, checkpoint_folder, tuned
):
    text = recipe_file.read_text(encoding="utf-8")
    recipe_file.with_name("recipe.toml").write_text(text.replace("steps = 24", "steps = 8"), encoding="utf-8")
    more = {"made": corpus_folder, "tiny": checkpoint_folder, "tuned": tuned}
    points = 25 if verb in LIGHT else 8  # a training takes seconds, and is done twice for each
    found = crash(FULL[verb], points, **more, **{"recipe.toml": recipe_file.with_name("recipe.toml")})
    assert found["kills"] == min(points, found["events"])


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["corpus build", "finetune"])
def test_killed_at_a_random_moment_a_command_leaves_the_same(
    verb, crash, corpus_folder, recipe_file, checkpoint_folder
):
    crash(FULL[verb], "3 random", made=corpus_folder, tiny=checkpoint_folder, **{"recipe.toml": recipe_file})
