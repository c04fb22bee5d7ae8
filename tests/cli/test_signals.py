"""Signals before a verb has begun: one line, exit code 130, and never in the middle of an import."""

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from clue_bench.cli import _interrupt

KILLS_ITSELF = (
    "import os, signal\nos.kill(os.getpid(), signal.{name})\nfor _ in range(10**5):\n    pass\nwas_imported = True\n"
)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_import_is_finished_before_a_signal_counts(name, tmp_path, monkeypatch):
    (tmp_path / f"killed_by_{name}.py").write_text(KILLS_ITSELF.format(name=name), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    number = getattr(signal, name)
    before = signal.signal(number, _interrupt)
    try:
        assert importlib.import_module(f"killed_by_{name}").was_imported
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_command_line_is_imported_is_one_line(name, tmp_path):
    (tmp_path / "typer.py").write_text(KILLS_ITSELF.format(name=name), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "clue_bench", "recipes", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines() == ["interrupted", "hint: type the same command again"]
