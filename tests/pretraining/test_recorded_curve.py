"""The curve in a pretraining record: short, and what the board reads."""

import pytest

from clue_bench.leaderboards.plots.points import Curve
from clue_bench.pretraining.curve import MOST_RECORDED, recorded


def report(step, loss, held_out=None):
    return {"tokens": 10 * step, "loss": loss, "held_out_loss": held_out}


def test_a_long_run_has_few_points_and_their_means():
    reports = [report(step, float(step % 2), 4.0 if step % 1000 == 0 else None) for step in range(1, 2001)]
    curve = Curve.model_validate(recorded(reports))
    assert len(curve.tokens) == MOST_RECORDED
    assert curve.tokens[-1] == 20_000
    assert set(curve.loss) == {0.5}
    assert [loss for loss in curve.held_out_loss if loss is not None] == [4.0, 4.0]


@pytest.mark.parametrize("num", [1, 7, MOST_RECORDED])
def test_a_short_run_is_recorded_as_it_was(num):
    curve = recorded([report(step, 1.0 / step) for step in range(1, num + 1)])
    assert curve["tokens"] == [10 * step for step in range(1, num + 1)]
    assert curve["loss"] == [round(1.0 / step, 5) for step in range(1, num + 1)]


def test_a_loss_that_is_no_number_is_left_out():
    assert recorded([report(1, 2.0), report(2, float("nan"))])["tokens"] == [10]
