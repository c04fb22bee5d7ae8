"""Parameter counts: those of the model cards' architectures, and those that transformers counts."""

import pytest
import torch

from clue_bench.cards import card_paths
from clue_bench.models.config import ModelConfig, count_parameters
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.weights.hf_config import hugging_face_config

# Layers, hidden size, heads, feed-forward size, vocabulary; millions of parameters with pooler, from the model cards'
# formula (BERT, 512 positions, 2 segments).
PUBLISHED = [
    (12, 768, 12, 3072, 21128, 102.27),
    (12, 768, 12, 3072, 8021, 92.20),
    (4, 312, 12, 1248, 8021, 7.45),
    (3, 312, 12, 1248, 8021, 6.28),
    (3, 768, 12, 3072, 8021, 28.41),
    (24, 1024, 16, 4096, 8021, 312.10),
    (2, 128, 2, 512, 21128, 3.18),
    (8, 512, 8, 2048, 100000, 76.95),
]


@pytest.mark.parametrize(("layers", "hidden", "heads", "feed_forward", "vocab", "millions"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(layers, hidden, heads, feed_forward, vocab, millions):
    config = ModelConfig(
        vocab_size=vocab, layers=layers, hidden_size=hidden, heads=heads, feed_forward_size=feed_forward
    )
    assert round(count_parameters(config) / 1e6, 2) == millions


# Millions, as computed for the model cards' architectures: albert base and large, roformer, gpt2.
OTHERS = [
    ("albert-base", 10.55),
    ("albert-large", 16.55),
    ("gpt2-base", 102.07),
]


@pytest.mark.parametrize(("recipe", "millions"), OTHERS)
def test_parameter_counts_of_other_families_are_the_published_ones(recipe, millions):
    loaded = load_recipe(recipe)
    assert round(count_parameters(loaded.model_config_for(loaded.vocab_size)) / 1e6, 2) == millions


def test_roformers_parameter_count_is_the_computed_one():
    config = load_recipe("roformer-base-wwm").model_config_for(12_000)
    assert round(count_parameters(config) / 1e6, 1) == 94.9


RECIPES = sorted(card_paths("pretrain"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_counted_parameters_are_those_of_transformers(recipe):
    """To the unit, at the recipe's full size; nothing is allocated on the meta device."""
    import transformers

    loaded = load_recipe(recipe)
    config = loaded.model_config_for(21_128 if loaded.vocab_size == "corpus" else loaded.vocab_size)
    values = hugging_face_config(config, architecture="", pad=0, start=1, end=2)
    with torch.device("meta"):
        theirs = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**values))
    counted = sum(p.numel() for name, p in theirs.named_parameters() if "embed_positions" not in name)
    if config.family == "roformer":  # transformers' RoFormer has no pooler
        counted += config.hidden_size * (config.hidden_size + 1)
    assert count_parameters(config) == counted


def test_the_tiny_clue_recipe_has_the_cards_architecture():
    recipe = load_recipe("roberta-tiny-clue", {})
    sizes = (recipe.layers, recipe.hidden_size, recipe.heads, recipe.feed_forward_size, recipe.vocab_size)
    assert sizes == (4, 312, 12, 1248, 8021)
