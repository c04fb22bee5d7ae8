"""Layers fused by torch.compile: the losses of plain ones, one compilation for all layers, and what it refuses."""

from functools import partialmethod

import pytest
import torch
from torch import nn

from clue_bench.doors.shards import Corpus
from clue_bench.models import attention
from clue_bench.pretraining import train
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.train import Pretraining
from clue_bench.training import dropout

FAMILIES = {
    "bert": {},
    "gpt2": {"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "activation": "gelu_tanh"},
    "roformer, texts": {"family": "roformer", "sentence_order": "texts"},
    "bert, dropout": {"dropout": 0.1},
    "bert, held out": {"save_every": 2, "log_every": 1, "held_out_share": 0.2, "global_batch": 6, "micro_batch": 5},
    "bert, fewer masks": {
        "mask_rate": 0.3,
        "final_mask_rate": 0.15,
        "steps": 8,
        "save_every": 2,
        "log_every": 1,
        "held_out_share": 0.2,
        "global_batch": 6,
        "micro_batch": 3,
    },
}


@pytest.fixture
def begin(recipe_file, corpus_folder, tmp_path):
    def begin(**options):
        sets = {"steps": 6, "layers": 4, "dropout": 0.0, **options.pop("sets", {})}
        return Pretraining(load_recipe(str(recipe_file), sets), Corpus.open(corpus_folder), tmp_path / "run", **options)

    return begin


def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(train, "has_working_weights", lambda precision, device: True)
    monkeypatch.setattr(attention, "has_fused_kernel", lambda x: True)
    monkeypatch.setattr(dropout, "mask_type", lambda x: torch.bool)
    monkeypatch.setattr(dropout, "kernels_draw", lambda device: True)


@pytest.mark.slow  # importing the compiler takes seconds
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own parts
@pytest.mark.parametrize(
    ("family", "backend", "copies"),
    [
        *((family, "aot_eager", False) for family in FAMILIES),
        *((family, "aot_eager", True) for family in FAMILIES),
        ("bert, dropout", "inductor", True),
    ],
)
def test_losses_are_those_of_plain_layers_and_all_layers_share_what_is_compiled(
    begin, family, backend, copies, monkeypatch, tmp_path
):
    """The inductor makes programs of what is traced, which takes a minute; the other backend only runs it.

    With `copies`, weights are bf16 copies as on a GPU, masks are bits and attention is one kernel, which drops itself.
    """
    if copies:
        as_on_a_gpu(monkeypatch)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "programs"))  # not one that was cut short
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    expected = [report.loss for report in begin(sets=FAMILIES[family]).reports()]
    compiled = begin(sets=FAMILIES[family], compiled=True)
    assert [report.loss for report in compiled.reports()] == pytest.approx(expected, abs=5e-3 if copies else 1e-5)
    # The last layer of an encoder is computed where the loss looks, and is a graph of its own. Under autocast the first
    # one makes the pool of masks.
    most = 12 if family in ("bert, held out", "bert, fewer masks") else 3 if "dropout" in family and not copies else 2
    assert 1 <= torch._dynamo.utils.counters["stats"]["unique_graphs"] <= most
    assert not any("_orig_mod" in name for name in compiled.model.state_dict())
