"""Environments that are not what a command expects: it works, or says in two lines what is wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "clue_bench"]
ROOT = Path(__file__).parent.parent.parent
UNSET = None
ENVIRONMENTS = {
    "no HOME": {"HOME": UNSET},
    "HOME is nowhere": {"HOME": "/nowhere/at all"},
    "LANG=C": {"LC_ALL": UNSET, "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII": {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "a locale that is none": {"LC_ALL": "xx_YY.nonsense", "LANG": "zh"},
    "threads x": {"OMP_NUM_THREADS": "x"},
    "threads 0": {"OMP_NUM_THREADS": "0"},
    "threads -1": {"OMP_NUM_THREADS": "-1"},
    "no TERM": {"TERM": UNSET},
    "TERM=dumb": {"TERM": "dumb"},
    "a TERM that is none": {"TERM": "nonsense"},
    "COLUMNS=0": {"COLUMNS": "0"},
    "COLUMNS=1": {"COLUMNS": "1"},
    "COLUMNS=x": {"COLUMNS": "x"},
    "TMPDIR is nowhere": {"TMPDIR": "/nowhere"},
    "no PATH": {"PATH": ""},
}
STREAMS = {
    "no input": "{} <&-",
    "no output": "{} >&-",
    "no errors": "{} 2>&-",
    "nothing at all": "{} <&- >&- 2>&-",
    "a reader that is gone": "{} | true; exit ${{PIPESTATUS[0]}}",
    "no terminal": "setsid {} </dev/null | cat; exit ${{PIPESTATUS[0]}}",
}
QUICK = ["no HOME", "ASCII", "threads x"]
TRAINED = ["no HOME", "LANG=C", "threads x", "threads 0", "threads -1", "TMPDIR is nowhere", "no PATH"]
"""Environments in which a model is trained, too, which takes seconds."""


@pytest.fixture
def folder(tmp_path, monkeypatch, text_file, vocabulary_file):
    folder = tmp_path / "文件夹 😀"
    folder.mkdir()
    shutil.copy(text_file, folder / "text.txt")
    shutil.copy(vocabulary_file, folder / "vocab.txt")
    rows = "".join(f"{'的一是在'[number % 4 :]}{number},{'好坏'[number % 2]}\n" for number in range(60))
    (folder / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def listing():
    return sorted(str(path) for path in Path().rglob("*"))


def typed(words, given):
    """Type a command in an environment; return its exit code and stderr."""
    found = {**os.environ, "PYTHONPATH": str(ROOT), **given}
    found = {name: value for name, value in found.items() if value is not UNSET}
    done = subprocess.run([*COMMAND, *words.split()], env=found, capture_output=True, check=False)
    return done.returncode, done.stderr.decode(errors="replace")


def check_refused(words, given):
    before = listing()
    code, err = typed(words, given)
    lines = err.splitlines()
    kinds = [sum(line.startswith(starts) for line in lines) for starts in (("error:", "错误"), ("hint:", "提示"))]
    if given.get("LANG") != "zh":  # where ASCII shows Chinese as escapes
        assert kinds == [1, 1], err
    assert (code, "Traceback" in err, listing()) == (1, False, before), err


def check_done(words, given):
    code, err = typed(words, given)
    assert (code, "Traceback" in err) == (0, False), err
    assert [path for path in listing() if ".tmp" in path] == []


@pytest.mark.parametrize("name", QUICK)
def test_a_command_in_a_strange_environment_works_or_says_what_is_wrong(name, folder):
    check_done("vocab prune vocab.txt --out pruned.txt", ENVIRONMENTS[name])
    check_refused("vocab prune nowhere.txt --out other.txt", ENVIRONMENTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_commands_that_train_and_start_processes_in_a_strange_environment(name, folder, checkpoint_folder):
    shutil.copytree(checkpoint_folder, folder / "tiny")
    given = ENVIRONMENTS[name]
    check_done("corpus build text.txt --vocab vocab.txt --out corpus --workers 2", given)
    if name in TRAINED:
        check_done("finetune --data rows.csv --text text --label label --model tiny --out run --steps 2", given)
    check_refused("finetune --data rows.csv --text text --label label --model nowhere --out other", given)
    check_refused("tasks show tnew", given)


def under(name, words):
    """Type a command with strange streams; return its exit code and stderr."""
    line = STREAMS[name].format(" ".join([*COMMAND, words]))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, check=False)
    return done.returncode, done.stderr.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_strange_streams_change_neither_what_is_done_nor_the_exit_code(name, folder):
    code, err = under(name, "vocab prune vocab.txt --out pruned.txt")
    assert (code, "Traceback" in err, Path("pruned.txt").is_file()) == (0, False, True), err
    code, err = under(name, "vocab prune nowhere.txt --out other.txt")
    assert (code, "Traceback" in err, Path("other.txt").exists()) == (1, False, False), err
