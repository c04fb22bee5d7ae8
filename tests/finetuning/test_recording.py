"""What recording updates as CUDA graphs asks of them, checked on the CPU; the recording itself needs a GPU."""

import math

import numpy as np
import pytest
import torch

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning import train
from clue_bench.finetuning.encode import collate
from clue_bench.finetuning.run import check_recordable
from clue_bench.finetuning.train import GRAPH_LENGTHS, Finetuning
from clue_bench.training.cuda_graphs import WARM_UPS
from clue_bench.training.optim import make_recordable, set_learning_rate

SETTINGS = {"plain": {}, "r_drop": {"r_drop_alpha": 1.0, "label_smoothing": 0.1}, "layer_decay": {"layer_decay": 0.8}}


@pytest.fixture(params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]


def batch_of(run, rows, *, width=GRAPH_LENGTHS):
    return collate(run.train, np.array(rows), pad=run.pad, device=run.device, width=width)


def test_updates_of_one_length_call_the_same_kernels_and_wait_for_none(tiny_run, settings, kernels):
    run = tiny_run(**settings)
    make_recordable(run.optimizer, run.device)
    short = np.flatnonzero(run.train.lengths <= GRAPH_LENGTHS)

    def of(step, rows):
        batch = batch_of(run, rows)
        set_learning_rate(run.optimizer, 1e-3 / (step + 1))
        given = (batch, torch.full_like(batch.rows_B, step))
        return kernels(lambda: run._learn((given,)))

    of(0, short[:8])  # the pool of dropout masks and the optimizer's moments are made
    assert of(1, short[8:16]) == of(2, short[16:24])


def test_padding_to_a_multiple_changes_no_logit(tiny_run):
    run = tiny_run(dropout=0.0)
    rows = np.flatnonzero(run.train.lengths == 5)
    narrow, wide = batch_of(run, rows, width=None), batch_of(run, rows)
    assert narrow.ids_BS.shape[1] == 5
    assert wide.ids_BS.shape[1] == GRAPH_LENGTHS
    assert narrow.keep_BS is None
    logits = [run.model(batch.ids_BS, batch.segments_BS, batch.keep_BS) for batch in (narrow, wide)]
    torch.testing.assert_close(*logits, atol=1e-6, rtol=0)


def test_a_run_by_replays_equals_a_run_without_but_for_rounding(tiny_run, repeats):
    """Dropout is off: which elements a row's masks drop depends on how long the row is padded."""
    plain, replayed = (tiny_run(dropout=0.0, ema_decay=0.9, layer_decay=0.8, epochs=4) for _ in range(2))
    replayed.cuda_graphs = True
    replayed.updates.record_with(repeats)
    expected = [report.loss for report in plain.reports()]
    assert [report.loss for report in replayed.reports()] == pytest.approx(expected, abs=1e-4)
    assert len(expected) > WARM_UPS
    assert {batch.ids_BS.shape[1] for ((batch, _),) in repeats.recorded} == {8, 16}
    assert repeats.num_aside < len(expected)
    assert replayed.best.scores == plain.best.scores


def test_no_row_is_padded_beyond_the_longest_that_the_model_takes(tiny_run):
    run = tiny_run(max_length=13)
    assert run._recorded_width(np.flatnonzero(run.train.lengths == 11)) == 13
    assert run._recorded_width(np.flatnonzero(run.train.lengths == 8)) == 8


@pytest.mark.parametrize(
    ("asked", "device", "found"),
    [
        ({}, "cpu", "no CUDA device"),
        ({"fgm_epsilon": 0.5}, "cuda", "fgm_epsilon asks the host"),
        ({"is_foreign": True}, "cuda", "one of transformers"),
    ],
)
def test_asking_for_cuda_graphs_where_they_cannot_be_is_an_error(tiny_run, asked, device, found):
    run = tiny_run(**asked)
    with pytest.raises(ClueBenchError, match=f"--cuda-graphs: .*{found}"):
        check_recordable(run.model, run.settings, torch.device(device))


@pytest.mark.parametrize("most", [2, 5])
def test_losses_that_are_read_later_are_the_same(tiny_run, most, monkeypatch):
    """On a GPU losses are read every few updates; looks at dev see all of them."""
    every = tiny_run()
    losses = [report.loss for report in every.reports()]
    monkeypatch.setattr(Finetuning, "max_unread", most)
    some = tiny_run()
    shown = [report.loss for report in some.reports()]
    assert [look.loss for look in some.evaluations] == [look.loss for look in every.evaluations]
    assert set(shown) < set(losses)


@pytest.mark.parametrize(
    "settings",
    [{}, {"r_drop_alpha": 1.0, "label_smoothing": 0.1}, {"fgm_epsilon": 1.0}],
    ids=["plain", "r-drop", "fgm"],
)
def test_an_update_that_runs_out_of_memory_is_made_again_in_parts(tiny_run, monkeypatch, caplog, settings):
    whole, parts = tiny_run(**settings), tiny_run(**settings)
    expected = [report.loss for report in whole.reports()]
    forward, calls = parts._logits, []

    def limited(batch, *given, **more):
        calls.append(len(batch.rows_B))
        if len(batch.rows_B) > 4 and len(calls) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch, *given, **more)

    monkeypatch.setattr(parts, "_logits", limited)
    assert [report.loss for report in parts.reports()] == pytest.approx(expected, abs=1e-4)
    assert max(calls[-10:]) <= 4
    assert "out of memory: 4 rows at once" in caplog.text


def test_one_row_that_does_not_fit_is_an_error(tiny_run, monkeypatch):
    run = tiny_run()

    def full(*given, **more):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run, "_logits", full)
    with pytest.raises(ClueBenchError, match="out of memory"):
        list(run.reports())


def broken_at(run, monkeypatch, steps):
    """Let the logits of some updates (0-based) be no numbers."""
    logits = run._logits

    def broken(batch, steps_B, **more):
        return logits(batch, steps_B, **more) * (math.nan if int(steps_B[0]) in steps else 1.0)

    monkeypatch.setattr(run, "_logits", broken)


@pytest.mark.parametrize("unread", [1, 5])
def test_a_few_losses_that_are_no_numbers_are_said_and_not_counted(tiny_run, monkeypatch, caplog, unread):
    monkeypatch.setattr(Finetuning, "max_unread", unread)
    run = tiny_run(evaluations_per_epoch=1, epochs=6)
    broken_at(run, monkeypatch, {1, 3})
    list(run.reports())
    assert "update 2 was not finite" in caplog.text
    assert (run.skipped, run.skipped_in_a_row) == (2, 0)
    assert run.evaluations[-1].loss < run.evaluations[0].loss


def test_many_losses_in_a_row_that_are_no_numbers_end_the_run_and_name_the_state(tiny_run, monkeypatch):
    monkeypatch.setattr(train, "MANY_SKIPPED", 3)
    run = tiny_run(evaluations_per_epoch=1, epochs=9)
    run.kept = "the last good state, of step 2, is state.pt"
    broken_at(run, monkeypatch, {3, 5, 6, 7})
    with pytest.raises(ClueBenchError, match=r"nan at step 8.*3 updates.*state\.pt"):
        list(run.reports())


def test_a_gradient_that_is_not_finite_and_weights_that_are_not_are_divergences(tiny_run, monkeypatch):
    run = tiny_run()
    with torch.no_grad():
        weights = dict(run.model.named_parameters())
        weights["head.weight" if "head.weight" in weights else next(reversed(weights))].fill_(math.inf)
    with pytest.raises(ClueBenchError, match=r"no finite loss.*no state"):
        list(run.reports())
    assert run.skipped == run.last_step > 0
    run = tiny_run(learning_rate=3e38, steps=1, warmup_share=0.0)
    with pytest.raises(ClueBenchError, match="not finite after step 1"):
        list(run.reports())


def test_in_fp16_updates_that_overflow_are_skipped_and_counted_and_the_others_learn(tiny_run):
    plain, half = tiny_run(epochs=6), tiny_run(epochs=6, autocast=torch.float16)
    half.loss_scale.factor.fill_(2.0**30)
    list(plain.reports())
    list(half.reports())
    assert 0 < half.skipped < half.total_steps / 2
    assert float(half.loss_scale.factor) == 2.0 ** (30 - half.skipped)
    assert half.evaluations[-1].loss < half.evaluations[0].loss
    assert plain.skipped == 0
    half.loss_scale.factor.fill_(1.0)
    with torch.no_grad():
        next(half.model.parameters()).fill_(math.inf)
    half.last_step = 0
    with pytest.raises(ClueBenchError, match="the run has diverged"):
        list(half.reports())
