"""States saved between two reports, runs that are asked to stop, and what both say."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from clue_bench.cli import main
from clue_bench.doors.records import read_records
from clue_bench.doors.shards import Corpus
from clue_bench.errors import Interrupted
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run, run_steps
from clue_bench.pretraining.train import Pretraining

TIMES = ("tokens_per_second", "model_flops_per_second", "mfu", "hardware_flops_per_second", "hfu", "seconds")
COMMAND = "from clue_bench.cli import main; main()"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends other signals")


@pytest.fixture
def begin(two_stage_file, corpus_folder):
    """What prepares a two-stage run: eight steps of stage 1, eight of stage 2, a report every four."""

    def begin(out, **overrides):
        settings = {"log_every": 4, "save_every": 8, **overrides}
        return Pretraining(load_recipe(str(two_stage_file), settings), Corpus.open(corpus_folder), out)

    return begin


def outcome(out):
    """Every number of every report, but for the times, and the weights."""
    lines = map(json.loads, (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    numbers = [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
    return numbers, [(out / name / "model.safetensors").read_bytes() for name in ("checkpoint-stage1", "checkpoint")]


@pytest.mark.slow
def test_a_state_saved_after_any_step_changes_no_number(begin, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    list(run(begin(whole), asked={}))
    for step in (1, 3, 4, 7, 8, 10, 13, 15):
        moments = run_steps(begin(broken), asked={}, seconds_between_saves=0.0)
        pretraining = begin(broken)
        pretraining.resume()
        before = pretraining.step
        for _ in range(1 + step - before):
            next(moments)
        moments.close()
    list(run(begin(broken), asked={}))
    assert outcome(broken) == outcome(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_ends_its_step_saves_and_says_so(begin, tmp_path, number, capfd):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    list(run(begin(whole), asked={}))
    pretraining = begin(stopped)
    moments = run_steps(pretraining, asked={})
    while pretraining.step < 9:
        next(moments)
    os.kill(os.getpid(), number)
    assert (next(moments), pretraining.step) == (None, 10)
    with pytest.raises(Interrupted) as caught:
        next(moments)
    assert caught.value.message == "pretrain test: stopped and saved at step 10 of 16"
    assert caught.value.hint == "type the same command again: it continues"
    assert ("stopping after this step" in capfd.readouterr().err) == (number == signal.SIGINT)
    assert [record.status for record in read_records(stopped)] == ["interrupted"]
    continued = begin(stopped)
    list(run(continued, asked={}))
    assert outcome(stopped) == outcome(whole)


def test_a_run_that_is_asked_to_stop_in_its_last_step_is_complete(begin, tmp_path):
    pretraining = begin(tmp_path)
    for _ in run_steps(pretraining, asked={}):
        if pretraining.step == 15:
            os.kill(os.getpid(), signal.SIGTERM)
    assert [record.status for record in read_records(tmp_path)] == ["completed"]


@pytest.mark.slow
def test_the_command_says_where_it_stopped_and_where_it_continues(
    capfd, monkeypatch, recipe_file, corpus_folder, tmp_path
):
    settings = ["--set", "log_every=10", "--set", "save_every=600", "--tracker", "none"]
    typed = ["pretrain", recipe_file, "--corpus", corpus_folder, "--out", tmp_path / "run", "--steps", 600, *settings]
    command = [sys.executable, "-c", COMMAND, *map(str, typed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        ends = time.monotonic() + 300
        while not (tmp_path / "run" / "metrics.jsonl").is_file():
            assert time.monotonic() < ends
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    said = err.splitlines()
    assert said[0] == "pretrain test   0 %"  # at once
    at = said[-2].removeprefix("pretrain test: stopped and saved at step ").removesuffix(" of 600")
    assert said[-1] == "hint: type the same command again: it continues"
    monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, typed)])
    with pytest.raises(SystemExit) as exited:
        main()
    assert not exited.value.code
    said = capfd.readouterr().err.splitlines()
    assert said[0] == f"continues at step {at} of 600"
    assert said[1] == f"pretrain test {int(at) // 6:3d} %"
    assert any(line.startswith("pretrain test 100 %  step 600 of 600  ") for line in said)
