"""FGM: training on word embeddings moved in the direction that hurts most (Miyato et al. 2017).

Input: a model whose gradients have been computed. Output: the embedding moved, for a second pass, and put back after
it, bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def moved_embedding(embedding: nn.Parameter, *, epsilon: float) -> Iterator[bool]:
    """Move `embedding` by epsilon · g / ‖g‖, g its gradient, while the block runs.

    Yields whether it was moved: it is not where the gradient is 0 or no number.
    """
    gradient = embedding.grad
    norm = 0.0 if gradient is None else float(gradient.norm())
    if gradient is None or not 0.0 < norm < float("inf"):
        yield False
        return
    before = embedding.detach().clone()
    with torch.no_grad():
        embedding.add_(gradient, alpha=epsilon / norm)
    try:
        yield True
    finally:
        with torch.no_grad():
            embedding.copy_(before)
