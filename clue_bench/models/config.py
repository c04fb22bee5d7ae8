"""Architectures: the widths of a model, and what its family adds.

Input: plain numbers. Output: a frozen `ModelConfig` that every network here is built from, counts of its parameters,
and the FLOPs of training it: the nominal ones, and those that are computed here.

| family | order of norms | positions | layers | embedding |
|---|---|---|---|---|
| bert | after (post-LN) | learned | each its own | as wide as the layers |
| albert | after | learned | one, applied L times | narrower, then projected |
| roformer | after | rotary, in the attention | each its own | as wide as the layers |
| gpt2 | before (pre-LN), causal | learned | each its own | as wide as the layers, not normalised |
"""

from dataclasses import dataclass
from typing import Literal, Protocol

Family = Literal["bert", "albert", "roformer", "gpt2"]
Activation = Literal["gelu", "gelu_tanh", "relu"]

MIN_LOCAL_HEAD = 4
"""Width of a head that begins by looking at its neighbours: two waves, each a sine and a cosine."""


class Sizes(Protocol):
    """What defaults and limits of any model depend on; `max_positions` in tokens, `dropout` as in its config.json."""

    @property
    def layers(self) -> int: ...  # noqa: D102

    @property
    def hidden_size(self) -> int: ...  # noqa: D102

    @property
    def max_positions(self) -> int: ...  # noqa: D102

    @property
    def dropout(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Widths and kind of a model. Sizes in units, positions in tokens, `dropout` a probability.

    `embedding_size` of None means `hidden_size`. `tied_head`: the output matrix is the word embedding. Defaults are
    BERT's.
    """

    family: Family = "bert"
    vocab_size: int
    layers: int
    hidden_size: int
    heads: int
    feed_forward_size: int
    embedding_size: int | None = None
    max_positions: int = 512
    segment_types: int = 2
    activation: Activation = "gelu"
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    tied_head: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "layers", "hidden_size", "heads", "feed_forward_size", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if self.family == "roformer" and self.head_size % 2:
            raise ValueError(f"rotary positions need an even head size, found {self.head_size}")
        if self.family != "albert" and self.embedding_width != self.hidden_size:
            raise ValueError(f"embedding_size {self.embedding_size} differs from hidden_size: only ALBERT has that")

    @property
    def head_size(self) -> int:
        """Return H, the width of one attention head."""
        return self.hidden_size // self.heads

    @property
    def embedding_width(self) -> int:
        """Return E, the width of the embeddings."""
        return self.embedding_size or self.hidden_size

    @property
    def dropout_sites(self) -> int:
        """Return the masks that a row needs in a forward pass: embeddings, a head, and per layer two and its heads."""
        return 2 + self.layers * self.dropout_sites_of_layer

    @property
    def dropout_sites_of_layer(self) -> int:
        """Return those of a layer."""
        return self.heads + 2

    @property
    def is_causal(self) -> bool:
        """Return whether a position sees only those before it."""
        return self.family == "gpt2"


def count_parameters(config: ModelConfig) -> int:
    """Return the parameters without any output head, the figure that model cards print.

    Encoders are counted with their pooler, GPT2 with its final norm.
    """
    d, f, e = config.hidden_size, config.feed_forward_size, config.embedding_width
    layer = 4 * (d * d + d) + (d * f + f) + (f * d + d) + 4 * d
    layers = layer if config.family == "albert" else config.layers * layer
    positions = 0 if config.family == "roformer" else config.max_positions
    if config.family == "gpt2":
        return (config.vocab_size + positions) * e + layers + 2 * d
    project = e * d + d if config.family == "albert" else 0
    pooler = d * d + d
    return (config.vocab_size + positions + config.segment_types) * e + 2 * e + project + layers + pooler


def flops_per_token(config: ModelConfig, *, length: int, predictions: int) -> float:
    """Return the model's nominal FLOPs of one training step per position, what MFU is made of, however it is computed.

    Three times the forward pass, two per multiply-add. Counts matrix products only, every layer in full (also where the
    last one is pruned), and vocabulary logits at `predictions` positions of a row of `length`. A causal position
    attends to half of the row on average.
    """
    layer = _products_of_layer(config, length=length * (0.5 if config.is_causal else 1.0))
    return 6 * (config.layers * layer + _projection(config) + _head(config, predictions / length))


def hardware_flops_per_token(
    config: ModelConfig,
    *,
    length: int,
    predictions: int,
    outputs: int | None = None,
    texts: int = 0,
    frozen_layers: int | None = None,
    skips_ahead: bool = False,
) -> float:
    """Return the FLOPs that are computed of one training step per position, what HFU is made of.

    Less than the nominal ones where work is left out: an encoder's last layer has outputs only where the losses look,
    at `outputs` positions of a row (None: at its predictions), of which `texts` are [CLS] of texts in order;
    embeddings and `frozen_layers` layers, if frozen (not None), have no backward pass. More where a causal model
    computes scores that its mask hides: all of a row's, unless a kernel `skips_ahead`. What a fused kernel computes
    twice is not counted.
    """
    d, is_frozen = config.hidden_size, frozen_layers is not None
    seen = length * (0.5 if config.is_causal and skips_ahead else 1.0)
    pruned = 1.0 if config.is_causal else (predictions if outputs is None else outputs) / length
    total = (2 if is_frozen else 6) * _projection(config) + 6 * _head(config, predictions / length)
    total += 6 * (texts / length) * d * (d + 2)  # pooler and logits of the order
    for number in range(config.layers):
        share = pruned if number == config.layers - 1 else 1.0
        layer = _products_of_layer(config, length=seen, share=share)
        total += (2 if number < (frozen_layers or 0) else 6) * layer
        if number == frozen_layers and config.family != "gpt2":  # no gradient of its input is needed, but by a norm
            total -= 2 * (2 + share) * d * d
    return total


def _products_of_layer(config: ModelConfig, *, length: float, share: float = 1.0) -> float:
    """Return the multiply-adds of a layer per position that sees `length`, with outputs at a `share` of positions.

    Keys and values are needed everywhere.
    """
    d = config.hidden_size
    return 2 * d * d + share * (2 * d * d + 2 * d * config.feed_forward_size + 2 * length * d)


def _projection(config: ModelConfig) -> int:
    return config.embedding_width * config.hidden_size if config.family == "albert" else 0


def _head(config: ModelConfig, share: float) -> float:
    transform = 0 if config.family == "gpt2" else config.hidden_size * config.embedding_width
    return share * (transform + config.embedding_width * config.vocab_size)
