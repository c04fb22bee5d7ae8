"""Options that may raise scores: each computes what its paper says, and repeats itself exactly."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, kl_divergence
from torch.func import functional_call
from torch.optim.optimizer import register_optimizer_step_pre_hook

from clue_bench.finetuning.base_models.heads import new_classifier
from clue_bench.finetuning.encode import collate, training_batches
from clue_bench.finetuning.techniques import (
    WeightAverage,
    class_weights,
    classification_loss,
    decay_after,
    moved_embedding,
    r_drop_loss,
)
from clue_bench.models.config import ModelConfig
from clue_bench.training.counter_rng import row_keys
from clue_bench.training.optim import adamw, set_learning_rate

TECHNIQUES = {
    "class_balance": {"class_balance": 0.5},
    "label_smoothing": {"label_smoothing": 0.1},
    "layer_decay": {"layer_decay": 0.8},
    "ema_decay": {"ema_decay": 0.9},
    "fgm_epsilon": {"fgm_epsilon": 0.5},
    "r_drop_alpha": {"r_drop_alpha": 1.0},
    "all": {
        "class_balance": 0.5,
        "label_smoothing": 0.1,
        "layer_decay": 0.8,
        "ema_decay": 0.9,
        "fgm_epsilon": 0.5,
        "r_drop_alpha": 1.0,
    },
}


def logits_and_labels(rows=7, classes=5):
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(rows, classes, generator=generator) * 2 for _ in range(2))
    return one, other, torch.randint(classes, (rows,), generator=generator)


def weights_of(model):
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def first_batch(run):
    rows = training_batches(run.train.lengths, batch_size=run.settings.batch_size, seed=run.seed, epoch=0)[0]
    return collate(run.train, rows, pad=run.pad, device=run.device)


def trace(run):
    """Losses of all updates, scores of all looks, and the weights that were kept."""
    losses = [report.loss for report in run.reports()]
    looks = [(look.step, look.loss, look.dev_loss, look.scores) for look in run.evaluations]
    return losses, looks, {name: tensor.tolist() for name, tensor in run.best_weights.items()}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_spreads_its_share_over_all_classes(smoothing):
    logits, _, labels = logits_and_labels()
    target = torch.full_like(logits, smoothing / logits.shape[1])
    target[torch.arange(len(labels)), labels] += 1 - smoothing
    by_hand = -(target * Categorical(logits=logits).logits).sum(dim=1).mean()
    loss = classification_loss(logits, labels, smoothing=smoothing)
    torch.testing.assert_close(loss, by_hand)
    assert torch.equal(loss, F.cross_entropy(logits, labels, label_smoothing=smoothing))


def test_rare_classes_weigh_more_and_the_mean_over_training_rows_stays_1():
    labels = np.array([0] * 16 + [1] * 4 + [3])
    weights = class_weights(labels, num_classes=4, power=0.5)
    torch.testing.assert_close(weights[1] / weights[0], torch.tensor(2.0))
    torch.testing.assert_close(weights[3] / weights[0], torch.tensor(4.0))
    torch.testing.assert_close(weights[torch.as_tensor(labels)].mean(), torch.tensor(1.0))
    shares = torch.bincount(torch.as_tensor(labels), minlength=4) * class_weights(labels, num_classes=4, power=1.0)
    torch.testing.assert_close(shares[[0, 1, 3]], torch.tensor([7.0, 7.0, 7.0]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_loss_is_each_rows_loss_times_its_weight(smoothing):
    logits, _, labels = logits_and_labels()
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.1])
    each = [classification_loss(logits[[row]], labels[[row]], smoothing=smoothing) for row in range(len(labels))]
    by_hand = (torch.stack(each) * weights[labels]).mean()
    torch.testing.assert_close(classification_loss(logits, labels, smoothing=smoothing, weights_C=weights), by_hand)


def test_the_first_update_weighs_rows_by_their_class(tiny_run):
    run, plain = tiny_run(class_balance=1.0, dropout=0.0), tiny_run(dropout=0.0)
    batch = first_batch(run)
    with torch.no_grad():
        logits = plain.model(batch.ids_BS, batch.segments_BS, batch.keep_BS)
    weights = class_weights(run.train.labels, num_classes=logits.shape[1], power=1.0)
    expected = classification_loss(logits, batch.labels_B, smoothing=0.0, weights_C=weights)
    assert next(run.reports()).loss == pytest.approx(float(expected), abs=1e-6)
    assert float(expected) != pytest.approx(next(plain.reports()).loss, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.5, 4.0])
def test_r_drops_divergence_is_that_of_torch_distributions_both_ways(alpha):
    one, other, labels = logits_and_labels()
    p, q = Categorical(logits=one), Categorical(logits=other)
    divergence = (kl_divergence(p, q).mean() + kl_divergence(q, p).mean()) / 2
    entropy = -(p.log_prob(labels).mean() + q.log_prob(labels).mean()) / 2
    loss = r_drop_loss(one, other, labels, alpha=alpha, smoothing=0.0)
    torch.testing.assert_close(loss, entropy + alpha * divergence)
    same = r_drop_loss(one, one, labels, alpha=alpha, smoothing=0.0)
    torch.testing.assert_close(same, F.cross_entropy(one, labels))


def test_r_drop_smooths_the_labels_of_both_passes():
    one, other, labels = logits_and_labels()
    entropies = [F.cross_entropy(each, labels, label_smoothing=0.2) for each in (one, other)]
    loss = r_drop_loss(one, other, labels, alpha=0.0, smoothing=0.2)
    torch.testing.assert_close(loss, sum(entropies) / 2)


def test_r_drops_two_passes_have_different_masks_of_the_same_rows(tiny_run):
    run = tiny_run(r_drop_alpha=1.0, dropout=0.3)
    batch = first_batch(run)

    def logits(purpose):
        keys = row_keys(np.zeros(len(batch.rows_B), np.int64), batch.rows_B, seed=run.seed, purpose=purpose)
        drop = run.dropout.masks(keys, sites=run.model.dropout_sites)
        return run.model(batch.ids_BS, batch.segments_BS, batch.keep_BS, drop)

    one, other = logits("dropout"), logits("second dropout")
    assert not torch.allclose(one, other, atol=1e-3)
    expected = r_drop_loss(one, other, batch.labels_B, alpha=1.0, smoothing=0.0)
    assert next(run.reports()).loss == pytest.approx(float(expected.detach()), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_fgm_adds_the_gradient_at_the_moved_embedding(tiny_run, smoothing):
    epsilon, off = 0.7, {"dropout": 0.0, "learning_rate": 1e-30, "weight_decay": 0.0, "clip_norm": 1e9}
    run = tiny_run(fgm_epsilon=epsilon, label_smoothing=smoothing, **off)
    batch = first_batch(run)
    names = [name for name, _ in run.model.named_parameters()]
    word = next(name for name, parameter in run.model.named_parameters() if parameter is run.model.word_embedding())

    def gradients(weights):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
        logits = functional_call(run.model, leaves, (batch.ids_BS, batch.segments_BS, batch.keep_BS))
        loss = F.cross_entropy(logits, batch.labels_B, label_smoothing=smoothing)
        found = torch.autograd.grad(loss, list(leaves.values()))
        return dict(zip(leaves, found, strict=True))

    weights = weights_of(run.model)
    clean = gradients(weights)
    step = epsilon * clean[word] / clean[word].norm()
    moved = gradients({**weights, word: weights[word] + step})
    assert (moved[word] - clean[word]).norm() > 1e-3 * clean[word].norm()  # or the test could not tell them apart
    got = gradients_of_first_update(run)
    for name in names:
        torch.testing.assert_close(got[name], clean[name] + moved[name], atol=1e-6, rtol=1e-5)
    assert torch.equal(run.model.word_embedding(), weights[word])


def gradients_of_first_update(run):
    """Catch the gradients on their way into the optimizer: they are gone when an update is reported."""
    caught = {}

    def catch(_optimizer, _args, _kwargs):
        caught.update({name: parameter.grad.clone() for name, parameter in run.model.named_parameters()})

    registered = register_optimizer_step_pre_hook(catch)
    try:
        next(run.reports())
    finally:
        registered.remove()
    return caught


def test_the_sum_of_both_gradients_is_clipped(tiny_run):
    run = tiny_run(fgm_epsilon=0.7, clip_norm=1e-3)
    gradients = gradients_of_first_update(run).values()
    assert float(torch.cat([g.flatten() for g in gradients]).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_embedding_comes_back_bit_for_bit_even_after_an_error(tiny_run):
    embedding = tiny_run().model.word_embedding()
    embedding.grad = torch.randn_like(embedding)
    before = embedding.detach().clone()
    with moved_embedding(embedding, epsilon=2.0) as is_moved:
        assert is_moved
        moved = embedding.detach() - before
        assert float(moved.norm()) == pytest.approx(2.0, rel=1e-5)
        torch.testing.assert_close(moved, 2.0 * embedding.grad / embedding.grad.norm())
    assert torch.equal(embedding, before)
    with pytest.raises(RuntimeError, match="out of memory"), moved_embedding(embedding, epsilon=2.0):
        raise RuntimeError("out of memory")
    assert torch.equal(embedding, before)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), None])
def test_a_gradient_without_a_direction_moves_nothing(tiny_run, value):
    embedding = tiny_run().model.word_embedding()
    embedding.grad = None if value is None else torch.full_like(embedding, value)
    before = embedding.detach().clone()
    with moved_embedding(embedding, epsilon=1.0) as is_moved:
        assert not is_moved
        assert torch.equal(embedding, before)


def test_the_average_is_its_closed_form():
    """After T updates: the sum over t of (1 - d_t) · d_(t+1) … d_T · w_t, the first of them with a share of 1."""
    decay, values = 0.7, [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, -6.0]
    model = torch.nn.Linear(2, 1)
    average = WeightAverage(model, decay=decay)
    for value in values:
        torch.nn.init.constant_(model.weight, value)
        average.update(model)
    decays = [0.0, *(min(decay, (1 + n) / (10 + n)) for n in range(1, len(values)))]
    assert decays[-1] == (1 + 7) / (10 + 7) < decay
    shares = [(1 - d) * math.prod(decays[t + 1 :]) for t, d in enumerate(decays)]
    assert sum(shares) == pytest.approx(1.0)
    expected = sum(share * value for share, value in zip(shares, values, strict=True))
    torch.testing.assert_close(average.model.weight.detach(), torch.full((1, 2), expected))
    assert decay_after(10**6, decay=decay) == decay


def test_the_average_is_what_is_evaluated_and_kept(tiny_run):
    run = tiny_run(ema_decay=0.9, evaluations_per_epoch=1, epochs=1)
    followed = None
    for report in run.reports():
        decay = 0.0 if report.step == 1 else min(0.9, report.step / (9 + report.step))
        now = weights_of(run.model)
        followed = now if followed is None else {n: decay * followed[n] + (1 - decay) * now[n] for n in now}
    assert [look.step for look in run.evaluations] == [8]
    for name, expected in followed.items():
        torch.testing.assert_close(run.best_weights[name], expected, atol=1e-6, rtol=0)
    assert not torch.allclose(run.best_weights["classifier.weight"], run.model.classifier.weight, atol=1e-4)


def test_training_goes_on_as_if_no_average_were_kept(tiny_run):
    averaged, plain = tiny_run(ema_decay=0.9), tiny_run()
    assert trace(averaged)[0] == trace(plain)[0]
    now, expected = weights_of(averaged.model), weights_of(plain.model)
    assert all(torch.equal(now[name], expected[name]) for name in expected)


@pytest.mark.parametrize("family", ["bert", "albert", "roformer", "gpt2"])
def test_at_every_step_a_layers_rate_is_the_schedules_times_its_own(tiny_run, family):
    decay, layers, total, warmup = 0.5, 2, 16, 2
    run = tiny_run(layer_decay=decay, learning_rate=1e-3)
    torch.manual_seed(0)
    sizes = {"layers": layers, "hidden_size": 16, "heads": 2, "feed_forward_size": 32, "max_positions": 16}
    run = replace(run, model=new_classifier(ModelConfig(family=family, vocab_size=24, **sizes), 3))
    body = run.model.decoder if family == "gpt2" else run.model.encoder
    distances = {id(p): len(body.layers) + 1 for p in body.parameters()}  # embeddings; layers follow
    for number, layer in enumerate(body.layers, 1):
        distances |= {id(p): len(body.layers) + 1 - number for p in layer.parameters()}
    if family == "gpt2":  # its last norm and its head stand above the layers
        distances |= {id(p): 0 for name, p in body.named_parameters() if not name.startswith(("word", "pos", "layers"))}
    rates = []

    def catch(optimizer, _args, _kwargs):
        rates.append({id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]})

    registered = register_optimizer_step_pre_hook(catch)
    try:
        list(run.reports())
    finally:
        registered.remove()
    assert len(rates) == total
    for step, found in enumerate(rates):
        scheduled = 1e-3 * min((step + 1) / warmup, (total - step) / (total - warmup))
        for name, parameter in run.model.named_parameters():
            expected = scheduled * decay ** distances.get(id(parameter), 0)
            assert found[id(parameter)] == pytest.approx(expected, rel=1e-9), (step, name)


@pytest.mark.parametrize("is_foreign", [False, True], ids=["own", "foreign"])
def test_each_layers_rate_is_the_decay_to_the_power_of_its_distance_from_the_head(tiny_run, is_foreign):
    run = tiny_run(layer_decay=0.5, is_foreign=is_foreign)
    layers = {name: run.model.layer_of(name) for name, _ in run.model.named_parameters()}
    assert set(layers.values()) == {0, 1, 2, 3}
    optimizer = adamw(
        run.model,
        learning_rate=1.0,
        weight_decay=0.01,
        betas=(0.9, 0.999),
        epsilon=1e-8,
        scale_of=lambda name: 0.5 ** (3 - layers[name]),
    )
    set_learning_rate(optimizer, 1e-2)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(groups) == len(layers)
    for name, parameter in run.model.named_parameters():
        group = groups[id(parameter)]
        assert group["lr"] == 1e-2 * 0.5 ** (3 - layers[name])
        assert group["weight_decay"] == (0.01 if parameter.ndim >= 2 else 0.0)


@pytest.mark.parametrize("is_foreign", [False, True], ids=["own", "foreign"])
def test_a_layers_first_update_is_as_long_as_its_rate(tiny_run, is_foreign):
    """Adam's first update moves a weight by its rate, less only where the gradient is not far above epsilon."""
    run = tiny_run(layer_decay=0.5, is_foreign=is_foreign, warmup_share=0.0, weight_decay=0.0, learning_rate=1e-2)
    before = weights_of(run.model)
    next(run.reports())
    longest = dict.fromkeys(range(4), 0.0)
    for name, parameter in run.model.named_parameters():
        layer = run.model.layer_of(name)
        longest[layer] = max(longest[layer], float((parameter.detach() - before[name]).abs().max()))
    assert longest == pytest.approx({layer: 1e-2 * 0.5 ** (3 - layer) for layer in range(4)}, rel=1e-3)


@pytest.fixture(scope="module")
def plain_trace(tiny_run):
    """Return a function that gives the trace of a run of our model, or of a foreign one, without any technique."""
    return cache(lambda is_foreign: trace(tiny_run(is_foreign=is_foreign, epochs=1)))


@pytest.mark.parametrize(
    ("technique", "is_foreign"),
    [
        *(pytest.param(technique, False, id=f"{technique}-own") for technique in (None, *TECHNIQUES)),
        pytest.param("all", True, id="all-foreign"),
        *(
            pytest.param(technique, True, id=f"{technique}-foreign", marks=pytest.mark.slow)
            for technique in (None, *TECHNIQUES)
            if technique != "all"
        ),
    ],
)
def test_the_same_seed_gives_the_same_numbers_and_the_technique_others(tiny_run, plain_trace, technique, is_foreign):
    settings = TECHNIQUES[technique] if technique else {}
    traces = []
    for stray in (0, 1):
        run = tiny_run(is_foreign=is_foreign, epochs=1, **settings)
        torch.manual_seed(stray)  # what else was drawn before has no influence
        traces.append(trace(run))
    assert traces[0] == traces[1]
    assert trace(tiny_run(is_foreign=is_foreign, epochs=1, steps=1, seed=2, **settings))[0][0] != traces[0][0][0]
    if technique:
        assert plain_trace(is_foreign) != traces[0]


@pytest.mark.parametrize(
    "technique", ["all", *(pytest.param(each, marks=pytest.mark.slow) for each in TECHNIQUES if each != "all")]
)
def test_each_technique_learns(tiny_run, technique):
    run = tiny_run(epochs=12, learning_rate=1e-2, **TECHNIQUES[technique])
    list(run.reports())
    assert run.best is not None
    assert run.best.scores.accuracy > 0.9
