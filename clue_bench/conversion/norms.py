"""UER-py's LayerNorm as that of transformers, and back.

UER-py divides by the unbiased standard deviation s·√(N/(N-1)) plus 1e-6, transformers by √(s² + eps), with s the biased
standard deviation of the N normalised numbers. With r = √((N-1)/N):

    gain / (s/r + 1e-6) = gain·r / (s + 1e-6·r)

so the gain is multiplied by r, exactly. What is left is √(s² + eps) against s + 1e-6·r: equal to first order where
eps = 2e-6·r·s. There is one eps for all norms. The smallest s, where it matters most, is the one of the summed
embeddings (about 0.03; behind the first norm s is about 1, where any such eps disappears), so it is chosen there.
"""

from math import sqrt

import torch
from torch import Tensor

UER_EPS = 1e-6
_ROWS = 20_000  # of the vocabulary: more do not move a median


def folded(gain: Tensor) -> Tensor:
    """Return the gain (N,) that transformers needs for UER-py's `gain`."""
    return (gain.double() * _ratio(gain)).float()


def unfolded(gain: Tensor) -> Tensor:
    """Return the gain (N,) that UER-py needs for `gain` of transformers; inverse of `folded` to float32 rounding."""
    return (gain.double() / _ratio(gain)).float()


def matching_eps(words: Tensor, positions: Tensor, segments: Tensor | None) -> float:
    """Return the layer_norm_eps of transformers that is nearest to UER-py's 1e-6.

    `words` (V, E), `positions` (P, E), `segments` (3, E) or None are the embeddings whose sum the first norm sees. The
    median deviation over the vocabulary decides, each word at one position, in the first segment.
    """
    step = max(1, len(words) // _ROWS)
    sums = words[::step].double()
    sums = sums + positions.double()[torch.arange(len(sums)) % len(positions)]
    if segments is not None:
        sums = sums + segments[1].double()
    typical = float(sums.std(dim=-1, correction=0).median())
    eps = 2 * UER_EPS * _ratio(words[0]) * typical + UER_EPS**2
    return float(f"{eps:.3g}")


def _ratio(normalised: Tensor) -> float:
    """Return √((N-1)/N) for the width N of `normalised` (N,)."""
    width = normalised.numel()
    return sqrt((width - 1) / width)
