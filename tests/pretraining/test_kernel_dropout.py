"""Dropout as on a GPU, where attention is one kernel that draws its masks itself; here it runs on a CPU."""

import pytest
import torch

from clue_bench.api.pretraining import _notes
from clue_bench.doors.records import read_records
from clue_bench.doors.shards import Corpus
from clue_bench.models import attention, gpt2
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining
from clue_bench.training import dropout

FAMILIES = {
    "bert": {},
    "gpt2": {"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "activation": "gelu_tanh"},
    "roformer, texts": {"family": "roformer", "sentence_order": "texts"},
}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    for module in (attention, gpt2):
        monkeypatch.setattr(module, "has_fused_kernel", lambda x: True)
    monkeypatch.setattr(dropout, "mask_type", lambda x: torch.bool)
    monkeypatch.setattr(dropout, "kernels_draw", lambda device: True)


@pytest.fixture
def begin(recipe_file, corpus_folder, tmp_path):
    def begin(out="run", **sets):
        values = {"steps": 8, "log_every": 1, "save_every": 4, "dropout": 0.1, **sets}
        return Pretraining(load_recipe(str(recipe_file), values), Corpus.open(corpus_folder), tmp_path / out)

    return begin


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_was_broken_off_draws_what_it_would_have_drawn(begin, as_on_a_gpu, family):
    torch.manual_seed(1)
    whole = [report.loss for report in run(begin("whole", **FAMILIES[family]), asked={})]
    broken = run(begin(**FAMILIES[family]), asked={})
    first = [next(broken).loss for _ in range(5)]
    broken.close()
    torch.manual_seed(2)  # the generator is wherever it is
    assert first + [report.loss for report in run(begin(**FAMILIES[family]), asked={})][1:] == whole


def test_the_run_says_who_draws_and_hidden_states_keep_their_masks(begin, as_on_a_gpu, monkeypatch, tmp_path):
    by_kernel = begin("kernel")
    assert any(note.startswith("dropout: attention's kernel") for note in _notes(by_kernel, is_continuation=False))
    losses = [report.loss for report in run(by_kernel, asked={})]
    (record,) = read_records(tmp_path / "kernel")
    assert record.effective["attention_dropout"] == "by its kernel"
    assert losses != [report.loss for report in begin("split", micro_batch=2).reports()]
    monkeypatch.setattr(dropout.RowDropout, "by_kernel", lambda self, heads: self.next(heads) and 0.0)
    of_hidden = [report.loss for report in begin("hidden").reports()]
    assert of_hidden == pytest.approx([report.loss for report in begin("hidden", micro_batch=2).reports()], abs=1e-5)
    monkeypatch.setattr(
        attention, "has_fused_kernel", lambda x: False
    )  # as on a CPU, but that nothing is dropped there
    monkeypatch.setattr(dropout, "mask_type", lambda x: x.dtype)
    monkeypatch.setattr(dropout.RowDropout, "per_head", lambda self, x: self.next(x.shape[1]) and x / self.scale)
    assert of_hidden == pytest.approx([report.loss for report in begin("cpu").reports()], abs=1e-5)


def test_nothing_is_said_where_nothing_is_dropped_or_on_a_cpu(begin, monkeypatch):
    assert not any("dropout" in note for note in _notes(begin(), is_continuation=False))
    monkeypatch.setattr(dropout, "kernels_draw", lambda device: True)
    assert not any("dropout" in note for note in _notes(begin(dropout=0.0), is_continuation=False))
