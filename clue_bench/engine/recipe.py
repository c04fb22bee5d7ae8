"""Recipes: what to pretrain, and how. The data model of the cards in `pretrain/`.

Enters: a flat TOML card and `--set` overrides. Leaves: a frozen, checked `Recipe`. Units stand in the field comments.
"""

from typing import Any, Literal, Self

import pydantic

from clue_bench.catalog import Card, Name, find_card, load_card

PositiveInt = pydantic.PositiveInt
Share = pydantic.Field(ge=0.0, le=1.0)


class Recipe(Card):
    """One pretraining run. Every key is required: a card says everything that happens."""

    name: Name
    title: str
    # Architecture. "corpus" takes whatever vocabulary the shards were built with.
    family: Literal["bert"]
    vocab_size: PositiveInt | Literal["corpus"]
    layers: PositiveInt
    hidden_size: PositiveInt
    heads: PositiveInt
    feed_forward_size: PositiveInt
    max_positions: PositiveInt  # tokens
    dropout: float = Share
    # Objective
    objective: Literal["mlm"]
    mask_rate: float = pydantic.Field(gt=0.0, lt=1.0)  # share of a row's ordinary tokens that is predicted
    # Schedule
    max_length: int = pydantic.Field(ge=8)  # tokens in a row, [CLS] and [SEP] included
    steps: PositiveInt  # optimizer updates
    global_batch: PositiveInt  # rows per update, over all devices
    micro_batch: PositiveInt  # rows per forward pass; changes memory and speed, not the result (but for rounding)
    learning_rate: float = pydantic.Field(gt=0.0)  # at the peak
    warmup_share: float = Share  # of the steps
    # Optimizer
    adam_beta1: float = pydantic.Field(ge=0.0, lt=1.0)
    adam_beta2: float = pydantic.Field(ge=0.0, lt=1.0)
    adam_epsilon: float = pydantic.Field(gt=0.0)
    weight_decay: float = pydantic.Field(ge=0.0)
    clip_norm: float = pydantic.Field(gt=0.0)
    # Run
    precision: Literal["auto", "bf16", "fp32"]
    seed: int = pydantic.Field(ge=0)
    log_every: PositiveInt  # steps per line of metrics.jsonl
    save_every: PositiveInt  # steps per training state

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size = {self.hidden_size} is not a multiple of heads = {self.heads}")
        if self.max_length > self.max_positions:
            raise ValueError(f"max_length = {self.max_length} exceeds max_positions = {self.max_positions}")
        if self.save_every % self.log_every:
            # A state between two reports would have to carry half a report.
            raise ValueError(f"save_every = {self.save_every} is not a multiple of log_every = {self.log_every}")
        return self

    @property
    def warmup_steps(self) -> int:
        """Steps of rising learning rate."""
        return round(self.steps * self.warmup_share)


def load_recipe(reference: str, overrides: dict[str, Any]) -> Recipe:
    """Return the recipe called `reference` (a name, or a path ending in .toml) with `overrides` laid over it.

    Overriding `steps` alone also shortens `log_every` and `save_every` where they would exceed the whole run.
    """
    path = find_card("pretrain", reference)
    recipe = load_card(path, Recipe, overrides)
    if "steps" in overrides and recipe.log_every > recipe.steps and "log_every" not in overrides:
        recipe = load_card(path, Recipe, {"save_every": recipe.steps, **overrides, "log_every": recipe.steps})
    return recipe
