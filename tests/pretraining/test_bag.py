"""Bags of words: which tokens [CLS] predicts, its loss and gradient against torch's, and what it leaves alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clue_bench.doors.shards import Corpus
from clue_bench.models.encoder import MaskedLanguageModel
from clue_bench.pretraining.feed import StageFeeds
from clue_bench.pretraining.objectives import BAG_TOKENS, FREQUENT, IGNORED, RowDraws, bag_chances, draw_bag
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.step import train_step
from clue_bench.pretraining.train import Pretraining
from clue_bench.training.optim import adamw

CPU = torch.device("cpu")
WEIGHT = 0.5


def draws(rows, epoch=0):
    return RowDraws(torch.full((rows,), epoch), torch.arange(rows), 1)


def test_a_frequent_token_is_drawn_by_the_root_of_its_share():
    # Of 100 positions 90 hold token 1; its chance is a tenth of that of a token with 1 % of its share.
    shares = np.array([0, 100, 1, 1]) * FREQUENT
    chances = bag_chances((shares * 1e9).astype(np.int64), np.array([False, True, True, True]))
    assert chances / chances[2] == pytest.approx([0.0, 0.1, 1.0, 1.0])
    # One token of a row is drawn first: with nine rows of ten frequent ones, in 0.9 of 0.9 + 1 cases it is frequent.
    ids = torch.tensor([[1] * 9 + [2]]).repeat(20_000, 1)
    first = draw_bag(ids, draws(20_000), torch.from_numpy(chances))[:, 0]
    assert (first == 1).double().mean().item() == pytest.approx(0.9 / 1.9, abs=0.015)


def test_a_bag_holds_different_positions_of_its_row_and_is_drawn_anew_in_every_epoch():
    ids = torch.arange(1, 11).repeat(200, 1)
    chances = torch.tensor([0.0, 0.0, *[1.0] * 9], dtype=torch.float64)
    bag = draw_bag(ids, draws(200), chances)
    assert bag.shape == (200, BAG_TOKENS)
    assert all(len(set(row)) == BAG_TOKENS and min(row) >= 2 for row in bag.tolist())
    assert not torch.equal(bag, draw_bag(ids, draws(200, epoch=1), chances))


def test_a_row_with_too_few_tokens_has_a_smaller_bag():
    ids = torch.tensor([[0, 2, 0, 0, 3, 0]])
    bag = draw_bag(ids, draws(1), torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    assert sorted(bag[0].tolist()) == [IGNORED, IGNORED, 2, 3]


@pytest.fixture
def prepared(recipe_file, corpus_folder):
    """Model, recipe and a batch with bags, as a run has them at its first step."""
    corpus = Corpus.open(corpus_folder)
    recipe = load_recipe(str(recipe_file), {"bag_weight": WEIGHT, "dropout": 0.0})
    vocabulary = corpus.vocabulary
    feeds = StageFeeds.for_stage(recipe, 1, corpus, vocabulary, mask_rate=0.15, pairs=None, device=CPU)
    batch, _ = feeds.assemble(feeds.inputs(0, slice(0, recipe.stage1.global_batch)))
    torch.manual_seed(1)
    return MaskedLanguageModel(recipe.model_config_for(len(vocabulary))), recipe, batch


def test_the_loss_and_its_gradient_are_those_of_plain_cross_entropy(prepared):
    model, _, batch = prepared
    found = {}
    hooks = [
        parameter.register_post_accumulate_grad_hook(lambda of, name=name: found.update({name: of.grad.clone()}))
        for name, parameter in model.named_parameters()
    ]
    optimizer = adamw(model, learning_rate=0.0, weight_decay=0.0, betas=(0.9, 0.98), epsilon=1e-6)
    sums = train_step(
        model, optimizer, batch, drops=lambda rows: None, micro_batch=3, clip_norm=0.0, autocast=None, bag_weight=WEIGHT
    ).sums.means()
    for hook in hooks:
        hook.remove()
    outputs = model(batch.ids_BS)
    masked_BKV = outputs.logits.gather(1, batch.at_BK[:, :-1, None].expand(-1, -1, outputs.logits.shape[-1]))
    lm = F.cross_entropy(masked_BKV.flatten(0, 1), batch.targets_BK.flatten())
    first_BJV = outputs.logits[:, :1].expand(-1, BAG_TOKENS, -1)
    bag = F.cross_entropy(first_BJV.flatten(0, 1), batch.bag_BJ.flatten())
    assert (sums.lm.loss, sums.bag.loss) == pytest.approx((lm.item(), bag.item()), rel=1e-5)
    (lm + WEIGHT * bag).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.allclose(found[name], parameter.grad, atol=1e-6), name


def test_a_run_reports_the_bags_loss_and_its_held_out_loss_is_of_masked_tokens_alone(
    recipe_file, corpus_folder, tmp_path
):
    reports = {}
    for weight in (0.0, WEIGHT):
        overrides = {"bag_weight": weight, "held_out_share": 0.2, "learning_rate": 1e-9}
        recipe = load_recipe(str(recipe_file), overrides)
        reports[weight] = list(run(Pretraining(recipe, Corpus.open(corpus_folder), tmp_path / str(weight)), asked={}))
    plain, bags = reports[0.0][-1], reports[WEIGHT][-1]
    assert plain.bag_loss is None
    assert plain.loss == plain.lm_loss
    assert bags.loss == pytest.approx(bags.lm_loss + WEIGHT * bags.bag_loss)
    # Nothing is learnt at such a rate, so that both runs evaluate the same weights.
    assert bags.held_out_loss == pytest.approx(plain.held_out_loss, abs=1e-5)


def test_the_loss_between_two_reports_weighs_the_bags_as_the_reports_do(recipe_file, corpus_folder, tmp_path):
    recipe = load_recipe(str(recipe_file), {"bag_weight": WEIGHT, "log_every": 2})
    pretraining = Pretraining(recipe, Corpus.open(corpus_folder), tmp_path)
    assert next(pretraining.moments()) is None
    means = pretraining.since.sums.means()
    assert pretraining.loss_so_far() == pytest.approx(means.lm.loss + WEIGHT * means.bag.loss)
