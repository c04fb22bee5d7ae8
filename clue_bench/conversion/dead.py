"""Which tensors of a file no model uses, and why: counted, never passed over in silence.

Input: names. Output: a reason in words, or None for a name that a model may want.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

# What the tensor is, by a pattern of its name, tried in order.
_REASONS = (
    (
        "optimizer state",
        r"(^|[./_])(adam_[mv]|lamb_[mv]|exp_avg(_sq)?|momentum|beta[12]_power)$"
        r"|/(Adam|AdamW|LAMB|LAMBOptimizer|AdamWeightDecayOptimizer|RMSProp|Momentum|Adafactor)(_\d+)?$"
        r"|^(optimi[sz]er|optim|scheduler|lr_scheduler|scaler|amp)([./_]|$)"
        r"|(^|/)(global_step|good_steps|bad_steps|loss_scale|current_loss_scale)$",
    ),
    ("moving averages of the training", r"/ExponentialMovingAverage$"),
    ("attention masks stored as buffers", r"(^|\.)attn\.(masked_)?bias$"),
    ("positions and segments stored as buffers", r"(^|\.)(position_ids|token_type_ids)$"),
)
TIED = "second copy of a tied tensor"
PADDING = "segment row of padding, kept in provenance.json"


@dataclass(frozen=True)
class Dropped:
    """A tensor that is not written, or a part of one (`tensors` is 0 then)."""

    name: str
    reason: str
    parameters: int
    tensors: int = 1


@dataclass(frozen=True)
class Count:
    """How much was dropped for one reason."""

    reason: str
    tensors: int
    parameters: int
    examples: tuple[str, ...]


def why_dead(name: str) -> str | None:
    """Return why no model uses a tensor called `name`, None if one may."""
    return next((reason for reason, pattern in _REASONS if re.search(pattern, name)), None)


def parameters(shape: Iterable[int]) -> int:
    """Return the number of elements of a tensor."""
    return prod(shape)


def counted(dropped: Iterable[Dropped]) -> tuple[Count, ...]:
    """Return what was dropped by reason, each with the first three names."""
    groups: dict[str, list[Dropped]] = {}
    for one in dropped:
        groups.setdefault(one.reason, []).append(one)
    return tuple(
        Count(
            reason,
            sum(one.tensors for one in group),
            sum(one.parameters for one in group),
            tuple(one.name for one in group[:3]),
        )
        for reason, group in groups.items()
    )
