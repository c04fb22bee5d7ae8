"""Training in fp16: losses are scaled, what overflows is skipped and counted, and losses are those of fp32."""

import pytest
import torch

from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import completed_record, run
from clue_bench.pretraining.train import Pretraining
from clue_bench.training.optim import make_recordable


@pytest.fixture
def begin(recipe_file, corpus_folder, tmp_path):
    def begin(out="run", precision="fp16", scale=None, **overrides):
        recipe = load_recipe(str(recipe_file), {"precision": precision, "log_every": 1, "save_every": 4, **overrides})
        pretraining = Pretraining(recipe, Corpus.open(corpus_folder), tmp_path / out)
        if scale is not None:
            pretraining.loss_scale.factor.fill_(scale)
        return pretraining

    return begin


def test_losses_are_those_of_fp32_and_only_fp16_is_scaled(begin):
    half, full = begin("half"), begin("full", precision="fp32")
    expected = [report.loss for report in full.reports()]
    assert [report.loss for report in half.reports()] == pytest.approx(expected, abs=2e-2)
    assert full.loss_scale is None


def test_steps_that_overflow_are_skipped_until_the_scale_fits_and_the_record_counts_them(begin):
    pretraining = begin(scale=2.0**26)
    reports = list(run(pretraining, asked={}))
    last = reports[-1]
    assert 0 < last.skipped < 24
    assert last.loss_scale == 2.0 ** (26 - last.skipped)
    assert reports[0].step == reports[0].skipped + 1  # nothing to report before
    results = completed_record(pretraining).results
    assert (results.skipped, results.loss_scale) == (last.skipped, last.loss_scale)


def test_a_run_that_is_broken_off_goes_on_with_its_scale(begin):
    whole = begin("whole", scale=2.0**24)
    expected = list(run(whole, asked={}))
    broken = begin("broken", scale=2.0**24)
    reports = run(broken, asked={})
    while next(reports).step < 20:
        pass
    reports.close()
    found = list(run(begin("broken"), asked={}))
    assert [(r.step, r.loss, r.loss_scale) for r in found][-4:] == [
        (r.step, r.loss, r.loss_scale) for r in expected[-4:]
    ]


def test_a_model_that_is_never_finite_ends_the_run_though_its_scale_still_falls(begin):
    pretraining = begin(steps=60)
    with torch.no_grad():
        next(pretraining.model.parameters()).fill_(float("nan"))
    with pytest.raises(ClueBenchError, match="17 updates in a row"):
        list(pretraining.reports())


def test_a_scaled_step_asks_the_device_for_nothing(begin, kernels):
    pretraining = begin()
    make_recordable(pretraining.optimizer, pretraining.device)

    def of(step):
        inputs = pretraining.feeds.inputs(step, slice(0, 8))
        return kernels(lambda: pretraining._train_step(inputs))

    of(0)
    assert of(1) == of(2)
