"""A run that is complete, or that another process is doing, is found without torch, and only if it is whole."""

import subprocess
import sys

import pandas as pd
import pytest

import clue_bench as cb
from clue_bench import files
from clue_bench.api.finished import finished_pretraining
from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.recipe import load_recipe

FAST = {"learning_rate": 1e-3, "precision": "fp32"}
PROGRAM = """
import sys
import clue_bench as cb
run = {call}
assert "torch" not in sys.modules, "torch was imported"
print(run.run_id)
"""


def in_another_process(call):
    """Return what a process prints that makes this call of `cb` and has not imported torch then."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows") / "评价"
    folder.mkdir()
    frame = pd.DataFrame(
        [{"text": f"我们在学{'不' * (n % 2)}中国", "label": "no" if n % 2 else "yes"} for n in range(24)]
    )
    for split in ("train", "dev"):
        frame.to_csv(folder / f"{split}.csv", index=False)
    return folder


def test_a_complete_pretraining_run_is_found_without_torch(checkpoint_folder, corpus_folder):
    card = checkpoint_folder.parent / "test.toml"
    call = f"cb.pretrain({str(card)!r}, corpus={str(corpus_folder)!r}, out={str(checkpoint_folder)!r})"
    assert in_another_process(call).startswith("pretrain-test-")


def test_a_complete_fine_tuning_run_is_found_without_torch_unless_something_has_changed(
    checkpoint_folder, rows, tmp_path, caplog
):
    out = tmp_path / "run"

    def tune(**more):
        return cb.finetune(None, checkpoint_folder, data=rows, out=out, steps=2, settings=FAST, progress=False, **more)

    first = tune()
    call = (
        f"cb.finetune(None, {str(checkpoint_folder)!r}, data={str(rows)!r}, out={str(out)!r}, steps=2, settings={FAST})"
    )
    assert in_another_process(call) == first.run_id
    weights = out / "checkpoint" / "model.safetensors"
    weights.write_bytes(b"damaged")
    assert tune().run_id == first.run_id
    assert weights.stat().st_size > len(b"damaged")
    with pytest.raises(cb.ClueBenchError, match="holds another run"):
        tune(seed=2)


@pytest.mark.parametrize("change", [{"steps": 25}, {"settings": {"dropout": 0.2}}])
def test_another_recipe_is_another_run(change, checkpoint_folder, corpus_folder):
    recipe = load_recipe(
        str(checkpoint_folder.parent / "test.toml"), change.get("settings", {}), steps=change.get("steps")
    )
    found = finished_pretraining(
        recipe, Corpus.open(corpus_folder), checkpoint_folder, start=None, pairs=None, frozen_layers=None
    )
    assert found is None


def test_a_run_of_another_process_is_refused_before_anything_is_loaded(recipe_file, corpus_folder, tmp_path, rows):
    with files.held(tmp_path / "run" / ".lock"):
        with pytest.raises(cb.ClueBenchError, match="another process"):
            cb.pretrain(str(recipe_file), corpus=corpus_folder, out=tmp_path / "run", progress=False)
        with pytest.raises(cb.ClueBenchError, match="another process"):
            cb.finetune(None, "no/model", data=rows, out=tmp_path / "run", progress=False)
