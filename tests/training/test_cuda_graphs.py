"""Recording by shapes, without a GPU: the recorder given here repeats the call where CUDA would replay its kernels."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from clue_bench.training.cuda_graphs import WARM_UPS, Replayed


class Given(NamedTuple):
    """An argument with a tensor that may be missing."""

    number: Tensor
    maybe: Tensor | None


class Results(NamedTuple):
    """What comes back."""

    doubled: Tensor
    total: Tensor


@pytest.fixture
def called():
    """The arguments that the function was called with."""
    return []


@pytest.fixture
def replayed(repeats, called):
    buffer = {}

    def function(given: Given) -> Results:
        called.append(given)
        # As a graph does, it always answers in the same tensors.
        out = buffer.setdefault(given.number.shape, Results(torch.empty_like(given.number), torch.empty(())))
        out.doubled.copy_(given.number * 2)
        out.total.copy_(given.number.sum() + (0 if given.maybe is None else given.maybe.sum()))
        return out

    return Replayed(function, repeats)


def test_results_are_the_function_s_and_stay_what_they_were(replayed, repeats):
    given = [Given(torch.full((3,), float(n)), torch.ones(2) * n) for n in range(WARM_UPS + 4)]
    results = [replayed(each) for each in given]
    for each, result in list(zip(given, results, strict=True))[WARM_UPS:]:
        assert torch.equal(result.doubled, each.number * 2)
        assert torch.equal(result.total, each.number.sum() + each.maybe.sum())
    assert len(repeats.recorded) == 1


def test_nothing_is_recorded_while_warming_up(replayed, repeats, called):
    for _ in range(WARM_UPS):
        replayed(Given(torch.ones(3), None))
    assert not repeats.recorded
    assert len(called) == repeats.num_aside == WARM_UPS


def test_each_set_of_shapes_types_and_missing_tensors_is_recorded_when_it_comes_again(replayed, repeats, called):
    for _ in range(WARM_UPS):
        replayed(Given(torch.ones(3), None))
    others = [
        Given(torch.ones(4), None),
        Given(torch.ones(3), torch.ones(1)),
        Given(torch.ones(3, dtype=torch.float64), None),
    ]
    for given in others:
        replayed(given)
    assert not repeats.recorded
    before = len(called)
    for _ in range(2):
        for given in (*others, Given(torch.ones(3), None)):
            replayed(given)
    assert len(repeats.recorded) == 4
    assert repeats.num_aside == before
    # A replay reads the tensors that were there when it was recorded, not the ones it is called with.
    assert {id(given) for given in called[before:]} == {id(given) for given in repeats.recorded}


def test_the_caller_s_tensors_are_neither_kept_nor_changed(replayed, repeats):
    mine = Given(torch.ones(3), torch.ones(2))
    for _ in range(WARM_UPS + 1):
        replayed(mine)
    replayed(Given(torch.zeros(3), torch.zeros(2)))
    assert torch.equal(mine.number, torch.ones(3))
    assert repeats.recorded[0].number.data_ptr() != mine.number.data_ptr()
