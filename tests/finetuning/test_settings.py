"""Settings: defaults that follow the model and the data, and errors that name the key."""

import math

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.settings import Settings, default_settings, make_settings
from clue_bench.models.config import ModelConfig
from clue_bench.tasks.task import load_task

OFF = {
    "patience": 0,
    "class_balance": 0.0,
    "label_smoothing": 0.0,
    "layer_decay": 1.0,
    "ema_decay": 0.0,
    "fgm_epsilon": 0.0,
    "r_drop_alpha": 0.0,
}


def model(layers=12, hidden=768, **changes):
    return ModelConfig(vocab_size=10, layers=layers, hidden_size=hidden, heads=2, feed_forward_size=8, **changes)


def defaults(train_rows=53_360, *, task="tnews", sizes=None):
    return default_settings(load_task(task), sizes or model(), train_rows=train_rows)


@pytest.mark.parametrize(
    ("layers", "hidden", "rate", "epochs"),
    [
        *[(2, 128, 3e-4, 5), (4, 256, 3e-4, 5), (3, 312, 3e-4, 5), (4, 312, 3e-4, 5), (6, 256, 3e-4, 5)],
        *[(12, 256, 1e-4, 5), (8, 512, 1e-4, 5), (4, 768, 1e-4, 5), (6, 768, 3e-5, 3), (12, 768, 3e-5, 3)],
        (24, 1024, 2e-5, 3),
    ],
)
def test_smaller_models_learn_faster_and_longer_however_deep(layers, hidden, rate, epochs):
    found = defaults(sizes=model(layers, hidden))
    assert found["learning_rate"] == rate
    assert found["epochs"] == epochs


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_dropout_is_the_models_own(share):
    assert defaults(sizes=model(dropout=share))["dropout"] == share


@pytest.mark.parametrize(("task", "epochs"), [("tnews", 3), ("ocnli", 3), ("iflytek", 5)])
def test_a_small_model_without_dropout_has_fewer_epochs_unless_labels_are_many(task, epochs):
    assert defaults(task=task, sizes=model(4, 312, dropout=0.0))["epochs"] == epochs
    assert defaults(task=task, sizes=model(4, 312, dropout=0.1))["epochs"] == 5


@pytest.mark.parametrize(("own", "given", "epochs"), [(0.0, 0.1, 5), (0.1, 0.0, 3)])
def test_epochs_go_by_the_dropout_of_the_run(own, given, epochs):
    sizes = model(4, 312, dropout=own)
    assert make_settings(load_task("ocnli"), sizes, {"dropout": given}, train_rows=21_572).epochs == epochs
    both = {"dropout": given, "epochs": 7}
    assert make_settings(load_task("ocnli"), sizes, both, train_rows=21_572).epochs == 7


@pytest.mark.parametrize(("sizes", "rate"), [(model(2, 128), 1e-3), (model(4, 312), 1e-3), (model(12, 256), 1e-4)])
def test_many_labels_need_a_higher_rate_where_the_model_is_tiny(sizes, rate):
    assert defaults(task="iflytek", sizes=sizes)["learning_rate"] == rate


@pytest.mark.parametrize("sizes", [model(2, 128), model(12, 768)], ids=["tiny", "base"])
@pytest.mark.parametrize("train_rows", [1, 20, 160, 1_244, 1_999, 2_000, 7_503, 21_572, 391_782])
def test_small_training_sets_get_a_thousand_updates_or_fifty_epochs(train_rows, sizes):
    found = defaults(train_rows, sizes=sizes)
    assert found["batch_size"] == (16 if train_rows < 2_000 else 32)
    updates = math.ceil(train_rows / found["batch_size"])
    assert 3 <= found["epochs"] <= 50
    assert found["epochs"] == 50 or found["epochs"] * updates >= 1_000
    fewest = 5 if sizes.layers <= 4 else 3
    assert found["epochs"] == fewest or (found["epochs"] - 1) * updates < 1_000  # no epoch more than needed


def test_looking_at_dev_never_takes_most_of_a_small_tasks_time():
    """CSL here: 160 training rows, 3,000 of dev. A forward pass is a third of an update's work per row."""
    found = defaults(160, task="csl")
    training = 3 * found["epochs"] * 160
    looks = min(found["max_evaluations"], found["epochs"] * found["evaluations_per_epoch"])
    assert looks * 3_000 <= training
    assert looks >= 4


def test_nothing_that_raises_scores_is_on_by_default():
    assert {key: defaults()[key] for key in OFF} == OFF


def test_defaults_are_every_setting_there_is():
    assert defaults().keys() == Settings.model_fields.keys()


def test_what_is_asked_for_is_laid_over_the_defaults():
    found = make_settings(load_task("tnews"), model(), {"batch_size": 7, "fgm_epsilon": 0.5}, train_rows=500)
    assert (found.batch_size, found.fgm_epsilon) == (7, 0.5)
    assert found.learning_rate == defaults(500)["learning_rate"]


def test_rows_are_never_longer_than_the_model_or_the_card():
    assert defaults(sizes=model(max_positions=64))["max_length"] == 64
    assert defaults(task="csl")["max_length"] == 256


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learning_rat": 1.0}, "did you mean 'learning_rate'"),
        ({"label_smoothin": 0.1}, "did you mean 'label_smoothing'"),
        ({"epochs": 0}, "--set: epochs"),
        ({"max_length": 4096}, "exceeds the model's 512 positions"),
        ({"batch_size": "big"}, "--set: batch_size"),
        ({"max_evaluations": 0}, "--set: max_evaluations"),
        ({"patience": -1}, "--set: patience"),
        ({"patience": 1.5}, "--set: patience"),
        ({"label_smoothing": 1.0}, "--set: label_smoothing"),
        ({"layer_decay": 0.0}, "--set: layer_decay"),
        ({"layer_decay": 1.1}, "--set: layer_decay"),
        ({"ema_decay": 1.0}, "--set: ema_decay"),
        ({"fgm_epsilon": -0.1}, "--set: fgm_epsilon"),
        ({"fgm_epsilon": float("nan")}, "--set: fgm_epsilon"),
        ({"r_drop_alpha": float("inf")}, "--set: r_drop_alpha"),
        ({"r_drop_alpha": 1.0, "dropout": 0.0}, "r_drop_alpha needs dropout above 0.* it is 0, as given"),
    ],
)
def test_bad_settings_are_named(overrides, message):
    with pytest.raises(ClueBenchError, match=message):
        make_settings(load_task("tnews"), model(), overrides, train_rows=53_360)


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"lr": 1e-4}, "--set learning_rate=1e-4"),
        ({"batch": 8}, "--set batch_size=8"),
        ({"num_train_epochs": 2}, "--set epochs=2"),
        ({"max_seq_length": 64}, "--set max_length=64"),
        ({"learningrate": 1e-4}, "--set learning_rate=1e-4"),
        ({"warmup_steps": 100}, "--set warmup_share=…"),  # a share, not a number of steps: the value is not repeated
    ],
)
def test_names_of_other_toolkits_lead_to_ours(given, typed):
    with pytest.raises(ClueBenchError) as caught:
        make_settings(load_task("afqmc"), model(), given, train_rows=100)
    assert caught.value.hint.startswith(f"give {typed}")
