"""Passes with bf16 copies of the weights: losses of fp32 but for rounding, masters in states, exact restarts."""

import pytest
import torch

from clue_bench.doors.shards import Corpus
from clue_bench.pretraining import train
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import completed_record, run
from clue_bench.pretraining.train import Pretraining
from clue_bench.training.working_weights import WorkingWeights, has_working_weights

FAMILIES = {
    "bert": {},
    "bert, texts, micro-batches": {"sentence_order": "texts", "stage1.micro_batch": 3, "dropout": 0.1},
    "roformer": {"family": "roformer"},
    "albert": {"family": "albert", "embedding_size": 16},
    "gpt2": {"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "activation": "gelu_tanh"},
}
MANY = ("bert", "albert")  # share their code with the others


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    """Let a CPU compute with copies, as a GPU does."""
    monkeypatch.setattr(train, "has_working_weights", lambda precision, device: precision == "bf16")


@pytest.fixture
def begin(recipe_file, corpus_folder, tmp_path):
    def begin(out="run", precision="bf16", **overrides):
        recipe = load_recipe(str(recipe_file), {"precision": precision, "log_every": 1, "save_every": 4, **overrides})
        return Pretraining(recipe, Corpus.open(corpus_folder), tmp_path / out)

    return begin


@pytest.mark.parametrize(
    "overrides",
    [pytest.param(each, id=name, marks=[pytest.mark.slow] * (name in MANY)) for name, each in FAMILIES.items()],
)
def test_losses_are_those_of_fp32_but_for_rounding(begin, overrides):
    copies, full = begin("copies", **overrides), begin("full", "fp32", **overrides)
    assert isinstance(copies.network, WorkingWeights)
    expected = [report.loss for report in full.reports()]
    assert [report.loss for report in copies.reports()] == pytest.approx(expected, abs=1e-2)
    assert expected[-1] < expected[0] - 0.02
    assert {weight.dtype for weight in copies.model.state_dict().values()} == {torch.float32}


def test_a_run_that_is_broken_off_goes_on_exactly(begin):
    expected = [report.loss for report in run(begin("whole"), asked={})]
    reports = run(begin("broken"), asked={})
    while next(reports).step < 8:
        pass
    reports.close()
    found = {report.step: report.loss for report in run(begin("broken"), asked={})}
    effective = completed_record(begin("broken")).effective
    assert (effective["working_weights"], effective["sums"]) == ("bf16", "in a fixed order")
    assert {step: loss for step, loss in enumerate(expected, 1) if step in found} == found
    assert len(found) > 10


def test_gradients_of_micro_batches_are_summed_in_fp32(begin):
    pretraining = begin()
    network, found = pretraining.network, {}
    batch, _ = pretraining.feeds.assemble(pretraining.feeds.inputs(0, slice(0, 4)))
    for _ in range(2):
        torch.autograd.backward(network(batch.ids_BS, **batch.model_inputs).hidden.float().sum())
        found |= {name: copy.grad.clone() for name, copy in network._copies.items() if copy.grad is not None}
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    network.hand_over_gradients()
    for name, master in pretraining.model.named_parameters():
        assert master.grad is None or torch.equal(master.grad, found[name])


def test_a_recorded_run_has_the_losses_of_a_plain_one(begin, repeats):
    replayed = begin("replayed", dropout=0.1)
    replayed.updates.record_with(repeats)
    expected = [report.loss for report in begin("plain", dropout=0.1).reports()]
    assert [report.loss for report in replayed.reports()] == pytest.approx(expected, abs=1e-4)
    assert len(repeats.recorded) == 1


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [("bf16", "cuda", True), ("bf16", "cpu", False), ("fp16", "cuda", False), ("fp32", "cuda", False)],
)
def test_gpus_compute_with_copies_in_bf16(precision, device, expected):
    assert has_working_weights(precision, torch.device(device)) is expected
