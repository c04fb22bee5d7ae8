"""A fine-tuning run that was interrupted continues to the very numbers of one that was not."""

import logging

import pytest
import torch

from clue_bench.finetuning.state import load_state, save_state

CASES = {
    "plain": {},
    "every technique": {"ema_decay": 0.9, "fgm_epsilon": 0.5, "r_drop_alpha": 1.0, "layer_decay": 0.8},
    "a model of transformers": {"is_foreign": True},
    "patience": {"patience": 2, "epochs": 12, "learning_rate": 1e-2},
}


def outcome(run):
    """Every evaluation, the best one's logits and weights, and where the run ended."""
    weights = [(name, tensor.tolist()) for name, tensor in run.best_weights.items()]
    return run.evaluations, run.best, run.best_logits.tolist(), weights, run.last_step, run.stopped_early


@pytest.fixture
def one_thread():
    """Sums of several threads may come in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


FEWER = ("plain", "patience")  # their code is part of the others'


@pytest.mark.parametrize("name", [pytest.param(c, marks=[pytest.mark.slow] * (c in FEWER)) for c in CASES])
def test_interrupted_after_any_update_and_continued_a_run_is_the_same_bit_for_bit(tiny_run, tmp_path, name, one_thread):
    whole = tiny_run(**CASES[name])
    losses = [report.loss for report in whole.reports()]
    state, found = tmp_path / "state.pt", []
    while not found or len(found) < len(losses):
        run = tiny_run(**CASES[name])
        torch.manual_seed(len(found))  # the generator is wherever it is
        load_state(state, run, run_id="run")
        assert run.last_step == len(found)
        for report in run.reports():
            found.append(report.loss)
            if len(found) % 3 == 0 or report.evaluation is not None:
                break
        save_state(state, run, run_id="run")
    assert found == losses
    assert outcome(run) == outcome(whole)
    assert (name == "patience") == run.stopped_early
    ended = tiny_run(**CASES[name])
    load_state(state, ended, run_id="run")
    assert list(ended.reports()) == []
    assert outcome(ended) == outcome(whole)


def test_a_state_that_is_damaged_or_of_another_run_is_left_aside_aloud(tiny_run, tmp_path, caplog):
    run, state = tiny_run(), tmp_path / "state.pt"
    next(run.reports())
    save_state(state, run, run_id="run")
    for run_id, contents, words in (("other", state.read_bytes(), "another run"), ("run", b"PK", "damaged")):
        state.write_bytes(contents)
        fresh = tiny_run()
        with caplog.at_level(logging.WARNING):
            load_state(state, fresh, run_id=run_id)
        assert fresh.last_step == 0
        assert words in caplog.text
        assert "starting over" in caplog.text
