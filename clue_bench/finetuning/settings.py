"""The settings of one fine-tuning run, with defaults that depend on the sizes of the model and the training set.

Input: a task, a model's sizes, the number of training rows, and `--set` overrides. Output: frozen, checked `Settings`;
every default is written to the run's record.
"""

import math
from typing import Any, Literal, Self

import pydantic

from clue_bench.cards import Card, decode
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Sizes
from clue_bench.tasks.task import Task

SMALL_LAYERS = 4
NARROW_HIDDEN, LARGE_HIDDEN = 128, 1024
FEW_ROWS, FEW_UPDATES, MAX_EPOCHS = 2_000, 1_000, 50


class Settings(Card):
    """Settings of one fine-tuning run.

    Options that may raise scores are off by default. Their cost is counted in passes, each forward and backward: a
    plain update is one pass, and the costs of options add up.

    - label_smoothing: this share of the target goes from the label to all classes (Szegedy et al. 2016). Costs nothing.
    - layer_decay: the learning rate is multiplied by it once per layer below the head (Howard and Ruder 2018; ELECTRA
      uses 0.8). 1 means off. Costs nothing.
    - ema_decay: a moving average of the weights is evaluated and kept (Polyak and Juditsky 1992). One more copy of the
      weights, and a walk over both per update.
    - fgm_epsilon: the gradient at word embeddings moved by epsilon · g / ‖g‖ is added, g being their own gradient over
      the batch (FGM, Miyato et al. 2017). One more pass, and a copy of the word embeddings.
    - r_drop_alpha: two passes with different dropout; their mean loss, plus alpha times the mean divergence between
      their predictions (R-Drop, Liang et al. 2021). One more pass; needs dropout.
    """

    learning_rate: float = pydantic.Field(gt=0.0)  # at the peak; linear warm-up, then linear to 0
    epochs: int = pydantic.Field(ge=1)
    steps: int | None = pydantic.Field(ge=1)  # updates after which the schedule stops; None: all epochs
    batch_size: int = pydantic.Field(ge=1)  # rows per update
    max_length: int = pydantic.Field(ge=8)  # tokens
    warmup_share: float = pydantic.Field(ge=0.0, le=1.0)
    weight_decay: float = pydantic.Field(ge=0.0)
    clip_norm: float = pydantic.Field(gt=0.0)
    dropout: float = pydantic.Field(ge=0.0, lt=1.0)
    evaluations_per_epoch: int = pydantic.Field(ge=1)
    max_evaluations: int = pydantic.Field(ge=1)  # in the whole run, evenly spread: dev may be larger than train
    patience: int = pydantic.Field(ge=0)  # evaluations without improvement after which the run stops; 0: never
    label_smoothing: float = pydantic.Field(ge=0.0, lt=1.0)
    layer_decay: float = pydantic.Field(gt=0.0, le=1.0)
    ema_decay: float = pydantic.Field(ge=0.0, lt=1.0)  # grows to this from 0.18 on, see `averaging`
    fgm_epsilon: float = pydantic.Field(ge=0.0)
    r_drop_alpha: float = pydantic.Field(ge=0.0)
    precision: Literal["auto", "bf16", "fp32"]

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.r_drop_alpha and not self.dropout:
            raise ValueError("r_drop_alpha needs dropout above 0: without it both passes are the same")
        return self


def default_settings(task: Task, sizes: Sizes, *, train_rows: int) -> dict[str, Any]:
    """Return the settings for a model of this size and this number of training rows.

    Up to 4 layers: 1e-4 (3e-4 where they are at most 128 wide) and 5 epochs, as CLUE's authors advise for small models
    and UER-py's grid has it; at 2e-5 such models end near the majority class. Above: 3e-5 (2e-5 for 1,024-wide ones)
    and 3 epochs, inside the grid in which the published CLUE scores were found. Small training sets get batches of 16
    below 2,000 rows, and as many epochs as make 1,000 updates, at most 50, which is what CLUEWSC2020's baselines have.
    Dev is evaluated three times per epoch, at most 15 times (8 on small training sets). Nothing stops early: the
    learning rate falls to 0 over the whole run, and the best weights are mostly near its end. Everything else is
    BERT's, and the same in CLUE's baselines.
    """
    small = sizes.layers <= SMALL_LAYERS
    narrow = 3e-4 if sizes.hidden_size <= NARROW_HIDDEN else 1e-4
    rate = narrow if small else 2e-5 if sizes.hidden_size >= LARGE_HIDDEN else 3e-5
    batch_size = 16 if train_rows < FEW_ROWS else 32
    epochs = math.ceil(FEW_UPDATES / math.ceil(train_rows / batch_size))
    return {
        "learning_rate": rate,
        "epochs": min(MAX_EPOCHS, max(5 if small else 3, epochs)),
        "steps": None,
        "batch_size": batch_size,
        "max_length": min(task.max_length, sizes.max_positions),
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "dropout": 0.1,
        "evaluations_per_epoch": 3,
        "max_evaluations": 8 if train_rows < FEW_ROWS else 15,
        "patience": 0,
        "label_smoothing": 0.0,
        "layer_decay": 1.0,
        "ema_decay": 0.0,
        "fgm_epsilon": 0.0,
        "r_drop_alpha": 0.0,
        "precision": "auto",
    }


def make_settings(task: Task, sizes: Sizes, overrides: dict[str, Any], *, train_rows: int) -> Settings:
    """Return the default settings, updated by `overrides`. Raises ClueBenchError that names the bad key."""
    defaults = default_settings(task, sizes, train_rows=train_rows)
    settings = decode(Settings, defaults, where="settings", overrides=overrides)
    if settings.max_length > sizes.max_positions:
        raise ClueBenchError(
            f"--set max_length: {settings.max_length} exceeds the model's {sizes.max_positions} positions",
            f"give --set max_length={sizes.max_positions} or less",
        )
    return settings
