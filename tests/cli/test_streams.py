"""What the streams of a command carry: JSON for any encoding, pipes that end, terminals that cannot draw."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from clue_bench.vocab import SPECIAL_TOKENS

COMMAND = [sys.executable, "-m", "clue_bench"]


@pytest.fixture
def build(tmp_path: Path) -> list[str]:
    """A command that shows progress and prints a result."""
    (tmp_path / "字😀.txt").write_text("甲乙丙\n", encoding="utf-8")
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *"甲乙丙"]), encoding="utf-8")
    paths = [str(tmp_path / "字😀.txt"), "--vocab", str(tmp_path / "vocab.txt"), "--out", str(tmp_path / "corpus")]
    return [*COMMAND, "corpus", "build", *paths, "--workers", "1"]


@pytest.mark.parametrize(
    "encoding", ["gbk", *(pytest.param(each, marks=pytest.mark.slow) for each in ("ascii", "utf-8", "latin-1"))]
)
def test_json_is_valid_whatever_the_encoding_of_stdout_is(build: list[str], encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([*build, "--json"], env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout.decode("utf-8"))["inputs"] == ["字😀.txt"]


def test_colours_that_are_forced_do_not_draw_bars_into_a_pipe(build: list[str]) -> None:
    done = subprocess.run(build, env={**os.environ, "FORCE_COLOR": "1"}, capture_output=True, check=True, text=True)
    assert "\x1b" not in done.stdout + done.stderr
    assert "corpus 100 %" in done.stderr
    name = next(line for line in done.stdout.splitlines() if line.startswith("corpus"))
    assert name.endswith(f"{Path(build[-3]).name}")


def test_a_terminal_that_cannot_redraw_gets_lines(build: list[str]) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb"}
    with subprocess.Popen(build, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    assert b"corpus   0 %" in shown
    assert b"\x1b" not in shown


@pytest.mark.parametrize("arguments", [["recipes", "list"], ["recipes", "show", "albert-base"], ["finetune", "--help"]])
def test_a_reader_that_goes_is_no_failure(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_no_failure_and_no_files_number(build: list[str], closed: int) -> None:
    done = subprocess.run(build, preexec_fn=lambda: os.close(closed), check=False)
    assert done.returncode == 0
    assert (Path(build[build.index("--out") + 1]) / "manifest.json").is_file()
