"""The Trainer script that parity is measured against: it runs, and learns what ours learns."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from clue_bench.finetune.pretrained import open_pretrained
from clue_bench.finetune.run import Plan, prepare
from clue_bench.finetune.settings import make_settings
from clue_bench.task_data.read import read_rows
from clue_bench.task_data.task import load_task

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


@pytest.mark.filterwarnings("default")  # of the Trainer's own dependencies
def test_the_trainer_and_ours_learn_the_same_task_from_the_same_weights(data, checkpoint_folder, tmp_path):
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    task = load_task("afqmc")
    peer = script("finetune_trainer").run(
        task, model=str(checkpoint_folder), data=data, seed=1, out=tmp_path, overrides=SETTINGS, bf16=False
    )
    start, rows = open_pretrained(checkpoint_folder), read_rows(task, data)
    settings = make_settings(task, start.sizes, SETTINGS, train_rows=len(rows["train"]))
    finetuning = prepare(Plan(task=task, start=start, settings=settings, seed=1, rows=rows, data=data))
    list(finetuning.reports())
    assert finetuning.best is not None
    assert peer["total_steps"] == finetuning.total_steps == 80
    assert peer["accuracy"] > 0.9
    assert finetuning.best.scores.accuracy > 0.9
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == peer


def test_the_interval_of_a_difference_is_welchs():
    from scipy.stats import ttest_ind

    a, b = [52.9, 53.4, 52.1], [51.0, 52.5, 51.9]
    difference, half = script("parity").welch(a, b)
    expected = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert difference - half == pytest.approx(expected.low)
    assert difference + half == pytest.approx(expected.high)
