"""What a pretraining run shows: the live table, the line, the result, and the tracker's option."""

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

import clue_bench as cb
from clue_bench.api import pretraining, progress, run_tables
from clue_bench.cli import main
from clue_bench.doors.results import PretrainResults
from clue_bench.doors.shards import Corpus
from clue_bench.numbers import scaled
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.report import TrainingReport
from clue_bench.pretraining.train import Pretraining
from clue_bench.training.stopping import stop_requests

REPORT = TrainingReport(
    step=6500,
    stage=2,
    loss=2.715,
    lm_loss=2.315,
    lm_accuracy=0.531,
    sop_loss=0.4005,
    sop_accuracy=0.81,
    pair_loss=None,
    pair_accuracy=None,
    bag_loss=None,
    held_out_loss=2.4,
    held_out_accuracy=0.5,
    held_out_sop_accuracy=0.79,
    learning_rate=1.25e-4,
    gradient_norm=0.987,
    skipped=0,
    tokens=1_234_567_890,
    useful_share=1.0,
    tokens_per_second=123_456.0,
    model_flops_per_second=4e13,
    mfu=0.4,
    seconds=3725.0,
    hardware_flops_per_second=3e13,
    hfu=0.3,
)
NOT_LOOKED = {"held_out_loss": None, "held_out_accuracy": None, "held_out_sop_accuracy": None}


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


class Shown(progress.Bar):
    """A bar that keeps what it was told."""

    def __init__(self):
        self.told = []

    def update(self, done, detail="", *, below=None):
        console = Console(file=io.StringIO(), width=100)
        console.print(below)
        self.told.append((done, detail, [line.rstrip() for line in console.file.getvalue().splitlines()]))


def shown(*reports, recipe="albert-base"):
    """Return what the last of `reports` shows: tokens, the line, and the table's lines."""
    bar = Shown()
    watched = pretraining.Watched(bar, load_recipe(recipe, {"stage1.steps": 6000, "stage2.steps": 4000}))
    for report in reports:
        watched.show(report)
    return bar.told[-1]


def run(capfd, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    out, err = capfd.readouterr()
    return exited.value.code or 0, out, err


def test_the_table_shows_a_report_in_full():
    assert shown(REPORT)[2] == [
        "",
        "                           loss   accuracy   perplexity",
        "masked tokens             2.315     53.1 %",
        "sentence order            0.401     81.0 %",
        "sum                       2.715",
        "held-out, at step 6,500   2.400     50.0 %        11.02",
        "held-out order                      79.0 %",
        "step 6,500 of 10,000 · stage 2 of 2 · 1.23 G tokens",
        "123,456 tokens/s · MFU 40 %, HFU 30 % of 100 TFLOP/s",
        "learning rate 1.25e-4 · gradient norm 0.99 · 0 steps skipped",
    ]


def test_in_fp16_good_and_skipped_steps_and_the_scale_of_losses_are_shown():
    line, table = shown(replace(REPORT, skipped=3, loss_scale=32768.0))[1:]
    assert table[-1] == (
        "learning rate 1.25e-4 · gradient norm 0.99 · loss scale 32,768 · 6,497 good steps · 3 steps skipped"
    )
    assert "loss scale 32,768  skipped 3" in line


def test_steps_between_two_reports_are_shown_from_the_second_on_with_their_seconds(
    recipe_file, corpus_folder, tmp_path
):
    recipe = load_recipe(str(recipe_file), {"log_every": 24, "save_every": 24})
    run = Pretraining(recipe, Corpus.open(corpus_folder), tmp_path)
    bar = Shown()
    watched = pretraining.Watched(bar, recipe)
    steps = run.moments()
    for _ in range(2):
        watched.follow(run, next(steps))
    (_, first, _), (tokens, second, below) = bar.told
    assert first.startswith("step 1 of 24  loss ")
    assert re.fullmatch(r"step 2 of 24  [\d.]+ (ms|s) a step  loss 4\.\d{3}", second)
    assert tokens == 2 * 8 * 32
    assert below[0] == second.replace("  ", " · ")
    for _ in range(22):
        watched.follow(run, next(steps))
    assert bar.told[-1][1].startswith("step 24 of 24  ")


def test_a_newer_step_stands_in_the_table_of_the_last_report():
    bar = Shown()
    watched = pretraining.Watched(bar, load_recipe("albert-base", {"stage1.steps": 6000, "stage2.steps": 4000}))
    watched.show(REPORT)
    watched.show_step(6537, 1_300_000_000, 2.7)
    assert bar.told[-1][2][2:] == [
        *bar.told[0][2][2:7],
        "step 6,537 of 10,000 · loss 2.700",
        *bar.told[0][2][8:],
    ]


def test_the_last_look_at_the_held_out_part_stays_until_the_next():
    tokens, line, table = shown(REPORT, replace(REPORT, step=6550, tokens=1_300_000_000, **NOT_LOOKED))
    assert tokens == 1_300_000_000
    assert "held-out 2.400  perplexity 11.02" in line
    assert "held-out, at step 6,500   2.400     50.0 %        11.02" in table
    newer = replace(REPORT, step=6600, held_out_loss=2.3)
    assert "held-out, at step 6,600   2.300     50.0 %        9.974" in shown(REPORT, newer)[2]


def test_what_a_run_does_not_have_is_not_shown():
    bare = replace(REPORT, stage=1, sop_loss=None, sop_accuracy=None, **NOT_LOOKED)
    bar = Shown()
    pretraining.Watched(bar, load_recipe("roberta-tiny-clue")).show(bare)
    _, line, table = bar.told[-1]
    for words in ("held-out", "order", "sum", "stage"):
        assert words not in line
        assert words not in "\n".join(table)


def test_a_sum_of_losses_is_told_with_its_parts():
    counts = dict.fromkeys(("step", "tokens", "peak_memory_mib"), 1)
    rates = dict.fromkeys(
        ("learning_rate", "gradient_norm", "tokens_per_second", "model_flops_per_second", "seconds", "epochs"), 1.0
    )
    losses = {"loss": 2.715, "lm_loss": 2.315, "sop_loss": 0.4, "pair_loss": None}
    results = PretrainResults(**counts, **rates, **losses, mean_tokens_per_second=1.0)
    assert [row for row in run_tables.pretraining_rows(results) if row[0].startswith("loss")] == [
        ("loss (nats)", "2.715"),
        ("loss, tokens", "2.315"),
        ("loss, sentence order", "0.400"),
    ]


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (0.0, "1"),
        (2.4, "11.02"),
        (9.0, "8,103"),
        (13.0, "442,413"),
        (20.0, "above 1,000,000"),
        (5e3, "above 1,000,000"),
    ],
)
def test_a_perplexity_that_says_nothing_is_cut(loss, words):
    assert run_tables.perplexity_text(replace(REPORT, held_out_loss=loss).held_out_perplexity) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (999, "999"), (1500, "1.5 k"), (999_700, "1 M"), (4.56e10, "45.6 G"), (9e14, "900 T")],
)
def test_large_numbers_have_three_digits(number, words):
    assert scaled(number) == words


def test_on_a_terminal_the_table_stands_below_the_bar(monkeypatch):
    console = Console(file=Screen(), force_terminal=True, width=100, height=30)
    monkeypatch.setattr(progress, "stderr", console)
    recipe = load_recipe("albert-base", {"stage1.steps": 6000, "stage2.steps": 4000})
    with progress.Progress(True).bar("pretrain albert-base", pretraining.total_tokens(recipe)) as bar:
        pretraining.Watched(bar, recipe).show(REPORT)
    written = console.file.getvalue()
    assert written.index("pretrain albert-base") < written.index("masked tokens")
    assert "ETA" in written
    assert "lr 1.25e-4" not in written  # the line is for pipes and files


def test_a_finished_run_is_told_in_words_and_units(capfd, monkeypatch, recipe_file, corpus_folder, tmp_path):
    arguments = ["pretrain", recipe_file, "--corpus", corpus_folder, "--out", tmp_path / "run", "--tracker", "none"]
    code, out, err = run(capfd, monkeypatch, *arguments, "--set", "held_out_share=0.2")
    assert code == 0
    told = {line[:26].strip(): line[26:].strip() for line in out.splitlines()}
    assert told["steps"] == "24"
    assert told["tokens trained on"] == "6,144"
    assert told["accuracy, tokens"].endswith("%")
    assert told["MFU, of that"].endswith("%")
    assert told["HFU, computed of that"].endswith("%")
    assert told["matrix products reach"].endswith("FLOP/s")
    assert 1 < float(told["held-out perplexity"]) < 1000
    assert "loss, tokens" not in told  # it is the loss: there is no other
    assert told["loss curve"].endswith("loss.svg")
    assert "perplexity" in err
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_pretraining_writes_for_tensorboard_where_it_is_installed(
    capfd, monkeypatch, recipe_file, corpus_folder, tmp_path
):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    arguments = ["pretrain", recipe_file, "--corpus", corpus_folder, "--out", tmp_path / "run", "--json"]
    code, out, _ = run(capfd, monkeypatch, *arguments)
    assert (code, json.loads(out)["status"]) == (0, "completed")
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_a_tracker_that_is_not_installed_is_an_error_before_anything_is_written(
    capfd, monkeypatch, recipe_file, corpus_folder, tmp_path
):
    from clue_bench.pretraining import trackers

    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    arguments = ["pretrain", recipe_file, "--corpus", corpus_folder, "--out", tmp_path / "run", "--tracker", "trackio"]
    code, out, err = run(capfd, monkeypatch, *arguments)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "error: --tracker trackio: trackio is not installed",
        "hint: run pip install 'clue-bench[trackio]'",
    ]
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_wrong_usage(capfd, monkeypatch, tmp_path):
    arguments = ["pretrain", "debug", "--corpus", tmp_path, "--out", tmp_path, "--tracker", "wandb"]
    assert run(capfd, monkeypatch, *arguments)[0] == 2


def test_a_terminal_reads_at_once_what_is_being_loaded_and_that_it_was_interrupted(corpus_folder, tmp_path):
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "clue_bench",
        "pretrain",
        "debug",
        "--corpus",
        corpus_folder,
        "--out",
        tmp_path / "r",
    ]
    environment = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while b"loading PyTorch" not in shown:
            shown += os.read(ours, 1024)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := os.read(ours, 1024):
                shown += part
    os.close(ours)
    assert b"interrupted" in shown or b"stopped and saved at step" in shown  # before the first step, or after some
    assert b"hint: type the same command again" in shown
    assert process.returncode == 130


def test_a_terminal_says_that_a_checkpoint_is_being_examined(monkeypatch, checkpoint_folder):
    screen = Screen()
    monkeypatch.setattr(progress, "stderr", Console(file=screen, force_terminal=True, width=80))
    cb.doctor(checkpoint_folder)
    assert "examining the checkpoint" in screen.getvalue()


def test_what_ctrl_c_does_stays_whole_below_the_bar_of_a_narrow_terminal(monkeypatch, capfd):
    console = Console(file=Screen(), force_terminal=True, width=40, height=30)
    monkeypatch.setattr(progress, "stderr", console)
    with progress.Progress(True).bar("pretrain", 10) as bar, stop_requests() as request:
        os.kill(os.getpid(), signal.SIGINT)
        bar._rich.refresh()
        assert request.is_made
    assert "what is not saved" in " ".join(console.file.getvalue().split())
    assert "stopping" not in capfd.readouterr().err
