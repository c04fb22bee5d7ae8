"""Muon against singular values and torch's own, beside AdamW, and updates that are skipped."""

import pytest
import torch
from torch import nn

from clue_bench.training.muon import RMS, orthogonalised
from clue_bench.training.optim import adamw, apply_gradients, muon, set_learning_rate

SETTINGS = {"learning_rate": 1e-2, "weight_decay": 0.1, "betas": (0.9, 0.98), "epsilon": 1e-6}


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"words": nn.Embedding(7, 8), "up": nn.Linear(8, 32), "qkv": nn.Linear(8, 24)})


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def optimizer_of(model: nn.Module):
    return muon(model, is_hidden=lambda name: not name.startswith("words"), in_bf16=False, **SETTINGS)


@pytest.mark.parametrize("in_bf16", [False, True])
@pytest.mark.parametrize("shape", [(16, 16), (64, 16), (16, 64)])
def test_singular_values_are_moved_near_one_and_the_vectors_stay(shape, in_bf16):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)) * 1e-4
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    turned = u.mT @ orthogonalised(matrices, in_bf16=in_bf16) @ vh.mT
    values = turned.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.6
    assert values.max() < 1.25
    assert (turned - torch.diag_embed(values)).abs().max() < (0.05 if in_bf16 else 1e-3)


def test_a_matrix_is_updated_as_by_torchs_muon():
    ours, theirs = module(), module()
    optimizer = optimizer_of(ours)
    reference = torch.optim.Muon(
        [theirs["up"].weight], lr=1e-2, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(4):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        apply_gradients(optimizer, ours.parameters(), clip_norm=0.0)
        reference.step()
    moved = ours["up"].weight - module()["up"].weight
    torch.testing.assert_close(moved, theirs["up"].weight - module()["up"].weight, rtol=0.1, atol=1e-3)  # theirs: bf16


def test_queries_keys_and_values_are_three_matrices():
    model = module()
    optimizer = optimizer_of(model)
    set_learning_rate(optimizer, 1.0)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    before = model["qkv"].weight.detach().clone()
    give_gradients(model, 1)
    apply_gradients(optimizer, model.parameters(), clip_norm=0.0)
    for part in (model["qkv"].weight.detach() - before).view(3, 8, 8):
        assert torch.linalg.svdvals(part / (RMS * 8**0.5)).min() > 0.5


def test_everything_else_is_updated_as_by_adamw():
    ours, theirs = module(), module()
    mine, reference = optimizer_of(ours), adamw(theirs, **SETTINGS)
    for step in range(3):
        for model, optimizer in ((ours, mine), (theirs, reference)):
            give_gradients(model, step)
            apply_gradients(optimizer, model.parameters(), clip_norm=0.0)
    for name in ("words.weight", "up.bias", "qkv.bias"):
        assert torch.equal(ours.get_parameter(name), theirs.get_parameter(name))
    assert not torch.equal(ours["up"].weight, theirs["up"].weight)


def test_an_update_that_is_not_finite_changes_neither_weights_nor_moments():
    model = module()
    optimizer = optimizer_of(model)
    give_gradients(model, 1)
    apply_gradients(optimizer, model.parameters(), clip_norm=1.0)
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    moment = optimizer.state[model["up"].weight]["moment"].clone()
    give_gradients(model, 2)
    model["up"].weight.grad[0, 0] = torch.inf
    assert apply_gradients(optimizer, model.parameters(), clip_norm=1.0).skipped
    assert all(map(torch.equal, weights, model.parameters()))
    assert torch.equal(moment, optimizer.state[model["up"].weight]["moment"])
