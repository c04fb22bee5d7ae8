"""Recipes: what to pretrain and how; the data model of the cards in `pretrain/`.

Input: a TOML card and `--set` overrides. Output: a frozen, checked `Recipe`. Comments at the fields give the units.

A recipe has one stage or two, `[stage1]` and `[stage2]`; the second continues with the first one's weights, but its own
optimizer and schedule. `--set stage2.steps=N` changes one stage, `--set steps=N` every stage; `--steps N` is divided
among the stages in the card's proportions.
"""

from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from clue_bench.cards import Card, Key, Name, decode, described_keys, explain_unknown_key, find_card, load_card
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import MIN_LOCAL_HEAD, Activation, Family, ModelConfig
from clue_bench.training import hardware

PositiveInt = pydantic.PositiveInt


class Stage(Card):
    """A stage: one schedule at one row length."""

    max_length: int = Field(ge=8, description="tokens in a row, special ones included")
    steps: int = Field(gt=0, description="updates; stage1.steps and stage2.steps where there are two stages")
    global_batch: int = Field(gt=0, description="rows per update, over all devices")
    # Changes memory and speed, not the result (but for rounding).
    micro_batch: PositiveInt | Literal["auto"] = Field(
        description="rows per forward pass: less takes less memory; auto: what fits"
    )
    learning_rate: float = Field(gt=0.0, description="at the peak")
    final_learning_rate: float = Field(ge=0.0, description="after the last step")
    warmup_share: float = Field(ge=0.0, le=1.0, description="share of the steps, the first, in which the rate rises")
    decay_share: float = Field(gt=0.0, le=1.0, description="share, the last, in which it falls; 1: all others")

    @property
    def warmup_steps(self) -> int:
        """Return the number of steps with a rising learning rate."""
        return round(self.steps * self.warmup_share)

    @property
    def decay_steps(self) -> int:
        """Return the number of steps with a falling learning rate."""
        return min(round(self.steps * self.decay_share), self.steps - self.warmup_steps)

    @property
    def tokens(self) -> int:
        """Return the number of positions that the stage trains on, special tokens included."""
        return self.steps * self.global_batch * self.max_length


MASK_RATES = 4
"""Different rates of a run whose masks become fewer, or more, evenly spaced. Each is another shape of the batch, to be
compiled or recorded."""


class Recipe(Card):
    """One pretraining run. Every key except `stage2` is required: nothing happens that is not in the card."""

    name: Name
    title: str
    # Architecture. "corpus" takes whatever vocabulary the shards were built with.
    family: Family = Field(description="bert, albert, roformer or gpt2")
    vocab_size: PositiveInt | Literal["corpus"] = Field(description='tokens; "corpus" takes the corpus\'s vocabulary')
    layers: int = Field(gt=0, description="number of layers")
    embedding_size: PositiveInt | Literal["hidden"] = Field(description="narrower than the layers in ALBERT only")
    hidden_size: int = Field(gt=0, description="width of the layers")
    heads: int = Field(gt=0, description="attention heads per layer; they divide hidden_size")
    feed_forward_size: int = Field(gt=0, description="width inside a layer")
    max_positions: int = Field(gt=0, description="tokens that the model can read at once")
    activation: Activation = Field(description="gelu, gelu_tanh or relu")
    layer_norm_eps: float = Field(gt=0.0, description="epsilon of the norms")
    tied_head: bool = Field(description="whether the output matrix is the word embedding")
    dropout: float = Field(ge=0.0, lt=1.0, description="share of activations dropped in training")
    # First weights of attention: drawn, or such that heads begin at their neighbours
    initial_attention: Literal["random", "local"] = Field(description="random, or local: at its neighbours (bert only)")
    # Objective: masked tokens, masked whole words, or the next token
    objective: Literal["mlm", "wwm", "clm"] = Field(description="mlm tokens, wwm whole words, clm the next token")
    mask_rate: float = Field(ge=0.0, lt=1.0, description="share of a row's tokens that is predicted; 0 for clm")
    # Many masks teach more a step, few are what the model will read: from the one to the other in MASK_RATES parts
    final_mask_rate: Annotated[float, Field(gt=0.0, lt=1.0)] | Literal["same"] = Field(
        description="of the last quarter of the steps; evenly from mask_rate in the first; same: mask_rate"
    )
    # Sentence order, summed with the above: none, over texts in two parts, or over pairs of neighbouring sentences
    sentence_order: Literal["none", "texts", "sentences"] = Field(description="none, texts or sentences")
    starts_from: str  # the recipe whose checkpoint (or one of its architecture) --from must give; "" needs none
    labelled_share: float = Field(ge=0.0, lt=1.0, description="share of the rows that --pairs gives")
    # Bag of words: [CLS], which nothing else trains, predicts tokens drawn from its row
    bag_weight: float = Field(ge=0.0, description="weight of [CLS] predicting tokens of its row; 0: none")
    # Optimizer: AdamW, or Muon for the layers' matrices and AdamW for the rest
    optimizer: Literal["adamw", "muon"] = Field(description="adamw, or muon for the layers' matrices")
    adam_beta1: float = Field(ge=0.0, lt=1.0, description="share of Adam's mean gradient that stays")
    adam_beta2: float = Field(ge=0.0, lt=1.0, description="share of Adam's mean square that stays")
    adam_epsilon: float = Field(gt=0.0, description="added to the root of Adam's mean square")
    bias_correction: bool = Field(description="whether Adam's moments are corrected")
    weight_decay: float = Field(ge=0.0, description="AdamW's, on matrices")
    clip_norm: float = Field(ge=0.0, description="largest norm of a gradient; 0 clips nothing")
    # Run
    precision: hardware.Asked = Field(description=hardware.PRECISIONS)
    seed: int = Field(ge=0, description="seed of weights, order, masks and dropout")
    # Of each shard's tokens, whole documents.
    held_out_share: float = Field(ge=0.0, lt=1.0, description="share of the text that is never trained on")
    log_every: int = Field(gt=0, description="steps per report, a line of metrics.jsonl")
    save_every: int = Field(gt=0, description="steps per saved state and held-out loss, a multiple of log_every")
    stage1: Stage
    stage2: Stage | None = None

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        self.model_config_for(1)
        for number, stage in enumerate(self.stages, 1):
            if stage.max_length > self.max_positions:
                raise ValueError(
                    f"stage{number}.max_length = {stage.max_length} exceeds max_positions = {self.max_positions}"
                )
        if self.save_every % self.log_every:
            # The held-out part is evaluated with a state, and is told in a report.
            raise ValueError(f"save_every = {self.save_every} is not a multiple of log_every = {self.log_every}")
        if (self.objective == "clm") != (self.family == "gpt2"):
            raise ValueError(f'objective = "{self.objective}" does not go with family = "{self.family}"')
        if (self.objective == "clm") != (self.mask_rate == 0.0):
            raise ValueError(f'mask_rate = {self.mask_rate:g} does not go with objective = "{self.objective}"')
        if self.objective == "clm" and self.final_mask_rate != "same":
            raise ValueError(f'final_mask_rate = {self.final_mask_rate:g} does not go with objective = "clm"')
        if self.objective == "clm" and self.sentence_order != "none":
            raise ValueError('objective = "clm" has no sentence_order')
        if self.bag_weight and (self.objective == "clm" or self.sentence_order != "none"):
            found = f'objective = "{self.objective}" and sentence_order = "{self.sentence_order}"'
            raise ValueError(f"bag_weight = {self.bag_weight:g} does not go with {found}")
        if self.initial_attention == "local" and self.family != "bert":
            raise ValueError(f'initial_attention = "local" does not go with family = "{self.family}"')
        width = self.hidden_size // self.heads
        if self.initial_attention == "local" and width < MIN_LOCAL_HEAD:
            raise ValueError(f'initial_attention = "local" needs hidden_size / heads of {MIN_LOCAL_HEAD}, not {width}')
        if self.optimizer == "muon" and not self.bias_correction:
            raise ValueError('bias_correction = false does not go with optimizer = "muon"')
        if self.labelled_share and self.sentence_order == "none":
            raise ValueError(f'labelled_share = {self.labelled_share:g} does not go with sentence_order = "none"')
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages in order."""
        return (self.stage1,) if self.stage2 is None else (self.stage1, self.stage2)

    @property
    def total_steps(self) -> int:
        """Return the number of updates of all stages."""
        return sum(stage.steps for stage in self.stages)

    def mask_rate_at(self, step: int) -> float:
        """Return the share that step `step` (0-based) masks: each of the MASK_RATES holds for as many steps.

        Behind the last step it is the last one's.
        """
        if self.final_mask_rate == "same":
            return self.mask_rate
        part = min(step * MASK_RATES // self.total_steps, MASK_RATES - 1)
        share = part / (MASK_RATES - 1)  # so weighed, the first and the last rate are the recipe's to the bit
        return (1 - share) * self.mask_rate + share * self.final_mask_rate

    def model_config_for(self, vocab_size: int) -> ModelConfig:
        """Return the architecture for a vocabulary of `vocab_size`. Raises ValueError for widths that do not fit."""
        return ModelConfig(
            family=self.family,
            vocab_size=vocab_size,
            layers=self.layers,
            hidden_size=self.hidden_size,
            heads=self.heads,
            feed_forward_size=self.feed_forward_size,
            embedding_size=None if self.embedding_size == "hidden" else self.embedding_size,
            max_positions=self.max_positions,
            segment_types=0 if self.family == "gpt2" else 2,
            activation=self.activation,
            layer_norm_eps=self.layer_norm_eps,
            dropout=self.dropout,
            tied_head=self.tied_head,
        )


def recipe_keys() -> list[Key]:
    """Return the keys of recipes with their meanings: those of a stage first, since they are changed most."""
    return [*described_keys(Stage), *described_keys(Recipe)]


PREDICTED = {"mlm": "masked tokens", "wwm": "masked words", "clm": "next tokens"}
"""Objective → what is predicted, in words."""

DEBUG_SIZES = {"hidden_size": 64, "heads": 4, "feed_forward_size": 128, "log_every": 5, "save_every": 10}
DEBUG_EMBEDDING = 32  # where it is narrower than the layers
DEBUG_LENGTHS = (32, 64)  # of the stages; shorter where the card's own are
DEBUG_STEPS = (40, 10)
DEBUG_BATCH = 16


def debug_sizes(recipe: Recipe) -> dict[str, Any]:
    """Return overrides that shrink widths, lengths and steps, and keep every code path of `recipe`.

    At least two layers remain if there were two; stages, objective, head, dropout and vocabulary stay as they are.
    """
    values: dict[str, Any] = {**DEBUG_SIZES, "layers": min(recipe.layers, 3), "max_positions": max(DEBUG_LENGTHS)}
    if recipe.embedding_size != "hidden":
        values["embedding_size"] = DEBUG_EMBEDDING
    for number, stage in enumerate(recipe.stages, 1):
        length = min(DEBUG_LENGTHS[number - 1] if recipe.stage2 else max(DEBUG_LENGTHS), stage.max_length)
        batch = min(DEBUG_BATCH, stage.global_batch)
        values |= {
            f"stage{number}.max_length": length,
            f"stage{number}.steps": DEBUG_STEPS[number - 1] if recipe.stage2 else sum(DEBUG_STEPS),
            f"stage{number}.global_batch": batch,
            f"stage{number}.micro_batch": "auto" if stage.micro_batch == "auto" else min(batch, stage.micro_batch),
            f"stage{number}.learning_rate": 1e-3,
            f"stage{number}.final_learning_rate": min(stage.final_learning_rate, 1e-4),
        }
    return values


def load_recipe(
    reference: str, overrides: dict[str, Any] | None = None, *, steps: int | None = None, debug_size: bool = False
) -> Recipe:
    """Return the recipe called `reference` (a name, or a path ending in .toml).

    `overrides` (of `--set`) replace its keys and the sizes of `debug_size`. `steps` is the run's total, divided among
    the stages in the card's proportions. A run shorter than `log_every` or `save_every` shortens these, too. A model
    with other sizes than the card's has them in its name: gpt2-base-3l64. Raises ClueBenchError that names the card,
    the key and what was expected.
    """
    path = find_card("pretrain", reference)
    card = load_card(path, Recipe)
    asked = dict(overrides or {})
    twice = [key for key in asked if key.rpartition(".")[2] == "steps"]
    if steps is not None and twice:
        raise ClueBenchError(f"--set {twice[0]} and --steps are both given", "keep one of them")
    values = _by_stage(debug_sizes(card) if debug_size else {}, card) | _by_stage(asked, card)
    recipe = load_card(path, Recipe, values)
    if steps is not None:
        values |= {f"stage{n}.steps": part for n, part in enumerate(_divided(steps, recipe), 1)}
        recipe = load_card(path, Recipe, values)
    shorter = shorter_reports(recipe, asked)
    if shorter:
        recipe = load_card(path, Recipe, values | shorter)
    if "name" in asked or (recipe.layers, recipe.hidden_size) == (card.layers, card.hidden_size):
        return recipe
    # Tables show the name: a model of another size must not appear there as the card's.
    return recipe.model_copy(update={"name": f"{card.name}-{recipe.layers}l{recipe.hidden_size}"})


def laid_over(recipe: Recipe, overrides: dict[str, Any], *, where: str) -> Recipe:
    """Return a recipe that no card holds with `overrides` (of `--set`) laid over it; `where` names it in errors.

    Raises ClueBenchError as `load_recipe` does.
    """
    return decode(Recipe, recipe.model_dump(), where=where, overrides=_by_stage(overrides, recipe))


def shorter_reports(recipe: Recipe, asked: dict[str, Any]) -> dict[str, Any]:
    """Return `log_every` and `save_every` for a run that is shorter than they are, {} for any other."""
    if recipe.log_every <= recipe.total_steps or "log_every" in asked:
        return {}
    return {"log_every": recipe.total_steps, "save_every": asked.get("save_every", recipe.total_steps)}


def _by_stage(overrides: dict[str, Any], card: Recipe) -> dict[str, Any]:
    """Apply a stage's key that was given without a stage to all stages; a key given with its stage wins."""
    values: dict[str, Any] = {}
    known = dict.fromkeys(Recipe.model_fields, "") | {key.name: key.meaning for key in recipe_keys()}
    for key, value in overrides.items():
        if "." not in key and key not in known:
            raise ClueBenchError(*explain_unknown_key(f"--set {key}", [key], value, known, is_set=True))
        if key in Stage.model_fields:
            values |= {f"stage{number}.{key}": value for number in range(1, len(card.stages) + 1)}
    return values | {key: value for key, value in overrides.items() if key not in Stage.model_fields}


def _divided(steps: int, recipe: Recipe) -> list[int]:
    if steps < 1:
        raise ClueBenchError(f"--steps: found {steps}, expected 1 or more", "give the updates of the whole run")
    if steps < len(recipe.stages):
        raise ClueBenchError(f"--steps {steps}: recipe {recipe.name} has two stages", "give --steps 2 or more")
    if len(recipe.stages) == 1:
        return [steps]
    first = min(max(1, round(steps * recipe.stage1.steps / recipe.total_steps)), steps - 1)
    return [first, steps - first]
