"""A command that was killed, whenever it was, and is typed again leaves what it leaves when nobody kills it."""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import crashes
import pytest
from samples import card_text, write_run

SCRIPT = Path(crashes.__file__)
BUILD = "corpus build text.txt --vocab vocab.txt --out corpus --workers 1"
OWN = "--data rows.csv --text text --label label"
LIGHT = {
    "corpus build": (BUILD, 10),
    "vocab train": ("vocab train text.txt --out new.txt --size 200", 5),
    "vocab prune": ("vocab prune vocab.txt --out pruned.txt", 5),
    "submit": ("submit wsc --out submit.zip", 3),
    "corpus pairs": ("corpus pairs --task pairs.toml --data tasks --vocab vocab.txt --out pairs", 5),
    "corpus texts": ("corpus texts --task pairs.toml --data tasks --out texts.txt", 3),
    "recipes copy": ("recipes copy debug mine.toml", 3),
    "tasks copy": ("tasks copy afqmc mine.toml", 3),
    "tasks new": ("tasks new rows.csv --text text --label label --out mine.toml", 3),
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
    "vocab extend": "vocab extend tiny --token 好 --token [E1] --out extended",
    "vocab exchange": "vocab exchange tiny --vocab vocab.txt --out exchanged",
    "convert": "convert tiny converted --from hf --dtype float16",
    "predict": "predict --model tuned --file rows.csv --out predicted.csv",
    "analyse": "analyse tuned --data rows.csv",
}

CHARACTERS = "有和人这中大为上个国我以要他时来用们生到作地于"

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
    (folder / "afqmc.toml").write_text(card_text("afqmc", rows=1, has_archive=True), encoding="utf-8")
    write_run(folder / "wsc", "cluewsc2020", {"test1.0": range(1, 291)})
    pairs = card_text("pairs", rows=20).replace('["text"]', '["text", "text2"]')
    (folder / "pairs.toml").write_text(pairs, encoding="utf-8")
    (folder / "tasks" / "pairs").mkdir(parents=True)
    for split, first in (("train", "的一是"), ("dev", "在不了")):
        rows = [{"text": first[: 1 + n % 3], "text2": CHARACTERS[n : n + 3], "label": "ab"[n % 2]} for n in range(20)]
        path = folder / "tasks" / "pairs" / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
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
        print(f"{words}: {found['events']} events, {found['kills']} kills")  # noqa: T201  with -rP
        return found

    return crash


@pytest.mark.parametrize("verb", LIGHT)
def test_a_killed_command_typed_again_leaves_the_same(verb, crash):
    words, points = LIGHT[verb]
    assert crash(words, points)["kills"] == points


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
    points = 60 if verb in LIGHT else 8  # a training takes seconds, and is done twice for each
    found = crash(FULL[verb], points, **more, **{"recipe.toml": recipe_file.with_name("recipe.toml")})
    assert found["kills"] == min(points, found["events"])


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "times"), [("corpus build", 9), ("finetune", 3), ("pretrain", 3), ("bench", 3)])
def test_killed_at_a_random_moment_a_command_leaves_the_same(
    verb, times, crash, corpus_folder, recipe_file, checkpoint_folder
):
    crash(FULL[verb], f"{times} random", made=corpus_folder, tiny=checkpoint_folder, **{"recipe.toml": recipe_file})


@pytest.fixture
def together(tmp_path, monkeypatch, corpus_folder, recipe_file, checkpoint_folder):
    """A folder with inputs, and what starts a command there, whose processes can be killed all at once."""
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copytree(corpus_folder, folder / "made")
    shutil.copytree(checkpoint_folder, folder / "tiny")
    shutil.copy(recipe_file, folder / "recipe.toml")
    rows = "".join(f"{'的一是在'[number % 4 :]}{number},{'好坏'[number % 2]}\n" for number in range(60))
    (folder / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    monkeypatch.chdir(folder)
    started = []

    def start(*words):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent.parent)}
        process = subprocess.Popen(words, start_new_session=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process):
    """Kill a command and every process that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finished(*processes):
    return [process.wait(timeout=300) for process in processes]


def until(is_so, process):
    while not is_so() and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_that_are_killed_again_and_again_train_as_those_that_nobody_kills(together):
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2 -m clue_bench"
    words = f"{sys.executable} {torchrun} pretrain recipe.toml --corpus made --tracker none --out".split()
    assert finished(together(*words, "run")) == [0]
    expected = {name: crashes.contents(path) for name, path in files_of(Path("run")).items()}
    shutil.rmtree("run")
    draw = random.Random(0)
    for steps in (1, 4, 8):
        process = together(*words, "run")
        metrics = Path("run/metrics.jsonl")
        until(lambda: metrics.is_file() and len(metrics.read_text().splitlines()) >= steps, process)  # noqa: B023
        time.sleep(draw.uniform(0, 0.05))
        assert process.poll() is None, "ended before it was killed"
        kill(process)
    assert finished(together(*words, "run")) == [0]
    assert {name: crashes.contents(path) for name, path in files_of(Path("run")).items()} == expected


@pytest.mark.slow
def test_of_two_that_share_runs_one_is_killed_and_no_record_is_lost_or_doubled(together):
    words = f"{sys.executable} -m clue_bench bench --model tiny {OWN} --seeds 2 --steps 6 --out".split()
    assert finished(together(*words, "whole")) == [0]
    whole = files_of(Path("whole"))
    for out, seconds in (("runs", 0.0), ("others", 0.5)):
        first, second = together(*words, out), together(*words, out)
        until(lambda: list(Path(out).rglob("*.record.json")), first)  # noqa: B023
        time.sleep(seconds)
        kill(first)
        assert finished(second) == [0]
        assert finished(together(*words, out)) == [0]
        runs = files_of(Path(out))
        assert runs.keys() == whole.keys()
        assert all(crashes.contents(runs[name]) == crashes.contents(path) for name, path in whole.items())


def files_of(folder):
    return {
        str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"
    }
