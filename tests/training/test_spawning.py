"""Processes started from scripts without `if __name__ == "__main__"`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clue_bench.doors.shards import Corpus
from clue_bench.training.spawning import hidden_script

ROOT = Path(__file__).parents[2]


def run_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_script_without_a_guard_builds_a_corpus(workers, text_file, vocabulary_file, tmp_path):
    done = run_script(
        tmp_path,
        "import clue_bench as cb\n"
        "print('once')\n"
        f"built = cb.build_corpus({str(text_file)!r}, vocabulary={str(vocabulary_file)!r}, out='corpus',\n"
        f"                        workers={workers}, progress=False)\n"
        "print(built.tokens, __spec__, __file__)\n",
    )
    assert done.returncode == 0, done.stderr
    tokens = Corpus.open(tmp_path / "corpus").manifest.counts.tokens
    assert done.stdout.splitlines() == ["once", f"{tokens} None {tmp_path / 'script.py'}"]


@pytest.mark.slow
def test_a_script_without_a_guard_benchmarks_side_by_side(checkpoint_folder, tmp_path):
    done = run_script(
        tmp_path,
        "import clue_bench as cb\n"
        "print('once')\n"
        "rows = [{'text': '我们在学' + '不' * (n % 2), 'label': 'ny'[n % 2]} for n in range(24)]\n"
        f"board = cb.bench({str(checkpoint_folder)!r}, 'mine', data={{'train': rows, 'dev': rows}}, text='text',\n"
        "                 label='label', seeds=3, steps=100, settings={'epochs': 100, 'precision': 'fp32'},\n"
        "                 floor=False, progress=False)\n"
        "print(len(cb.load_runs('runs')))\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once", "3"]


def test_the_script_is_as_before_after_an_error():
    main = vars(sys.modules["__main__"])
    before = main["__spec__"], main.get("__file__")

    def fail():
        with hidden_script():
            assert main["__spec__"] is None
            assert "__file__" not in main
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (main["__spec__"], main.get("__file__")) == before
