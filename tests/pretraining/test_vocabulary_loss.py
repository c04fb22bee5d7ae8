"""Cross-entropy without logits: the loss, right answers and gradients of torch's own."""

import pytest
import torch
import torch.nn.functional as F

from clue_bench.pretraining import vocabulary_loss as under_test
from clue_bench.pretraining.rows import IGNORED
from clue_bench.pretraining.step import _class_loss
from clue_bench.pretraining.vocabulary_loss import vocabulary_loss


@pytest.fixture(params=[False, True], ids=["in blocks", "as on a GPU"], autouse=True)
def _both_ways(request, monkeypatch):
    monkeypatch.setattr(under_test, "is_fast_softmax", lambda x: request.param)


def tensors(*, width=24, vocabulary=300, has_bias=True, scale=1.0):
    """Hidden states (4, 7, D), matrix and bias, and targets of which the second row's third does not count."""
    torch.manual_seed(0)
    inputs = [scale * torch.randn(4, 7, width), torch.randn(vocabulary, width)]
    inputs += [torch.randn(vocabulary)] if has_bias else []
    targets = torch.randint(0, vocabulary, (4, 7))
    targets[1, 2] = IGNORED
    return [x.requires_grad_() for x in inputs], targets


def reference(inputs, targets):
    """Loss and right answers by torch."""
    logits_MV = F.linear(*inputs).float().flatten(0, 1)
    loss = F.cross_entropy(logits_MV, targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return loss, (logits_MV.argmax(-1) == targets.flatten()).sum()


def ours(inputs, targets):
    hidden, weight, *bias = inputs
    return vocabulary_loss(hidden, weight, bias[0] if bias else None, targets=targets)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("block", [1, 1000, 2**20])
def test_it_is_torchs_cross_entropy_and_so_are_its_gradients(has_bias, block, monkeypatch):
    monkeypatch.setattr(under_test, "BLOCK", block)
    inputs, targets = tensors(has_bias=has_bias)
    expected, correct = reference(inputs, targets)
    got = ours(inputs, targets)
    torch.testing.assert_close(got.loss, expected)
    assert got.correct == correct
    gradients = torch.autograd.grad(0.3 * got.loss, inputs)
    for gradient, wanted in zip(gradients, torch.autograd.grad(0.3 * expected, inputs), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)


def test_in_bf16_the_gradients_are_as_near_to_those_in_fp32_as_torchs():
    inputs, targets = tensors()
    exact = torch.autograd.grad(reference(inputs, targets)[0], inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = reference(inputs, targets)[0], ours(inputs, targets).loss
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-3)
    errors = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, inputs)
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        errors.append([float((g - e).norm() / e.norm()) for g, e in zip(gradients, exact, strict=True)])
    for theirs, own in zip(*errors, strict=True):
        assert own < max(2 * theirs, 0.01)


def test_logits_of_hundreds_overflow_nothing():
    inputs, targets = tensors(scale=100.0)
    got = ours(inputs, targets)
    torch.testing.assert_close(got.loss, reference(inputs, targets)[0])
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(got.loss, inputs))


def test_rows_without_targets_cost_nothing_and_move_nothing():
    inputs, targets = tensors()
    got = ours(inputs, torch.full_like(targets, IGNORED))
    assert (got.loss, got.correct) == (0, 0)
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(got.loss, inputs))


def test_right_answers_are_counted():
    weight = torch.eye(5)
    hidden, targets = 3 * weight[[0, 1, 2, 3]], torch.tensor([0, 1, 4, IGNORED])
    assert vocabulary_loss(hidden, weight, None, targets=targets).correct == 2


def test_a_tie_in_bf16_is_not_right():
    """Logits of 16 and more are rounded to eighths there: a model that cannot tell two tokens apart knows neither."""
    weight = torch.eye(5).repeat_interleave(2, 0)[:9]  # the last token has no twin
    hidden, targets = 20 * torch.eye(5)[[0, 4]], torch.tensor([1, 8])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert vocabulary_loss(hidden, weight, None, targets=targets).correct == 1


def test_ties_between_classes_are_wrong_too():
    logits_BC2 = torch.tensor([[[0.5, 0.5], [0.5, 0.5], [1.0, 0.5], [1.0, 0.5], [1.0, 0.5]]])
    found = _class_loss(logits_BC2, torch.tensor([[0, 1, 0, 1, IGNORED]]))
    assert found is not None
    assert found.correct == 1
