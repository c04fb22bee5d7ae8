"""What recording a training step as a CUDA graph asks of it, checked on the CPU: static kernels, nothing read back.

Not tested here, for want of a GPU: the recording itself.
"""

import pytest
import torch

from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining
from clue_bench.training.cuda_graphs import WARM_UPS
from clue_bench.training.optim import make_recordable, set_learning_rate

GPT2 = {"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "activation": "gelu_tanh"}
OBJECTIVES = {
    "mlm": {},
    "mlm, micro-batches": {"stage1.micro_batch": 3, "bias_correction": False},
    "mlm, texts": {"sentence_order": "texts", "clip_norm": 0.0},
    "wwm": {"objective": "wwm"},
    "wwm, texts, roformer": {"objective": "wwm", "sentence_order": "texts", "family": "roformer"},
    "clm": GPT2,
}


MANY = ("mlm, micro-batches", "mlm, texts", "wwm")  # share their code with the others


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name in MANY else name for name in OBJECTIVES])
def overrides(request):
    return OBJECTIVES[request.param]


@pytest.fixture
def begin(recipe_file, corpus_folder, words_folder, tmp_path):
    def begin(out="run", **overrides):
        folder = words_folder if overrides.get("objective") == "wwm" else corpus_folder
        return Pretraining(load_recipe(str(recipe_file), overrides), Corpus.open(folder), tmp_path / out)

    return begin


@pytest.fixture
def kernels_of(kernels):
    """What does a step and lists the kernels of what would be recorded."""

    def listed(pretraining, step):
        pretraining.step = step
        inputs = pretraining.feeds.inputs(step, slice(0, 8))
        set_learning_rate(pretraining.optimizer, 1e-3 / (step + 1))
        return kernels(lambda: pretraining._train_step(inputs))

    return listed


def test_every_step_calls_the_same_kernels_and_waits_for_none(begin, overrides, kernels_of):
    pretraining = begin(**overrides)
    make_recordable(pretraining.optimizer, pretraining.device)
    kernels_of(pretraining, 0)  # the pool of dropout masks and the optimizer's moments are made
    first, *others = (kernels_of(pretraining, step) for step in (1, 2, 7))
    assert all(calls == first for calls in others)
    assert len(first) > 100


def test_a_rate_that_the_host_holds_would_be_noticed(begin, kernels_of):
    pretraining = begin()
    kernels_of(pretraining, 0)
    assert kernels_of(pretraining, 1) != kernels_of(pretraining, 2)


def test_a_value_that_the_host_waits_for_would_be_noticed(kernels):
    with pytest.raises(AssertionError, match="waits for the device"):
        kernels(lambda: float(torch.ones(3).sum()))


@pytest.mark.parametrize("wrong", [lambda x: float(x.sum()), lambda x: x[x > 0], lambda x: x + torch.tensor([1.0])])
def test_what_a_graph_cannot_have_would_be_noticed(kernels, wrong):
    with pytest.raises(AssertionError, match="wait"):
        kernels(lambda: wrong(torch.ones(3)))


def recorded(pretraining, repeats):
    """The run as `cuda_graphs` has it, but for CUDA."""
    pretraining.updates.record_with(repeats)
    return pretraining


def test_a_run_by_replays_equals_a_run_without_but_for_the_rate_in_fp32(begin, overrides, repeats):
    plain = begin("plain", **overrides)
    replayed = recorded(begin("replayed", **overrides), repeats)
    expected = [report.loss for report in run(plain, asked={})]
    assert [report.loss for report in run(replayed, asked={})] == pytest.approx(expected, abs=1e-5)
    assert len(repeats.recorded) == 1
    assert repeats.num_aside == WARM_UPS
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(weight, replayed.model.state_dict()[name], atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize(
    ("was_recorded", "is_recorded"),
    [
        (True, False),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in ((False, False), (False, True), (True, True))),
    ],
)
def test_a_run_may_be_continued_with_or_without(begin, repeats, was_recorded, is_recorded):
    settings = {"bias_correction": False, "save_every": 4}
    whole = begin("whole", **settings)
    list(run(whole, asked={}))
    first = begin("broken", **settings)
    reports = run(recorded(first, repeats) if was_recorded else first, asked={})
    while next(reports).step < 8:
        pass
    reports.close()
    second = begin("broken", **settings)
    list(run(recorded(second, repeats) if is_recorded else second, asked={}))
    assert second.step == whole.step
    assert all(isinstance(group["lr"], torch.Tensor) == is_recorded for group in second.optimizer.param_groups)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(weight, second.model.state_dict()[name], atol=1e-5, rtol=0, msg=name)


def test_asking_for_cuda_graphs_without_cuda_is_an_error(recipe_file, corpus_folder, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ClueBenchError, match="--cuda-graphs: no CUDA device"):
        Pretraining(load_recipe(str(recipe_file), {}), Corpus.open(corpus_folder), tmp_path, cuda_graphs=True)
