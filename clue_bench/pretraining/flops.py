"""Model FLOPs of pretraining: what the model needs, however it is computed.

Input: an architecture and a batch's shape. Output: floating-point operations per token, forward and backward.
"""

from clue_bench.models.config import ModelConfig


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
