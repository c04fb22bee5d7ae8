"""Arguments of a wrong kind are errors of ours: they name the argument, and a hint says what to give."""

import pytest

import clue_bench as cb
from clue_bench.pretraining.trackers import pick_tracker

WRONG = {
    "no model": lambda: cb.finetune("tnews", None),
    "a number for a model": lambda: cb.finetune("tnews", 3),
    "a seed in words": lambda: cb.finetune("tnews", "runs/tiny", seed="a"),
    "a seed below 0": lambda: cb.floor("tnews", seed=-1),
    "no task": lambda: cb.floor(None),
    "an empty path": lambda: cb.load_model(""),
    "no folder of runs": lambda: cb.load_runs(None),
    "nothing to compare with": lambda: cb.compare("runs/a", None),
    "a side without runs": lambda: cb.compare([], []),
    "no records": lambda: cb.leaderboard(None),
    "no source": lambda: cb.convert(None, "out", source_kind="uer"),
    "no model to examine": lambda: cb.doctor(None),
    "no model to time": lambda: cb.speed(None),
    "a word for --keep that is none": lambda: cb.bench("runs/tiny", "tnews", keep="bst"),
    "a layout that is none": lambda: cb.convert("runs/tiny", "out", source_kind="uerr"),
    "a tracker that is none": lambda: pick_tracker("wandb"),
    "settings as a list": lambda: cb.finetune("tnews", "runs/tiny", settings=["learning_rate=1e-4"]),
    "a recipe's settings as text": lambda: cb.pretrain("debug", corpus="corpus", out="out", settings="steps=1"),
    "records that are no folder": lambda: cb.leaderboard(["runs", 3]),
    "no output": lambda: cb.pretrain("debug", corpus="corpus", out=None),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_an_argument_of_a_wrong_kind_is_named(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cb.ClueBenchError) as raised:
        call()
    assert "\n" not in raised.value.message
    assert raised.value.hint
    assert list(tmp_path.iterdir()) == []
