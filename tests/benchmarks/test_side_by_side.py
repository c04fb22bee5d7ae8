"""The scripts that measure two sides in turn: they run, on a small task, and say what they say they say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
WORKER = """
import sys
sys.path.insert(0, {benchmarks!r})
import side_by_side
asked = []
def count():
    asked.append(1)
    return [{name!r}, len(asked)]
side_by_side.answer({{"count": count}})
"""


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import side_by_side

    return side_by_side


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """AFQMC-like rows."""
    folder = tmp_path_factory.mktemp("data") / "afqmc"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, number in (("train", 96), ("dev", 40), ("test", 40)):
        lines = []
        for _ in range(number):
            texts = ("".join(generator.choice(list("的一是在了有和人"), generator.integers(3, 9))) for _ in range(2))
            row = {**dict(zip(("sentence1", "sentence2"), texts, strict=True)), "id": len(lines)}
            row |= {} if name == "test" else {"label": str(int(generator.random() < 0.4))}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        (folder / f"{name}.json").write_text("".join(lines), encoding="utf-8")
    return folder.parent


def test_sides_take_turns_and_the_first_round_is_left_out(turns, tmp_path, capsys):
    commands = {name: ["-c", WORKER.format(benchmarks=str(BENCHMARKS), name=name)] for name in ("a", "b")}
    with turns.Side("a", commands["a"]) as a, turns.Side("b", commands["b"]) as b:
        found = turns.alternate([a, b], ["count"], rounds=3, lock=tmp_path / "lock")
    assert found["a", "count"] == [["a", 2], ["a", 3], ["a", 4]]
    assert found["b", turns.END][0] > 0
    order = [line.split(": ")[1].split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_a_worker_that_ends_ends_the_program(turns):
    with pytest.raises(SystemExit, match="gone: ended with code 3"):
        turns.Side("gone", ["-c", "raise SystemExit(3)"])


def test_the_ratio_is_the_median_of_the_rounds_ratios(turns):
    assert turns.ratio([2.0, 6.0, 12.0], [1.0, 2.0, 3.0]) == "3.00× (2.00–4.00)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "columns"),
    [("finetuning", ["training", "dev"]), ("prediction", ["afqmc"])],
)
def test_a_comparison_of_the_smallest_size_prints_its_table(script, columns, data, vocabulary_file):
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate: pip install 'clue-bench[benchmarks]'")
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), f"--model=1/64={vocabulary_file}", f"--data={data}"]
    command += ["--tasks=afqmc", "--rounds=1", "--rows=32", "--ours=2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    header, _, *lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    assert [line[1] if script == "prediction" else line[2] for line in lines] == columns
    for line in lines:
        cells = dict(zip(header, line, strict=True))
        ours, peer = (
            float(cells[key].replace(",", "")) for key in header if key.startswith("rows/s") and "bf16" not in key
        )
        assert float(cells["ours / fp32"].split("×")[0]) == pytest.approx(ours / peer, rel=0.1)


@pytest.mark.slow
def test_a_sweep_and_single_runs_are_the_same_runs(data, checkpoint_folder, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import sweep

    chosen = {"task": "afqmc", "model": str(checkpoint_folder), "data": data, "steps": 2, "set": [], "lock": None}
    asked = type("Asked", (), chosen)
    monkeypatch.setattr(sweep, "RATES", ("1e-3", "2e-3"))
    monkeypatch.setattr(sweep, "SEEDS", 2)
    whole = sweep.swept(asked, tmp_path / "sweep")
    best = next(rate for rate, seed in whole.accuracies if seed == 2)
    alone = sweep.one_by_one(asked, tmp_path / "alone", best)
    assert alone.accuracies == whole.accuracies
    assert len(whole.accuracies) == 3
    assert alone.seconds > 0
    assert alone.memory_mib > 0
