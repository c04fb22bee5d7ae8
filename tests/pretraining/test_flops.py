"""The FLOPs behind MFU and HFU are those that torch counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from clue_bench.models.config import ModelConfig, flops_per_token, hardware_flops_per_token
from clue_bench.models.encoder import MaskedLanguageModel
from clue_bench.models.gpt2 import CausalLanguageModel
from clue_bench.pretraining.recipe import Recipe, load_recipe
from clue_bench.pretraining.train import Pretraining
from clue_bench.pretraining.vocabulary_loss import vocabulary_loss
from clue_bench.speed_measurement.models import made_up_vocabulary, write_synthetic_corpus

ROWS, LENGTH, VOCABULARY = 4, 128, 2_000
TINY: dict[str, Any] = {"vocab_size": VOCABULARY, "layers": 2, "hidden_size": 128, "heads": 2, "feed_forward_size": 512}
SHORT = {"max_length": LENGTH, "steps": 2, "global_batch": ROWS, "micro_batch": ROWS, "precision": "fp32"}


def counted(model: torch.nn.Module, **inputs: torch.Tensor) -> float:
    """Return the FLOPs per position of a forward and a backward pass at random ids, as torch counts them."""
    ids = torch.randint(5, VOCABULARY, (ROWS, LENGTH))
    counter = FlopCounterMode(display=False)
    with counter:
        outputs = model(ids, **inputs)
        targets = torch.randint(5, VOCABULARY, outputs.hidden.shape[:-1])
        vocabulary_loss(outputs.hidden, outputs.matrix_VE, outputs.bias_V, targets=targets).loss.backward()
    return counter.get_total_flops() / ids.numel()


def test_without_pruning_the_nominal_flops_are_what_is_computed() -> None:
    config = ModelConfig(**TINY)
    nominal = flops_per_token(config, length=LENGTH, predictions=LENGTH)
    assert counted(MaskedLanguageModel(config)) == pytest.approx(nominal, rel=0.01)
    assert hardware_flops_per_token(config, length=LENGTH, predictions=LENGTH) == pytest.approx(nominal)


@pytest.mark.parametrize("predictions", [1, 20, 100])
def test_a_pruned_last_layer_is_what_hfu_counts_and_mfu_does_not(predictions: int) -> None:
    config = ModelConfig(**TINY)
    at = torch.rand(ROWS, LENGTH).argsort(1)[:, :predictions]
    found = counted(MaskedLanguageModel(config), at_BK=at)
    assert found == pytest.approx(hardware_flops_per_token(config, length=LENGTH, predictions=predictions), rel=0.01)
    d, f, left_out = 128, 512, 1 - predictions / LENGTH
    saved = left_out * (6 * (2 * d * d + 2 * d * f) + 12 * LENGTH * d)
    assert found == pytest.approx(flops_per_token(config, length=LENGTH, predictions=predictions) - saved, rel=0.01)


def test_gpt2_computes_the_half_of_the_scores_that_its_mask_hides_where_no_kernel_skips_it() -> None:
    config = ModelConfig(**TINY, family="gpt2", segment_types=0)
    nominal = flops_per_token(config, length=LENGTH, predictions=LENGTH)
    hidden = 6 * 2 * LENGTH * 128
    assert counted(CausalLanguageModel(config)) == pytest.approx(nominal + hidden, rel=0.01)
    assert hardware_flops_per_token(config, length=LENGTH, predictions=LENGTH) == pytest.approx(nominal + hidden)
    skipped = hardware_flops_per_token(config, length=LENGTH, predictions=LENGTH, skips_ahead=True)
    assert skipped == pytest.approx(nominal)


def pretraining(recipe: Recipe, folder: Path, *, frozen_layers: int | None = None) -> Pretraining:
    words = recipe.objective == "wwm"
    corpus = write_synthetic_corpus(folder / "corpus", made_up_vocabulary(VOCABULARY), with_words=words)
    return Pretraining(recipe, corpus, folder / "out", frozen_layers=frozen_layers)


@pytest.mark.parametrize(
    ("name", "frozen_layers"),
    [
        ("debug", None),
        ("debug", 0),
        ("debug", 1),
        ("gpt2-base", None),
        ("gpt2-base", 1),
        ("albert-base", None),
        ("albert-base", 0),
        ("roformer-base-wwm", None),
    ],
)
def test_a_step_of_any_recipe_computes_what_its_report_says(
    tmp_path: Path, name: str, frozen_layers: int | None
) -> None:
    check_report(tmp_path, name, frozen_layers=frozen_layers)


def test_tokens_that_cls_predicts_are_computed_too(tmp_path: Path) -> None:
    check_report(tmp_path, "debug", bag_weight=0.5)


def check_report(folder: Path, name: str, *, frozen_layers: int | None = None, **settings: float) -> None:
    sizes = {key: TINY[key] for key in ("layers", "hidden_size", "heads", "feed_forward_size")}
    overrides = {**sizes, **SHORT, "vocab_size": "corpus", "held_out_share": 0.0, "log_every": 1, "save_every": 1}
    run = pretraining(load_recipe(name, overrides | settings), folder, frozen_layers=frozen_layers)
    counter = FlopCounterMode(display=False)
    run.model.train()
    with counter:
        run._advance()
    report = next(run.reports())
    computed, nominal = report.hardware_flops_per_second, report.model_flops_per_second
    assert computed is not None
    assert computed / report.tokens_per_second == pytest.approx(counter.get_total_flops() / ROWS / LENGTH, rel=0.01)
    assert report.hfu == pytest.approx(report.mfu * computed / nominal)
