"""The held-out part: never trained on, the same rows and masks at every look, and looks that change nothing."""

import numpy as np
import pytest
import torch

from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining

KINDS = {
    "mlm": {},
    "clm": {"family": "gpt2", "objective": "clm", "mask_rate": 0.0},
    "texts": {"sentence_order": "texts"},
}


@pytest.fixture
def begin(recipe_file, corpus_folder, tmp_path):
    def begin(name, corpus=None, **overrides):
        recipe = load_recipe(str(recipe_file), {"held_out_share": 0.1, **overrides})
        return Pretraining(recipe, corpus or Corpus.open(corpus_folder), tmp_path / name)

    return begin


def tokens_of(rows):
    """Where in the corpus the tokens of some rows' documents lie."""
    parts = rows.documents if hasattr(rows, "documents") else [index.sentences for index in rows.indices]
    return [set(range(part[0], part[-1])) for part in parts]


def held_out_losses(pretraining):
    return {r.step: r.held_out_loss for r in run(pretraining, asked={}) if r.held_out_loss is not None}


@pytest.mark.parametrize("overrides", KINDS.values(), ids=KINDS)
def test_nothing_held_out_is_trained_on_and_everything_is_one_or_the_other(begin, overrides):
    pretraining = begin("run", **overrides)
    feeds = pretraining.feeds
    for shard, (train, held) in enumerate(
        zip(tokens_of(feeds.train.rows), tokens_of(feeds.held_out.rows), strict=True)
    ):
        assert not train & held
        assert train | held == set(range(len(pretraining.corpus.ids[shard])))
        assert len(held) >= 0.1 * len(train | held)


@pytest.mark.parametrize("overrides", KINDS.values(), ids=KINDS)
def test_every_look_is_at_the_same_rows_with_the_same_masks(begin, overrides):
    other = {"seed": 7, "mask_rate": overrides.get("mask_rate", 0.4)}
    runs = [begin("one", **overrides), begin("two", **overrides | other)]
    looks = []
    for pretraining in runs:
        feeds = pretraining.feeds
        for _ in range(2):
            samples = feeds.held_out_samples()
            assert sorted(samples) == list(range(len(feeds.held_out.rows)))
            looks.append(feeds.held_out.batch(np.zeros_like(samples), samples))
    for other in looks[1:]:
        assert torch.equal(other.ids_BS, looks[0].ids_BS)
        assert torch.equal(other.targets_BK, looks[0].targets_BK)
    assert (looks[0].targets_BK >= 0).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides", [pytest.param(KINDS[kind], id=kind, marks=[pytest.mark.slow] * (kind != "texts")) for kind in KINDS]
)
def test_looks_do_not_change_the_run(begin, overrides):
    runs = {name: begin(name, **overrides, save_every=every) for name, every in (("often", 2), ("seldom", 24))}
    found = {name: held_out_losses(pretraining) for name, pretraining in runs.items()}
    assert list(found["often"]) == list(range(2, 25, 2))
    assert list(found["seldom"]) == [24]
    assert found["often"][24] == found["seldom"][24]
    one, other = (pretraining.model.state_dict() for pretraining in runs.values())
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_without_training_has_the_loss_of_guessing(begin):
    losses = held_out_losses(begin("run", learning_rate=1e-12, save_every=2, dropout=0.0))
    assert len(set(losses.values())) == 1
    # 74 ordinary tokens and six others: the logarithm of 80 is 4.38.
    assert losses[2] == pytest.approx(4.38, abs=0.15)


def test_where_too_little_is_held_out_nothing_is_looked_at(begin, make_corpus):
    corpus = make_corpus([[[40, 40, 40]], [[200]]])
    pretraining = begin("run", corpus=corpus)
    assert pretraining.feeds.held_out is None
    assert held_out_losses(pretraining) == {}
    assert held_out_losses(begin("none", held_out_share=0.0)) == {}
