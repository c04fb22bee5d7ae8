"""The check of the GPU path at its smallest size, on the CPU: the script works, and notices a bound that is missed."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "check.py"


@pytest.fixture
def check(monkeypatch):
    """The script's names; `main` is asked for some parts."""
    names = runpy.run_path(str(SCRIPT))

    def main(*parts):
        monkeypatch.setattr(sys, "argv", ["check.py", *parts, "--smoke"])
        return names["main"]()

    return main, names["main"].__globals__


def test_a_table_names_what_was_found_and_the_exit_code_is_0(check, capsys, monkeypatch):
    main, names = check
    monkeypatch.setitem(names, "RECIPES", ["roberta-word-tiny"])
    assert main("waits") == 0
    assert "| roberta-word-tiny: what waits in a step | nothing | nothing | ok |" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: models of base size take many minutes on a CPU")
def test_every_part_runs_and_a_bound_that_is_missed_is_the_exit_code(check, capsys, monkeypatch):
    main, names = check
    monkeypatch.setitem(names, "RECIPES", ["roformer-base-wwm", "gpt2-base"])
    assert main() == 0
    assert "WRONG" not in capsys.readouterr().out
    monkeypatch.setitem(names, "FP32", -1.0)
    assert main("right") == 1
    assert "WRONG" in capsys.readouterr().out
