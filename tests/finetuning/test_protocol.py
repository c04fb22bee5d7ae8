"""The protocol: when dev is looked at, which look counts, when a run stops; and what an update is."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clue_bench.finetuning import predict, train
from clue_bench.finetuning.encode import collate, training_batches
from clue_bench.finetuning.predict import predict_logits
from clue_bench.finetuning.train import evaluation_steps, planned_steps

LEARNING = {"epochs": 6, "learning_rate": 1e-2, "evaluations_per_epoch": 3, "max_evaluations": 40}


def losses(run):
    return [report.loss for report in run.reports()]


def rank(look, metric="accuracy"):
    return getattr(look.scores, metric)


def freeze(run, *, bias):
    """Make the classifier always answer by `bias`: nothing that is learnt shows any more."""
    with torch.no_grad():
        run.model.classifier.weight.zero_()
        run.model.classifier.bias.copy_(torch.tensor(bias))
    return run


@pytest.mark.parametrize("is_foreign", [False, True], ids=["own", "foreign"])
def test_with_every_option_off_an_update_is_that_of_a_plain_loop(tiny_run, is_foreign):
    options = {"dropout": 0.0, "epochs": 2, "clip_norm": 0.1, "is_foreign": is_foreign}
    run, plain = tiny_run(**options), tiny_run(**options)
    total, warmup = 16, 2
    matrices = [p for p in plain.model.parameters() if p.ndim >= 2]
    others = [p for p in plain.model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": others, "weight_decay": 0.0}], weight_decay=0.01)
    expected = []
    plain.model.train()
    batches = [
        rows
        for epoch in range(2)
        for rows in training_batches(plain.train.lengths, batch_size=8, seed=plain.seed, epoch=epoch)
    ]
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min((step + 1) / warmup, (total - step) / (total - warmup))
        batch = collate(plain.train, rows, pad=0, device=plain.device)
        loss = F.cross_entropy(plain.model(batch.ids_BS, batch.segments_BS, batch.keep_BS), batch.labels_B)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.model.parameters(), 0.1)
        assert norm > 0.1  # or clipping would not be seen
        optimizer.step()
        expected.append(float(loss.detach()))
    assert losses(run) == pytest.approx(expected, abs=1e-5)
    assert expected[-1] < expected[0]


@pytest.mark.parametrize(
    ("train_rows", "changes", "expected"),
    [
        (80, {"epochs": 2, "evaluations_per_epoch": 2}, [5, 10, 15, 20]),
        (80, {"epochs": 1, "evaluations_per_epoch": 3}, [3, 7, 10]),
        (80, {"epochs": 2, "evaluations_per_epoch": 2, "max_evaluations": 3}, [7, 13, 20]),
        (80, {"epochs": 50, "evaluations_per_epoch": 4, "max_evaluations": 4}, [125, 250, 375, 500]),
        (80, {"epochs": 2, "evaluations_per_epoch": 2, "steps": 12}, [4, 8, 12]),
        (80, {"epochs": 2, "evaluations_per_epoch": 2, "steps": 1}, [1]),
        (8, {"epochs": 2, "evaluations_per_epoch": 5}, [1, 2]),
        (8, {"epochs": 1, "evaluations_per_epoch": 1, "max_evaluations": 1}, [1]),
    ],
)
def test_looks_are_spread_evenly_and_never_more_than_allowed(tiny_settings, train_rows, changes, expected):
    assert evaluation_steps(tiny_settings(**changes), train_rows=train_rows) == expected


def test_wherever_looks_fall_the_last_step_has_one_and_gaps_differ_by_one_at_most(tiny_settings):
    for train_rows, epochs, per_epoch, most, steps in itertools.product(
        (1, 8, 61, 500), (1, 2, 7), (1, 3, 40), (1, 4, 15), (None, 1, 10)
    ):
        settings = tiny_settings(epochs=epochs, evaluations_per_epoch=per_epoch, max_evaluations=most, steps=steps)
        looks = evaluation_steps(settings, train_rows=train_rows)
        total = planned_steps(settings, train_rows=train_rows)
        assert 1 <= len(looks) <= min(most, total)
        assert looks[-1] == total
        gaps = [after - before for before, after in itertools.pairwise([0, *looks])]
        assert min(gaps) >= 1
        assert max(gaps) - min(gaps) <= 1, (train_rows, epochs, per_epoch, most, steps)


@pytest.mark.parametrize("most", [1, 2, 5, 8])
def test_a_run_looks_at_dev_as_often_as_planned_and_after_its_last_step(tiny_run, most):
    run = tiny_run(epochs=4, evaluations_per_epoch=2, max_evaluations=most)
    reports = list(run.reports())
    looks = [report.step for report in reports if report.evaluation is not None]
    assert looks == [look.step for look in run.evaluations] == evaluation_steps(run.settings, train_rows=60)
    assert len(looks) == most
    assert looks[-1] == run.total_steps == run.last_step == len(reports) == 32
    assert not run.stopped_early
    assert run.evaluation_rows_per_second > 0


def test_a_look_that_takes_long_says_how_far_it_is_and_changes_nothing(tiny_run, monkeypatch):
    plain = tiny_run(epochs=1)
    expected = losses(plain)
    monkeypatch.setattr(train, "SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(predict, "CPU_TOKENS", 40)
    run = tiny_run(epochs=1)
    reports = list(run.reports())
    assert [report.loss for report in reports if not report.of_split] == expected
    first = [report for report in reports if report.of_split and report.step == run.evaluations[0].step]
    done = [report.evaluated for report in first]
    assert done == sorted(set(done))
    assert (done[-1], first[0].of_split, first[0].evaluation) == (len(run.dev), len(run.dev), None)
    assert np.allclose(run.best_logits, plain.best_logits, atol=1e-5)


def test_a_looks_loss_is_the_mean_since_the_look_before(tiny_run):
    run = tiny_run(epochs=2, evaluations_per_epoch=2)
    every, start = losses(run), 0
    for look in run.evaluations:
        assert look.loss == pytest.approx(sum(every[start : look.step]) / (look.step - start))
        assert look.epoch == look.step / 8
        start = look.step


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_the_best_look_is_the_first_highest_by_the_tasks_metric_and_its_weights_are_kept(tiny_run, metric):
    run = tiny_run(metric=metric, **LEARNING)
    kept = []
    for report in run.reports():
        if report.evaluation is not None:
            kept.append({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
    best = max(range(len(kept)), key=lambda number: (rank(run.evaluations[number], metric), -number))
    assert run.best is run.evaluations[best]
    assert all(torch.equal(tensor, kept[best][name]) for name, tensor in run.best_weights.items())
    run.model.load_state_dict(run.best_weights)
    again = predict_logits(run.model, run.dev, pad=run.pad, device=run.device, autocast=run.autocast)
    assert (again == run.best_logits).all()  # which a record's dev predictions are made of


@pytest.fixture(scope="module")
def whole_run(tiny_run):
    """Return a function that gives a run without patience, and its losses: few rows, so accuracy rises and falls."""

    @cache
    def whole(seed):
        run = tiny_run(seed=seed, dev_rows=12, **LEARNING)
        return run, losses(run)

    return whole


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
@pytest.mark.parametrize("patience", [1, 2, 4, 100])
def test_a_run_stops_at_the_first_look_that_exhausts_its_patience_and_not_before(tiny_run, whole_run, patience, seed):
    whole, every = whole_run(seed)
    stop = None
    for number, look in enumerate(whole.evaluations):
        ranks = [rank(each) for each in whole.evaluations[: number + 1]]
        best = ranks.index(max(ranks))
        since = whole.evaluations[best + 1 : number + 1]
        if sum(not each.scores.is_constant for each in since) >= patience:
            stop = look.step
            break
    early = tiny_run(seed=seed, dev_rows=12, patience=patience, **LEARNING)
    assert losses(early) == every[:stop]
    assert early.last_step == (stop or whole.total_steps)
    assert early.stopped_early == (stop is not None and stop < whole.total_steps)
    assert early.total_steps == whole.total_steps == 48  # the schedule is that of the whole run
    if patience == 100:
        assert not early.stopped_early
    if patience == 1:
        assert early.stopped_early


def test_nothing_stops_without_patience(tiny_run):
    run = tiny_run(epochs=4, learning_rate=1e-30)
    losses(run)
    assert len({rank(look) for look in run.evaluations}) == 1
    assert not run.stopped_early
    assert run.last_step == run.total_steps


def test_a_model_that_still_says_one_class_only_is_not_given_up(tiny_run):
    run = freeze(tiny_run(epochs=4, learning_rate=1e-30, patience=1), bias=[0.0, 9.0, 0.0])
    losses(run)
    assert all(look.scores.is_constant for look in run.evaluations)
    assert not run.stopped_early
    assert len(run.evaluations) == 8


def test_a_run_that_stops_at_its_very_end_has_not_stopped_early(tiny_run):
    run = tiny_run(epochs=1, learning_rate=1e-30, patience=1, evaluations_per_epoch=2)
    losses(run)
    assert len(run.evaluations) == 2
    assert rank(run.evaluations[0]) == rank(run.evaluations[1])
    assert not run.stopped_early


def test_the_planned_steps_are_those_of_the_epochs_or_fewer(tiny_run):
    assert tiny_run(epochs=3).total_steps == 3 * math.ceil(60 / 8)
    assert tiny_run(epochs=3, steps=5).total_steps == 5
    assert tiny_run(epochs=3, steps=500).total_steps == 24


def test_epochs_that_steps_cut_off_take_no_time(tiny_run):
    assert len(losses(tiny_run(epochs=10**9, steps=3))) == 3
