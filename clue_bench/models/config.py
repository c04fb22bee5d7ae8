"""Architectures: the widths of a model, and what its family adds.

Input: plain numbers. Output: a frozen `ModelConfig` that every network here is built from, counts of its parameters,
and the FLOPs that training it needs, however it is computed.

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


class Sizes(Protocol):
    """The sizes of any model that defaults and limits depend on; `max_positions` in tokens."""

    @property
    def layers(self) -> int: ...  # noqa: D102

    @property
    def hidden_size(self) -> int: ...  # noqa: D102

    @property
    def max_positions(self) -> int: ...  # noqa: D102


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
        return 2 + self.layers * (self.heads + 2)

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
    """Return FLOPs of one training step per position: three times the forward pass, two per multiply-add.

    Counts matrix products only, every layer in full (also where the last one is pruned), and vocabulary logits at
    `predictions` positions of a row of `length`. A causal position attends to half of the row on average.
    """
    d, f, e = config.hidden_size, config.feed_forward_size, config.embedding_width
    body = 6 * config.layers * (4 * d * d + 2 * d * f) + (6 * e * d if config.family == "albert" else 0)
    attention = 12 * config.layers * length * d * (0.5 if config.is_causal else 1.0)
    transform = 0 if config.family == "gpt2" else d * e
    head = 6 * (predictions / length) * (transform + e * config.vocab_size)
    return body + attention + head
