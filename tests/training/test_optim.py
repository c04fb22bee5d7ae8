"""The optimizer against a plain AdamW in fp64, skipped updates, and the schedule."""

import itertools

import pytest
import torch
from torch import nn

from clue_bench.errors import ClueBenchError
from clue_bench.training.optim import (
    GROWTH,
    LossScale,
    Updates,
    adamw,
    apply_gradients,
    check_weights,
    drop_bias_correction,
    linear_schedule,
    load_moments,
    make_recordable,
    set_learning_rate,
)

BETAS, EPSILON, DECAY = (0.9, 0.98), 1e-6, 0.1
RATES = [linear_schedule(step, peak=1e-2, warmup_steps=3, total_steps=12) for step in range(12)]


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4)).double()


def gradients(steps: int) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    sizes = [p.shape for p in module().parameters()]
    return [[torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes] for _ in range(steps)]


def plain_adamw(weights, updates, *, corrected: bool):
    """AdamW as the paper has it: the decay of matrices is apart from the update."""
    weights = [w.clone() for w in weights]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    count = 0
    for rate, grads in updates:
        if grads is None:
            continue
        count += 1
        for number, grad in enumerate(grads):
            first[number] = BETAS[0] * first[number] + (1 - BETAS[0]) * grad
            second[number] = BETAS[1] * second[number] + (1 - BETAS[1]) * grad**2
            mean = first[number] / (1 - BETAS[0] ** count if corrected else 1)
            spread = second[number] / (1 - BETAS[1] ** count if corrected else 1)
            decay = DECAY if weights[number].ndim >= 2 else 0.0
            weights[number] -= rate * (mean / (spread.sqrt() + EPSILON) + decay * weights[number])
    return weights


def trained(updates, *, corrected: bool) -> list[torch.Tensor]:
    model = module()
    optimizer = adamw(model, learning_rate=RATES[0], weight_decay=DECAY, betas=BETAS, epsilon=EPSILON)
    if not corrected:
        drop_bias_correction(optimizer)
    for rate, grads in updates:
        set_learning_rate(optimizer, rate)
        for number, parameter in enumerate(model.parameters()):
            parameter.grad = torch.full_like(parameter, float("nan")) if grads is None else grads[number].clone()
        applied = apply_gradients(optimizer, model.parameters(), clip_norm=0.0)
        assert bool(applied.skipped) == (grads is None)
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("skipped", [(), (0,), (2, 3)], ids=["none skipped", "the first skipped", "two skipped"])
@pytest.mark.parametrize("corrected", [True, False], ids=["corrected", "uncorrected"])
def test_updates_equal_those_of_a_plain_implementation(corrected, skipped):
    grads = [None if step in skipped else each for step, each in enumerate(gradients(12))]
    updates = list(zip(RATES, grads, strict=True))
    expected = plain_adamw([p.detach() for p in module().parameters()], updates, corrected=corrected)
    for got, wanted in zip(trained(updates, corrected=corrected), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)


def test_a_rate_of_zero_changes_nothing_and_the_decay_returns_after_it():
    rates = [0.0, *RATES[1:6], 0.0, *RATES[6:]]
    updates = list(zip(rates, gradients(13), strict=True))
    before = [p.detach() for p in module().parameters()]
    assert all(torch.equal(a, b) for a, b in zip(trained(updates[:1], corrected=False), before, strict=True))
    expected = plain_adamw(before, updates, corrected=False)
    for got, wanted in zip(trained(updates, corrected=False), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)


def test_a_skipped_update_leaves_weights_and_moments_bit_for_bit():
    model = module().float()
    optimizer = adamw(model, learning_rate=1e-2, weight_decay=DECAY, betas=BETAS, epsilon=EPSILON)

    def update(value: float) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, value)
        apply_gradients(optimizer, model.parameters(), clip_norm=1.0)

    def everything() -> list[torch.Tensor]:
        states = [optimizer.state[parameter] for parameter in model.parameters()]
        moments = [state[name] for state in states for name in ("exp_avg", "exp_avg_sq")]
        return [tensor.detach().clone() for tensor in [*model.parameters(), *moments]]

    update(0.5)
    before = everything()
    for value in (float("nan"), float("inf"), float("-inf")):
        update(value)
        assert all(torch.equal(a, b) for a, b in zip(everything(), before, strict=True))
    update(0.5)
    assert not any(torch.equal(a, b) for a, b in zip(everything(), before, strict=True))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5, 1e9])
def test_gradients_are_clipped_to_a_norm_and_zero_clips_nothing_without_a_pass_over_them(clip_norm, kernels):
    models = [module().float() for _ in range(2)]
    for model in models:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
    reference = torch.optim.SGD(models[0].parameters(), lr=1.0, fused=True)
    norm = torch.nn.utils.clip_grad_norm_(models[0].parameters(), clip_norm or float("inf"))
    reference.step()
    optimizer = torch.optim.SGD(models[1].parameters(), lr=1.0, fused=True)
    calls = kernels(lambda: apply_gradients(optimizer, models[1].parameters(), clip_norm=clip_norm))
    assert float(norm) == pytest.approx(0.5 * 32**0.5)
    assert any("_foreach_mul_" in name for name, *_ in calls) == (clip_norm > 0)
    assert all(parameter.grad is None for parameter in models[1].parameters())
    for got, wanted in zip(models[1].parameters(), models[0].parameters(), strict=True):
        assert torch.equal(got, wanted)


def test_a_loss_scale_follows_what_overflows_as_torchs_does():
    scale = LossScale(torch.device("cpu"))
    factor, good = torch.full((), 2.0**16), torch.zeros((), dtype=torch.int32)
    for step in range(2 * GROWTH + 10):
        skipped = torch.tensor(step in (0, 1, 2500))
        scale.follow(skipped)
        torch._amp_update_scale_(factor, good, skipped.float(), 2.0, 0.5, GROWTH)
        assert float(scale.factor) == float(factor), step
    assert float(factor) == 2.0**14
    restored = LossScale(torch.device("cpu"))
    restored.load(scale.state())
    assert restored.state() == scale.state()


def test_gradients_of_scaled_losses_are_unscaled_before_they_are_clipped():
    norms, weights = [], []
    for loss_scale in (None, LossScale(torch.device("cpu"))):
        model = module().float()
        factor = 1.0 if loss_scale is None else float(loss_scale.factor)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.5 * factor)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, fused=True)
        norms.append(apply_gradients(optimizer, model.parameters(), clip_norm=0.5, loss_scale=loss_scale).norm)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*norms)
    assert torch.equal(*weights)


def test_running_out_of_memory_names_the_step_and_the_repair():
    def learn(given):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    optimizer = torch.optim.SGD(module().parameters(), lr=1.0)
    updates = Updates(learn, optimizer, lambda step: 0.5, device=torch.device("cpu"), hint=lambda: "--set smaller")
    with pytest.raises(ClueBenchError, match="memory at step 4") as caught:
        updates(3, ())
    assert caught.value.hint == "--set smaller"
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_weights_that_are_not_finite_are_a_divergence():
    model = module()
    check_weights(model, step=7, hint="", kept="")
    with torch.no_grad():
        model[0].bias[1] = float("nan")
    with pytest.raises(ClueBenchError, match=r"1 parameter.* step 7"):
        check_weights(model, step=7, hint="", kept="")


def test_a_state_gives_moments_and_counts_and_leaves_rates_and_settings_alone():
    """States of before hold an epsilon and a decay of one step, which undid the bias correction there."""
    options = {"weight_decay": DECAY, "betas": BETAS, "epsilon": EPSILON}
    first, second = (adamw(module().float(), learning_rate=1e-2, **options) for _ in range(2))
    for group in first.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    first.step()
    state = first.state_dict()
    for group in state["param_groups"]:
        group |= {"eps": 0.5, "weight_decay": 0.5, "lr": 0.5}
    make_recordable(second, torch.device("cpu"))
    load_moments(second, state)
    for group, decay in zip(second.param_groups, (DECAY, 0.0), strict=True):
        assert (group["eps"], group["weight_decay"]) == (EPSILON, decay)
        assert isinstance(group["lr"], torch.Tensor)
        assert float(group["lr"]) == pytest.approx(1e-2)
    assert second.state_dict()["state"].keys() == state["state"].keys()
    for number, moments in second.state_dict()["state"].items():
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(moments[name], state["state"][number][name])


def test_matrices_decay_and_biases_and_norms_do_not():
    model = module()
    optimizer = adamw(model, learning_rate=1e-2, weight_decay=DECAY, betas=BETAS, epsilon=EPSILON)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decays[id(p)] for p in model.parameters()] == [DECAY, 0.0, 0.0, 0.0]


def test_scales_make_groups_of_their_own_and_every_rate_that_is_set_keeps_to_them():
    model = module()
    scales = {"0.weight": 0.25, "0.bias": 0.25, "1.weight": 0.5, "1.bias": 1.0}
    optimizer = adamw(
        model, learning_rate=1e-2, weight_decay=DECAY, betas=BETAS, epsilon=EPSILON, scale_of=scales.__getitem__
    )
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for rate in (1e-2, 3e-3, 0.0):
        set_learning_rate(optimizer, rate)
        assert {n: groups[id(p)]["lr"] for n, p in model.named_parameters()} == {n: rate * s for n, s in scales.items()}
    assert [groups[id(p)]["weight_decay"] for p in model.parameters()] == [DECAY, 0.0, 0.0, 0.0]


def test_without_scales_there_are_two_groups_matrices_first():
    """States of optimizers on disk number parameters by group."""
    model = module()
    optimizer = adamw(model, learning_rate=1e-2, weight_decay=DECAY, betas=BETAS, epsilon=EPSILON)
    matrices, others = (group["params"] for group in optimizer.param_groups)
    assert [id(p) for p in matrices] == [id(model[0].weight)]
    assert [id(p) for p in others] == [id(model[0].bias), id(model[1].weight), id(model[1].bias)]


def test_scales_of_one_change_no_bit_of_torchs_own_optimizer():
    ours, torchs = module().float(), module().float()
    options = {"betas": BETAS, "epsilon": EPSILON}
    optimizer = adamw(ours, learning_rate=1.0, weight_decay=DECAY, scale_of=lambda _: 1.0, **options)
    groups = [
        {"params": [p for p in torchs.parameters() if p.ndim >= 2], "weight_decay": DECAY},
        {"params": [p for p in torchs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=1.0, betas=BETAS, eps=EPSILON, fused=True)
    for rate, grads in zip(RATES, gradients(12), strict=True):
        set_learning_rate(optimizer, rate)
        for group in reference.param_groups:
            group["lr"] = rate
        for model in (ours, torchs):
            for parameter, grad in zip(model.parameters(), grads, strict=True):
                parameter.grad = grad.float()
        optimizer.step()
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), torchs.parameters(), strict=True))


def test_a_rate_that_decays_late_stays_at_its_peak_until_then():
    rates = [linear_schedule(s, peak=1.0, warmup_steps=2, decay_steps=4, total_steps=10) for s in range(10)]
    assert rates == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_the_schedule_rises_to_its_peak_and_falls_towards_its_final_rate():
    rates = [linear_schedule(s, peak=1.0, warmup_steps=4, total_steps=12, final=0.2) for s in range(12)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    falls = [before - after for before, after in itertools.pairwise(rates[4:])]
    assert falls == pytest.approx([0.1] * 7)
    assert rates[-1] - falls[-1] == pytest.approx(0.2)  # the next step, which is not made, would have the final rate


@pytest.mark.parametrize("warmup", [0, 5])
def test_a_schedule_may_be_all_fall_or_all_warm_up(warmup):
    rates = [linear_schedule(s, peak=1.0, warmup_steps=warmup, total_steps=5) for s in range(5)]
    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2] if not warmup else [0.2, 0.4, 0.6, 0.8, 1.0])
