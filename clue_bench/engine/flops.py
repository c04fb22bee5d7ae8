"""Model FLOPs of pretraining: what the model needs, however it is computed.

Enters: an architecture and a batch's shape. Leaves: floating-point operations per token, forward and backward.
"""

from clue_bench.models.encoder import EncoderConfig


def flops_per_token(config: EncoderConfig, *, length: int, predictions: int) -> float:
    """Return FLOPs of one training step per position: three times the forward pass, two per multiply-add.

    Counts matrix products only, every layer in full (also where the last one is pruned), and vocabulary logits at
    `predictions` positions of a row of `length`.
    """
    d, f = config.hidden_size, config.feed_forward_size
    body = 6 * config.layers * (4 * d * d + 2 * d * f)
    attention = 12 * config.layers * length * d
    head = 6 * (predictions / length) * (d * d + d * config.vocab_size)
    return body + attention + head
