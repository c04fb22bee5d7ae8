"""How to fine-tune: the settings of one run, with defaults that follow the model's size.

Enters: a task, an architecture and `--set` overrides. Leaves: frozen, checked `Settings`; every default is written to
the run's record.
"""

from typing import Any, Literal

import pydantic

from clue_bench.catalog import Card, decode
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.task_data.task import Task

SMALL_LAYERS = 4
LARGE_HIDDEN = 1024


class Settings(Card):
    """Settings of one fine-tuning run."""

    learning_rate: float = pydantic.Field(gt=0.0)  # at the peak; linear warm-up, then linear to 0
    epochs: int = pydantic.Field(ge=1)
    steps: int | None = pydantic.Field(ge=1)  # stop the schedule after so many updates; None: all epochs
    batch_size: int = pydantic.Field(ge=1)  # rows per update
    max_length: int = pydantic.Field(ge=8)  # tokens
    warmup_share: float = pydantic.Field(ge=0.0, le=1.0)
    weight_decay: float = pydantic.Field(ge=0.0)
    clip_norm: float = pydantic.Field(gt=0.0)
    dropout: float = pydantic.Field(ge=0.0, lt=1.0)
    evaluations_per_epoch: int = pydantic.Field(ge=1)
    precision: Literal["auto", "bf16", "fp32"]


def default_settings(task: Task, config: ModelConfig) -> dict[str, Any]:
    """Return the settings for a model of this size.

    Up to 4 layers: 1e-4 and 5 epochs, which CLUE's authors advise for small models; at 2e-5 such models end near the
    majority class. Above: 3e-5 (2e-5 for 1,024-wide ones) and 3 epochs, inside the grid in which the published CLUE
    scores were found. The rest is BERT's, and the same in CLUE's baselines.
    """
    small = config.layers <= SMALL_LAYERS
    rate = 1e-4 if small else 2e-5 if config.hidden_size >= LARGE_HIDDEN else 3e-5
    return {
        "learning_rate": rate,
        "epochs": 5 if small else 3,
        "steps": None,
        "batch_size": 32,
        "max_length": min(task.max_length, config.max_positions),
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "dropout": 0.1,
        "evaluations_per_epoch": 2,
        "precision": "auto",
    }


def make_settings(task: Task, config: ModelConfig, overrides: dict[str, Any]) -> Settings:
    """Return the default settings with `overrides` laid over them. Raises ClueBenchError naming the bad key."""
    settings = decode(Settings, {**default_settings(task, config), **overrides}, where="--set")
    if settings.max_length > config.max_positions:
        raise ClueBenchError(
            f"--set max_length: {settings.max_length} exceeds the model's {config.max_positions} positions",
            f"--set max_length={config.max_positions}",
        )
    return settings
