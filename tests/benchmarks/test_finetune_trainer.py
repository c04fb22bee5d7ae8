"""The Trainer script that parity is measured against: it runs, and learns what ours learns."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.run import Plan, prepare
from clue_bench.finetuning.settings import make_settings
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
SETTINGS = {"learning_rate": 1e-2, "epochs": 4, "batch_size": 16, "precision": "fp32", "dropout": 0.0}


def script(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """AFQMC-like rows whose label is whether the second question holds the character 不."""
    folder = tmp_path_factory.mktemp("data") / "afqmc"
    folder.mkdir()
    generator = np.random.default_rng(0)
    others = list("的一是在了有和人这中大为上个国我以要他时来用们")
    for name, number in (("train", 320), ("dev", 120)):
        lines = []
        for _ in range(number):
            label = int(generator.random() < 0.4)
            first, second = ("".join(generator.choice(others, generator.integers(3, 9))) for _ in range(2))
            row = {"sentence1": first, "sentence2": second + "不不" * label, "label": str(label)}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        (folder / f"{name}.json").write_text("".join(lines), encoding="utf-8")
    return folder.parent


@pytest.fixture
def peer():
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate: pip install 'clue-bench[benchmarks]'")
    return script("finetune_trainer")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the Trainer's own dependencies
def test_the_trainer_and_ours_learn_the_same_task_from_the_same_weights(peer, data, checkpoint_folder, tmp_path):
    task = load_task("afqmc")
    asked = {"model": str(checkpoint_folder), "data": data, "seed": 1, "out": tmp_path}
    result = peer.run(task, **asked, overrides=SETTINGS)
    start, rows = open_pretrained(checkpoint_folder), read_rows(task, data)
    settings = make_settings(task, start.sizes, SETTINGS, train_rows=len(rows["train"]))
    finetuning = prepare(Plan(task=task, start=start, settings=settings, seed=1, rows=rows, data=data))
    list(finetuning.reports())
    assert finetuning.best is not None
    assert result["total_steps"] == finetuning.total_steps == 80
    assert [look["step"] for look in result["evaluations"]] == [look.step for look in finetuning.evaluations]
    assert result["accuracy"] == max(look["accuracy"] for look in result["evaluations"]) > 0.9
    assert finetuning.best.scores.accuracy > 0.9
    assert result["train_rows_per_second"] > 0
    assert result["evaluation_rows_per_second"] > 0
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == result

    assert peer.run(task, **asked, overrides=SETTINGS) == result  # found, not run again: the seconds are the same
    with pytest.raises(ClueBenchError, match="another run"):
        peer.run(task, **asked, overrides={**SETTINGS, "epochs": 5})


def test_what_a_plain_script_lacks_is_refused(peer, data, checkpoint_folder, tmp_path):
    with pytest.raises(ClueBenchError, match="no ema_decay, fgm_epsilon"):
        peer.run(
            load_task("afqmc"),
            model=str(checkpoint_folder),
            data=data,
            seed=1,
            out=tmp_path,
            overrides={"ema_decay": 0.9, "fgm_epsilon": 1.0},
        )


@pytest.mark.slow
def test_parity_runs_both_sides_in_turn_and_prints_a_table(peer, data, checkpoint_folder, tmp_path):
    command = [sys.executable, str(BENCHMARKS / "parity.py"), "--model", str(checkpoint_folder), "--data", str(data)]
    command += ["--tasks", "afqmc", "--seeds", "2", "--out", str(tmp_path), "--set=epochs=1", "--set=batch_size=40"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    heading, _, row = done.stdout.splitlines()
    assert heading.count("|") == row.count("|")
    task, count, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (task, count) == ("afqmc", "2")
    order = [line for line in done.stderr.splitlines() if line.startswith("afqmc, seed")]
    assert order == [
        "afqmc, seed 1, ours",
        "afqmc, seed 1, Trainer",
        "afqmc, seed 2, Trainer",
        "afqmc, seed 2, ours",
    ]


def test_the_table_says_means_deviations_and_welchs_interval():
    parity = script("parity")
    ours, theirs = [0.529, 0.534, 0.521], [0.510, 0.525, 0.519]
    found = {
        parity.OURS: [parity.Result(accuracy, 1000.0 * n, None) for n, accuracy in enumerate(ours, 1)],
        parity.PEER: [parity.Result(accuracy, 500.0, 80.0) for accuracy in theirs],
    }
    sides = [[100 * accuracy for accuracy in side] for side in (ours, theirs)]
    interval = ttest_ind(*sides, equal_var=False).confidence_interval(0.95)
    expected = f"+1.00 ({interval.low:+.2f} to {interval.high:+.2f})"
    assert parity.row("tnews", found) == (
        f"| tnews | 3 | 52.80 ± 0.66 | 51.80 ± 0.75 | {expected} | 2,000 | 500 | – | 80 |"
    )
    one = {name: results[:1] for name, results in found.items()}
    assert parity.row("tnews", one) == "| tnews | 1 | 52.90 | 51.00 | +1.90 | 1,000 | 500 | – | 80 |"
