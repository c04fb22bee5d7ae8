"""The settings of one fine-tuning run, with defaults that depend on the sizes of the model and the training set.

Input: a task, a model's sizes, the number of training rows, and `--set` overrides. Output: frozen, checked `Settings`;
every default is written to the run's record.
"""

import math
import sys
from typing import Any, NamedTuple

from pydantic import Field

from clue_bench.cards import Card, Key, decode, described_keys
from clue_bench.doors.records import OFF
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Sizes
from clue_bench.numbers import typed
from clue_bench.tasks.task import Task, load_task
from clue_bench.training import hardware

TINY, SMALL, BASE = 5_000_000, 30_000_000, 200_000_000
"""Up to how many parameters that a row passes. Between 6/256 and 12/256; 4/768 and 6/768; 12/768 and 24/1024."""

WHOSE = {"max_length": "the task's", "dropout": "the model's"}
"""Defaults that are not ours."""

FEW_ROWS, FEW_UPDATES, MAX_EPOCHS = 2_000, 1_000, 50

MANY_LABELS = 50
"""Between TNEWS' 15 and IFLYTEK's 119."""


class Settings(Card):
    """Settings of one fine-tuning run.

    The descriptions are shown by `clue-bench finetune --help`. Options that may raise scores are off by default. Their
    cost is counted in passes, each forward and backward: a plain update is one pass, and the costs of options add up.

    - class_balance: each row's loss is weighted by one over its class's training rows, to this power, so that rare
      classes are learnt early: 0.5 on IFLYTEK's 119 classes (LOG.md). Costs nothing.
    - label_smoothing: Szegedy et al. 2016. Costs nothing.
    - layer_decay: Howard and Ruder 2018; ELECTRA uses 0.8. Costs nothing.
    - ema_decay: a moving average of the weights is evaluated and kept (Polyak and Juditsky 1992). One more copy of the
      weights, and a walk over both per update.
    - fgm_epsilon: the gradient at word embeddings moved by epsilon · g / ‖g‖ is added, g being their own gradient over
      the batch (FGM, Miyato et al. 2017). One more pass, and a copy of the word embeddings.
    - r_drop_alpha: two passes with different dropout; their mean loss, plus alpha times the mean divergence between
      their predictions (R-Drop, Liang et al. 2021). One more pass; needs dropout.
    """

    learning_rate: float = Field(gt=0.0, description="at the peak; linear warm-up, then linear to 0")
    epochs: int = Field(ge=1, description="passes over the training rows")
    steps: int | None = Field(ge=1, description="updates after which the schedule ends, instead of all epochs")
    batch_size: int = Field(ge=1, description="rows per update")
    max_length: int = Field(ge=8, description="tokens of a row; longer rows are cut, and counted")
    warmup_share: float = Field(ge=0.0, le=1.0, description="share of the updates with a rising learning rate")
    weight_decay: float = Field(ge=0.0, description="AdamW's, on matrices")
    clip_norm: float = Field(gt=0.0, description="largest norm of a gradient")
    dropout: float = Field(ge=0.0, lt=1.0, description="share of activations dropped")
    evaluations_per_epoch: int = Field(ge=1, description="scores on dev per epoch; the best weights are kept")
    # Evenly spread over the run: dev may be larger than train.
    max_evaluations: int = Field(ge=1, description="scores on dev in the whole run, at most")
    patience: int = Field(ge=0, description="scores without improvement that stop the run; 0: never stop")
    class_balance: float = Field(
        ge=0.0, le=1.0, description="power of a class's rarity by which its rows weigh, e.g. 0.5; 0: all alike"
    )
    label_smoothing: float = Field(ge=0.0, lt=1.0, description="share of the target that goes to all classes; 0: off")
    layer_decay: float = Field(gt=0.0, le=1.0, description="factor of the learning rate per layer downwards; 1: off")
    # Grows to this from 0.18 on, see `averaging`.
    ema_decay: float = Field(ge=0.0, lt=1.0, description="moving average of the weights, e.g. 0.99; 0: off")
    fgm_epsilon: float = Field(
        ge=0.0, description="adversarial step at the word embeddings, e.g. 0.5; 0: off; 2 × time"
    )
    r_drop_alpha: float = Field(ge=0.0, description="R-Drop's weight, e.g. 1; 0: off; 2 × time")
    precision: hardware.Asked = Field(description=hardware.PRECISIONS)


def default_settings(task: Task, sizes: Sizes, *, train_rows: int, dropout: float | None = None) -> dict[str, Any]:
    """Return the settings for a model of this size, this number of training rows and a run's dropout, else the model's.

    What counts is how many parameters a row passes in the layers, about 12 · layers · width² (ALBERT's shared ones each
    time). Up to 5 million (2/128, 4/256, 4/312, 6/256): 3e-4; a 4/256 of ours has 41.0, 50.2 and 45.7 % of OCNLI's dev
    right after 300 updates at 1e-4, 3e-4 and 1e-3, and a 4/312 51.5 and 55.7 % after 1,000 at the first two; of
    IFLYTEK's it has 45.5 and 51.2 % after 500 at the last two, so that they get 1e-3 for many labels (LOG.md).
    Up to 30 million (12/256, 8/512, 4/768): 1e-4, as CLUE's authors advise for small models, UER-py's grid has it,
    and MiniRBT and ELECTRA-small were fine-tuned, which are deep and narrow. Both for 5 epochs: at 2e-5 such models
    end near the majority class; for 3 without dropout and with few labels, since a 4/312 of ours then learns by
    heart: of five epochs on OCNLI it was best after two (LOG.md). Above: 3e-5 (2e-5 from 200 million on) and 3
    epochs, inside the grid in which the published CLUE scores were found. Small training sets get batches of 16 below
    2,000 rows, and as many epochs as make 1,000 updates, at most 50, which is what CLUEWSC2020's baselines have.
    Dev is evaluated three times per epoch, at most 15 times (8 on small training sets). Nothing stops early: the
    learning rate falls to 0 over the whole run, and the best weights are mostly near its end. Dropout is that of
    config.json, as in transformers: what a model has learnt without dropout is partly lost under it (LOG.md).
    Everything else is BERT's, and the same in CLUE's baselines.
    """
    passed = 12 * sizes.layers * sizes.hidden_size**2
    many_labels = len(task.labels) >= MANY_LABELS
    tiny = 1e-3 if many_labels else 3e-4
    rate = tiny if passed <= TINY else 1e-4 if passed <= SMALL else 3e-5 if passed <= BASE else 2e-5
    batch_size = 16 if train_rows < FEW_ROWS else 32
    if dropout is None:
        dropout = sizes.dropout
    longer = passed <= SMALL and (many_labels or dropout > 0)
    epochs = max(5 if longer else 3, math.ceil(FEW_UPDATES / math.ceil(train_rows / batch_size)))
    return {
        "learning_rate": rate,
        "epochs": min(MAX_EPOCHS, epochs),
        "steps": None,
        "batch_size": batch_size,
        "max_length": min(task.max_length, sizes.max_positions),
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "dropout": dropout,
        "evaluations_per_epoch": 3,
        "max_evaluations": 8 if train_rows < FEW_ROWS else 15,
        **OFF,
        "precision": "auto",
    }


def make_settings(task: Task, sizes: Sizes, overrides: dict[str, Any], *, train_rows: int) -> Settings:
    """Return the default settings, updated by `overrides`. Raises ClueBenchError that names the bad key."""
    defaults = default_settings(task, sizes, train_rows=train_rows)
    settings = decode(Settings, defaults, where="settings", overrides=overrides)
    if settings.dropout != sizes.dropout:
        defaults = default_settings(task, sizes, train_rows=train_rows, dropout=settings.dropout)
        settings = decode(Settings, defaults, where="settings", overrides=overrides)
    for name in ("class_balance", "label_smoothing"):
        if getattr(settings, name) and task.kind != "classification":
            raise ClueBenchError(f"--set {name}: {task.name} has no classes that every row shares", f"leave out {name}")
    if settings.r_drop_alpha and not settings.dropout:
        whose = "as given" if "dropout" in overrides else "this model's default"
        raise ClueBenchError(
            f"--set r_drop_alpha needs dropout above 0, by which its two passes differ; it is 0, {whose}",
            "give --set dropout=0.1",
        )
    if settings.max_length > sizes.max_positions:
        raise ClueBenchError(
            f"--set max_length: {settings.max_length} exceeds the model's {sizes.max_positions} positions",
            f"give --set max_length={sizes.max_positions} or less",
        )
    return settings


def check_settings(task: Task, overrides: dict[str, Any]) -> None:
    """Raise ClueBenchError for settings that are wrong for a model of any size, before one is opened."""
    make_settings(task, _Sizes(12, 768, max_positions=sys.maxsize), overrides, train_rows=FEW_ROWS)


class _Sizes(NamedTuple):
    layers: int
    hidden_size: int
    max_positions: int = 512
    dropout: float = 0.1


def setting_keys() -> list[Key]:
    """Return every setting with its meaning and its default: for one that varies, those of a base model and of others.

    They are computed, for models of four sizes, from very few to many training rows, few and many labels.
    """
    cards = [load_task("tnews"), load_task("iflytek")]
    sizes = [_Sizes(12, 768), _Sizes(4, 312), _Sizes(2, 128), _Sizes(24, 1024)]
    found = [
        default_settings(card, each, train_rows=rows)
        for rows in (50_000, 1_000, 100)
        for card in cards
        for each in sizes
    ]
    keys = []
    for key in described_keys(Settings):
        values = list(dict.fromkeys(defaults[key.name] for defaults in found))
        if key.name in WHOSE:
            default = WHOSE[key.name]
        elif len(values) > 1:
            ends = sorted(values)
            default = f"{typed(values[0])} for a base model, {typed(ends[0])} to {typed(ends[-1])} by model and data"
        else:
            default = typed(values[0]) or "none"
        keys.append(key._replace(default=default))
    return keys
