"""What recording a training step as a CUDA graph asks of it, checked on the CPU: static kernels, nothing read back.

Not tested here, for want of a GPU: the recording itself.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from clue_bench.engine.recipe import load_recipe
from clue_bench.engine.run import run
from clue_bench.engine.train import Pretraining
from clue_bench.errors import ClueBenchError
from clue_bench.graphs import WARM_UPS, Replayed
from clue_bench.optim import make_recordable, set_learning_rate
from clue_bench.shards import Corpus

GPT2 = {"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "activation": "gelu_tanh"}
OBJECTIVES = {
    "mlm": {},
    "mlm, micro-batches": {"stage1.micro_batch": 3, "bias_correction": False},
    "mlm, texts": {"sentence_order": "texts", "clip_norm": 0.0},
    "wwm": {"objective": "wwm"},
    "wwm, texts, roformer": {"objective": "wwm", "sentence_order": "texts", "family": "roformer"},
    "clm": GPT2,
}
READS_BACK = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "is_nonzero", "equal"}


class Kernels(TorchDispatchMode):
    """The kernels that were called, with the shapes of their tensors and the values of everything else."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace != "profiler":
            self.calls.append((str(function), described(args), described(kwargs or {})))
        return function(*args, **(kwargs or {}))


def described(value):
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), tuple(value.stride()), str(value.dtype))
    if isinstance(value, list | tuple):
        return tuple(map(described, value))
    if isinstance(value, dict):
        return {key: described(each) for key, each in value.items()}
    return value


@pytest.fixture(params=OBJECTIVES)
def overrides(request):
    return OBJECTIVES[request.param]


@pytest.fixture
def begin(recipe_file, corpus_folder, words_folder, tmp_path):
    def begin(out="run", **overrides):
        folder = words_folder if overrides.get("objective") == "wwm" else corpus_folder
        return Pretraining(load_recipe(str(recipe_file), overrides), Corpus.open(folder), tmp_path / out)

    return begin


def kernels(pretraining, step):
    """Do a step; return the kernels of what would be recorded."""
    inputs = pretraining.feeds.inputs(step, slice(0, 8))
    set_learning_rate(pretraining.optimizer, 1e-3 / (step + 1))
    with Kernels() as log:
        pretraining._train_step(inputs)
    return log.calls


def test_every_step_calls_the_same_kernels_and_reads_nothing_back(begin, overrides):
    pretraining = begin(**overrides)
    make_recordable(pretraining.optimizer, pretraining.device)
    kernels(pretraining, 0)  # the pool of dropout masks and the optimizer's moments are made
    first, *others = (kernels(pretraining, step) for step in (1, 2, 7))
    assert all(calls == first for calls in others)
    assert len(first) > 100
    assert not {call for call, *_ in first if call.split(".")[1] in READS_BACK}


def test_a_rate_that_the_host_holds_would_be_noticed(begin):
    pretraining = begin()
    kernels(pretraining, 0)
    assert kernels(pretraining, 1) != kernels(pretraining, 2)


def recorded(pretraining):
    """The run as `cuda_graphs` has it, but for CUDA."""
    make_recordable(pretraining.optimizer, pretraining.device)
    recordings = []

    def record(function, given):
        recordings.append(given)
        return lambda: function(given)

    pretraining._update = Replayed(pretraining._train_step, record=record)
    return pretraining, recordings


def test_a_run_by_replays_equals_a_run_without_but_for_the_rate_in_fp32(begin, overrides):
    plain = begin("plain", **overrides)
    replayed, recordings = recorded(begin("replayed", **overrides))
    expected = [report.loss for report in run(plain, asked={})]
    assert [report.loss for report in run(replayed, asked={})] == pytest.approx(expected, abs=1e-5)
    assert len(recordings) == 1
    assert replayed.step > WARM_UPS
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(weight, replayed.model.state_dict()[name], atol=1e-5, rtol=0, msg=name)


def test_asking_for_cuda_graphs_without_cuda_is_an_error(recipe_file, corpus_folder, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ClueBenchError, match="--cuda-graphs: no CUDA device"):
        Pretraining(load_recipe(str(recipe_file), {}), Corpus.open(corpus_folder), tmp_path, cuda_graphs=True)
