"""Two-stage recipes and their overrides; every card at debug size, which must keep what the card is about."""

import math
from pathlib import Path

import pytest

from clue_bench.cards import builtin_folder
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining

CARDS = sorted(path.stem for path in builtin_folder("pretrain").glob("*.toml"))
# Cards that are the same run at debug size as another one but for rates: the others are slow tests.
ALIKE = {
    *("albert-large", "roberta-large-clue", "roberta-large-pair", "roberta-tiny3l312-clue", "roberta-tiny3l768-clue"),
    *("roberta-word-base", "roberta-word-medium", "roberta-word-mini", "roberta-word-small", "roberta-word-tiny"),
    *("roberta-tiny-clue", "clue-bench-tiny"),
}
KEPT = (
    "family",
    "vocab_size",
    "activation",
    "layer_norm_eps",
    "tied_head",
    "dropout",
    "objective",
    "mask_rate",
    "final_mask_rate",
    "sentence_order",
    "starts_from",
    "labelled_share",
    "bias_correction",
    "weight_decay",
    "clip_norm",
)


def steps_of(recipe):
    return [stage.steps for stage in recipe.stages]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, corpus_folder, words_folder):
    """What runs a card at debug size once, and those that it starts from before it: name → reports and folder."""
    done = {}

    def pretrain(name: str) -> tuple[list, Path]:
        if name not in done:
            recipe = load_recipe(name, {"vocab_size": "corpus", "log_every": 2, "save_every": 10}, debug_size=True)
            start = read_checkpoint(pretrain(recipe.starts_from)[1]) if recipe.starts_from else None
            corpus = Corpus.open(words_folder if recipe.objective == "wwm" else corpus_folder)
            out = tmp_path_factory.mktemp("cards") / name
            done[name] = list(run(Pretraining(recipe, corpus, out, start=start), asked={})), out
        return done[name]

    return pretrain


@pytest.mark.parametrize("name", CARDS)
def test_debug_size_keeps_what_a_card_is_about(name):
    card, debug = load_recipe(name), load_recipe(name, debug_size=True)
    assert {key: getattr(debug, key) for key in KEPT} == {key: getattr(card, key) for key in KEPT}
    assert len(debug.stages) == len(card.stages)
    assert (debug.embedding_size == "hidden") == (card.embedding_size == "hidden")
    assert (debug.layers > 1) == (card.layers > 1)
    assert debug.total_steps == 50
    lengths = [stage.max_length for stage in debug.stages]
    assert lengths == sorted(set(lengths))
    assert max(lengths) <= 64


@pytest.mark.parametrize("name", [pytest.param(c, marks=[pytest.mark.slow] * (c in ALIKE)) for c in CARDS])
def test_a_card_runs_at_debug_size_and_learns(name, pretrained):
    reports, out = pretrained(name)
    assert reports[-1].step == 50
    assert all(math.isfinite(report.loss) for report in reports)
    first, later = ([r.lm_loss for r in reports if start < r.step <= start + 6] for start in (0, 34))
    assert sum(later) < sum(first)
    card = load_recipe(name)
    assert {report.stage for report in reports} == set(range(1, len(card.stages) + 1))
    assert all((report.sop_loss is not None) == (card.sentence_order != "none") for report in reports)
    checkpoint = read_checkpoint(out)
    assert checkpoint.config.family == card.family
    assert checkpoint.config.tied_head == card.tied_head


@pytest.mark.parametrize("name", CARDS)
def test_a_card_runs_for_as_many_steps_as_are_asked_for(name):
    for steps in (2, 7, 1000):
        recipe = load_recipe(name, steps=steps)
        assert recipe.total_steps == steps
        assert recipe.save_every % recipe.log_every == 0
        assert load_recipe(name, steps=steps, debug_size=True).total_steps == steps


def test_four_steps_of_a_debug_run_are_made_in_both_stages(corpus_folder, tmp_path):
    recipe = load_recipe("roberta-word-tiny", {"vocab_size": "corpus"}, steps=4, debug_size=True)
    reports = list(run(Pretraining(recipe, Corpus.open(corpus_folder), tmp_path), asked={}))
    assert [(report.step, report.stage) for report in reports] == [(3, 1), (4, 2)]


def test_steps_are_divided_in_the_card_s_proportions(two_stage_file):
    assert steps_of(load_recipe("gpt2-base", steps=1000)) == [800, 200]
    assert steps_of(load_recipe("gpt2-base", steps=2)) == [1, 1]
    assert steps_of(load_recipe(str(two_stage_file), {"stage2.max_length": 64}, steps=10)) == [5, 5]


def test_keys_of_a_stage_are_set_for_one_stage_or_for_all(two_stage_file):
    def lengths(**overrides):
        return [stage.max_length for stage in load_recipe(str(two_stage_file), overrides).stages]

    assert lengths() == [32, 48]
    assert lengths(max_length=40) == [40, 40]
    assert lengths(**{"stage2.max_length": 60}) == [32, 60]
    assert lengths(**{"max_length": 40, "stage2.max_length": 60}) == [40, 60]
    assert lengths(**{"stage2.max_length": 60, "max_length": 40}) == [40, 60]
    asked = load_recipe("gpt2-base", {"max_length": 16, "stage1.steps": 3}, debug_size=True)
    assert [(stage.max_length, stage.steps) for stage in asked.stages] == [(16, 3), (16, 10)]


@pytest.mark.parametrize(
    ("overrides", "steps", "message"),
    [
        ({"stage2.max_lenght": 60}, None, "did you mean 'max_length'"),
        ({"stage3.max_length": 60}, None, "stage3"),
        ({"stage2.max_length": 65}, None, r"stage2\.max_length = 65 exceeds max_positions = 64"),
        ({"stage2.steps": 4}, 10, r"--set stage2\.steps and --steps are both given"),
        ({"objective": "clm"}, None, 'objective = "clm" does not go with family = "bert"'),
        ({"family": "gpt2", "objective": "clm"}, None, "mask_rate = 0.15 does not go with"),
        ({"mask_rate": 0.0}, None, "mask_rate = 0 does not go with"),
        ({"final_mask_rate": 0.0}, None, "final_mask_rate"),
        ({"labelled_share": 0.5}, None, "labelled_share"),
        ({"embedding_size": 16}, None, "only ALBERT"),
        ({"initial_attention": "local", "hidden_size": 32, "heads": 16}, None, "needs hidden_size / heads of 4, not 2"),
    ],
)
def test_mistakes_in_two_stage_recipes_are_named(two_stage_file, overrides, steps, message):
    with pytest.raises(ClueBenchError, match=message):
        load_recipe(str(two_stage_file), overrides, steps=steps)


def test_masks_become_fewer_in_four_even_steps_over_both_stages(two_stage_file):
    recipe = load_recipe(str(two_stage_file), {"mask_rate": 0.3, "final_mask_rate": 0.15})
    rates = [recipe.mask_rate_at(step) for step in range(recipe.total_steps)]
    assert rates == pytest.approx([rate for rate in (0.3, 0.25, 0.2, 0.15) for _ in range(recipe.total_steps // 4)])
    assert recipe.mask_rate_at(recipe.total_steps) == rates[-1]  # a run that is resumed at its end
    assert load_recipe(str(two_stage_file), {"mask_rate": 0.3}).mask_rate_at(recipe.total_steps - 1) == 0.3


def test_a_stage_2_of_a_card_with_one_is_refused(recipe_file):
    with pytest.raises(ClueBenchError, match="stage2"):
        load_recipe(str(recipe_file), {"stage2.max_length": 60})


def test_a_card_that_starts_from_another_needs_its_checkpoint(corpus_folder, tmp_path):
    recipe = load_recipe("roberta-tiny-pair", {"vocab_size": "corpus"}, debug_size=True)
    with pytest.raises(ClueBenchError, match="checkpoint of roberta-tiny-clue"):
        Pretraining(recipe, Corpus.open(corpus_folder), tmp_path)


def test_whole_words_need_a_corpus_with_words(corpus_folder, tmp_path):
    recipe = load_recipe("roformer-base-wwm", debug_size=True)
    with pytest.raises(ClueBenchError, match="word segmentation"):
        Pretraining(recipe, Corpus.open(corpus_folder), tmp_path)


def test_a_model_of_other_sizes_does_not_bear_the_cards_name():
    assert load_recipe("gpt2-base", steps=1000).name == "gpt2-base"
    assert load_recipe("gpt2-base", debug_size=True).name == "gpt2-base-3l64"
    assert load_recipe("roberta-tiny-clue", {"hidden_size": 128, "heads": 2}).name == "roberta-tiny-clue-4l128"


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"lr": 1}, "--set learning_rate=1"),
        ({"batch_size": 64}, "--set global_batch=64"),
        ({"stage1.lr": 1e-4}, "--set stage1.learning_rate=1e-4"),
        ({"num_hidden_layers": 4}, "--set layers=4"),
        ({"epochs": 3}, "--set steps=…"),
    ],
)
def test_names_of_other_toolkits_lead_to_the_recipes_keys(given, typed):
    with pytest.raises(ClueBenchError) as caught:
        load_recipe("debug", given)
    assert caught.value.hint.startswith(f"give {typed}")
