"""How fast steps are: tokens a second, and FLOP/s as they are counted for MFU and HFU."""

from typing import NamedTuple

from clue_bench.models.config import ModelConfig, flops_per_token, hardware_flops_per_token
from clue_bench.pretraining.feed import StageFeeds
from clue_bench.pretraining.objectives import BAG_TOKENS


class Throughput(NamedTuple):
    """Positions of rows a second, padding included, and their FLOP/s: nominal ones of the model, and computed ones."""

    tokens_per_second: float
    model_flops_per_second: float
    hardware_flops_per_second: float


def throughput(
    config: ModelConfig,
    feeds: StageFeeds,
    *,
    positions: int,
    seconds: float,
    bag_weight: float,
    frozen_layers: int | None,
    skips_ahead: bool,
) -> Throughput:
    """Return how fast steps of a stage were that took `seconds` for so many positions, of all processes together.

    `skips_ahead` says that attention's kernel leaves out what a causal mask hides.
    """
    length, has_bags = feeds.stage.max_length, bag_weight > 0
    predictions = feeds.train.predictions + (BAG_TOKENS if has_bags else 0)  # of a row, with logits
    rate = positions / seconds
    nominal = flops_per_token(config, length=length, predictions=predictions)
    computed = hardware_flops_per_token(
        config,
        length=length,
        predictions=predictions,
        outputs=feeds.train.predictions + feeds.texts + has_bags,
        texts=feeds.texts,
        frozen_layers=frozen_layers,
        skips_ahead=skips_ahead,
    )
    return Throughput(rate, rate * nominal, rate * computed)
