"""Training speed is that of the training loop, for every kind of recipe, with or without a corpus."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import count_parameters, flops_per_token
from clue_bench.pretraining.recipe import Recipe, load_recipe
from clue_bench.speed_measurement.models import (
    made_up_vocabulary,
    with_overrides,
    write_synthetic_corpus,
    write_untrained,
)
from clue_bench.speed_measurement.training import TrainingClock


def test_a_made_up_vocabulary_has_its_size_and_no_token_twice() -> None:
    vocabulary = made_up_vocabulary(100_000)
    assert len(set(vocabulary.tokens)) == len(vocabulary) == 100_000
    assert vocabulary.is_ordinary.sum() == 100_000 - 5
    ids = vocabulary.encoder(special_tokens=True).ids(["一丁七", "wifi 龘"])
    assert list(map(len, ids)) == [3, 2]


def test_a_vocabulary_that_cannot_be_made_up_is_an_error() -> None:
    with pytest.raises(ClueBenchError, match="500,000"):
        made_up_vocabulary(500_000)


@pytest.mark.parametrize("with_words", [True, False])
def test_a_synthetic_corpus_is_a_whole_corpus_of_ordinary_ids(tmp_path: Path, with_words: bool) -> None:
    vocabulary = made_up_vocabulary(1_000)
    corpus = write_synthetic_corpus(tmp_path / "corpus", vocabulary, with_words=with_words)
    assert corpus.damaged_files() == []
    (ids,) = corpus.ids
    assert len(ids) == corpus.manifest.counts.tokens > 400_000
    assert vocabulary.is_ordinary[ids].all()
    assert len(np.unique(ids)) == 995
    share = corpus.starts_word(0).mean()
    assert share == pytest.approx(2 / 3, abs=0.01) if with_words else share == 1.0


def clock_of(recipe: Recipe, folder: Path, *, seconds: float = 0.02) -> TrainingClock:
    corpus = write_synthetic_corpus(folder / "corpus", made_up_vocabulary(300), with_words=recipe.objective == "wwm")
    return TrainingClock(recipe, corpus, seconds=seconds, folder=folder)


@pytest.mark.parametrize(
    "name", ["roberta-tiny-clue", "albert-base", "gpt2-base", "roformer-base-wwm", "roberta-tiny-pair"]
)
def test_every_kind_of_recipe_is_timed(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(name, {"vocab_size": "corpus", "precision": "fp32"}, debug_size=True)
    clock = clock_of(recipe, tmp_path)
    before = [weight.detach().clone() for weight in clock.pretraining.model.parameters()]
    trial = clock.repetition()
    stage = recipe.stage1
    assert not all(map(torch.equal, before, clock.pretraining.model.parameters())), "nothing was trained"
    tokens = stage.global_batch * stage.max_length
    useful = trial.useful_tokens_per_second * trial.seconds_per_step / tokens
    assert useful == pytest.approx(1.0) if recipe.sentence_order == "none" else 0.3 < useful < 1
    flops = flops_per_token(
        clock.pretraining.config, length=stage.max_length, predictions=clock.pretraining.feeds.train.predictions
    )
    assert trial.model_flops_per_second * trial.seconds_per_step == pytest.approx(flops * tokens)
    assert clock.facts["measured_rows"] == clock.facts["global_batch"] == stage.global_batch


def test_a_step_that_is_too_long_is_taken_from_smaller_ones(recipe_file: Path, tmp_path: Path) -> None:
    large = {"global_batch": 4096, "micro_batch": 4}
    clock = clock_of(load_recipe(str(recipe_file), large), tmp_path, seconds=0.005)
    facts = clock.facts
    assert 8 <= facts["measured_rows"] < facts["global_batch"] == 4096
    assert facts["measured_rows"] % 4 == 0
    trial = clock.repetition()
    # As long as a thousand micro-batches: an estimate from one of them, timed here, cannot be far away.
    one, _ = clock._timed(4, 1)
    assert 0.1 < trial.seconds_per_step / (one * 1024) < 10
    assert trial.useful_tokens_per_second * trial.seconds_per_step == pytest.approx(4096 * 32)


def test_a_repetition_lasts_as_long_as_asked(recipe_file: Path, tmp_path: Path) -> None:
    clock = clock_of(load_recipe(str(recipe_file), {}), tmp_path, seconds=0.2)
    assert clock.facts["steps_per_repetition"] > 1
    before = clock.pretraining.step
    trial = clock.repetition()
    assert clock.pretraining.step - before == clock.steps
    assert trial.seconds_per_step * clock.steps > 0.05


def test_nothing_is_written(recipe_file: Path, corpus_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    TrainingClock(load_recipe(str(recipe_file), {}), Corpus.open(corpus_folder), seconds=0.01, folder=out).repetition()
    assert list(out.iterdir()) == []


def test_settings_are_laid_over_a_recipe_that_has_no_file(recipe_file: Path) -> None:
    recipe = load_recipe(str(recipe_file), {})
    changed = with_overrides(recipe, {"global_batch": 4, "stage1.max_length": 16, "dropout": 0.0})
    assert (changed.stage1.global_batch, changed.stage1.max_length, changed.dropout) == (4, 16, 0.0)
    assert changed.stage1.micro_batch == recipe.stage1.micro_batch
    for key in ("globalbatch", "stage1.globalbatch", "stage3.steps"):
        with pytest.raises(ClueBenchError, match=key.rpartition(".")[0] or key):
            with_overrides(recipe, {key: 4})


def test_untrained_weights_are_a_checkpoint_that_transformers_loads(recipe_file: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    recipe = load_recipe(str(recipe_file), {})
    write_untrained(tmp_path / "checkpoint", recipe, made_up_vocabulary(300))
    model = AutoModel.from_pretrained(tmp_path / "checkpoint")
    assert sum(weight.numel() for weight in model.parameters()) == count_parameters(recipe.model_config_for(300))
    provenance = json.loads((tmp_path / "checkpoint" / "provenance.json").read_text())
    assert provenance["recipe"]["name"] == recipe.name
    assert provenance["tokens_seen"] == 0
