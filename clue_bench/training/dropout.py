"""Dropout whose masks depend on the row alone.

Input: one key per row of the batch. Output: activations with zeros in them. torch's dropout draws from one global
stream, so its masks change with the batch's split over processes or micro-batches; and on CPUs it is nearly serial and
costs more than the layers around it. Here each row takes, at every dropout site of the network, a slice of a fixed pool
of random zeros and ones, at an offset that is a function of the row's key and the site. Slices cost what copying them
costs, a thirtieth of what drawing them would, and a row's masks are the same however the batch is split. A compiler
fuses them with what is around them.

On a GPU, attention is one kernel, which draws the masks of its weights itself: they are a function of the run's seed,
the step, the process and the split. All others are the same there.

Legend: B rows, N heads, S positions, X sites.
"""

from typing import Any

import torch
from torch import Tensor

from clue_bench.training.counter_rng import derive, draw

OFFSETS = 2**20
"""Offsets in the pool at which a slice may start."""


class RowDropout:
    """The masks of one forward pass over B rows; every call is the next site of the network, which has X."""

    def __init__(self, pool: "DropoutPool", offsets_BX: Tensor) -> None:
        self._pool, self._offsets_BX = pool, offsets_BX
        self._site = 0

    def next(self, sites: int) -> "RowDropout":
        """Return the masks of the next sites by themselves: those of all layers look alike to a compiler."""
        offsets = self._offsets_BX[:, self._site : self._site + sites]
        self._site += sites
        return RowDropout(self._pool, offsets.clone())

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` (B, …) with a share `rate` of its elements zero and the others scaled up.

        Rows may be flattened into the first dimension.
        """
        mask = self._mask(x, 1)
        if mask.dtype is torch.bool and not torch.compiler.is_compiling():
            dropped: Tensor = _Masked.apply(x, mask, self.scale)  # type: ignore[no-untyped-call]
            return dropped
        return x * mask * self.scale

    def per_head(self, x_BNSS: Tensor) -> Tensor:
        """Return `x_BNSS` with zeros in it, a slice for each head, so that slices stay short.

        It is not scaled up: attention's values are smaller than its weights, so `scale` those.
        """
        return x_BNSS * self._mask(x_BNSS, x_BNSS.shape[1])

    def by_kernel(self, heads: int) -> float:
        """Return the rate of a kernel that draws the masks of so many heads itself, whose sites are left out."""
        self._site += heads
        return self._pool.rate

    @property
    def scale(self) -> float:
        """Return the factor of the remaining elements that keeps the mean."""
        return self._pool.scale

    def _mask(self, x: Tensor, slices: int) -> Tensor:
        assert self._site + slices <= self._offsets_BX.shape[1], "more sites than were reserved"
        offsets = self._offsets_BX[:, self._site : self._site + slices].flatten()
        self._site += slices
        return self._pool.slices(offsets, x.numel() // len(offsets), mask_type(x)).view(x.shape)


class _Masked(torch.autograd.Function):
    """Mask and scale by one kernel, whose gradient is one, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        dropped: Tensor = torch.ops.aten.native_dropout_backward(x, mask, scale)
        return dropped

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        return torch.ops.aten.native_dropout_backward(gradients[0], mask, ctx.scale), None, None


def mask_type(x: Tensor) -> torch.dtype:
    """Return the type of the masks of `x`: a byte for each element where memory is what takes time."""
    return torch.bool if x.is_cuda else x.dtype


class DropoutPool:
    """Random zeros and ones that every row's masks are cut from. One per run; `seed` decides them all."""

    def __init__(self, rate: float, *, seed: int, device: torch.device) -> None:
        self.rate, self.scale = rate, 1 / (1 - rate)
        self._seed, self._device = seed, device
        self._pools: dict[torch.dtype, Tensor] = {}
        self._all_pools: list[Tensor] = []  # a recorded graph goes on reading the pool that it began with

    def masks(self, keys_B: Tensor, *, sites: int) -> RowDropout | None:
        """Return the masks of a forward pass, None if nothing is dropped.

        `keys_B` come from `counter_rng.row_keys`; `sites` bounds the number of slices that a row will take.
        """
        return RowDropout(self, draw(keys_B, sites) % OFFSETS) if self.rate else None

    @property
    def is_by_kernel(self) -> bool:
        """Return whether attention's masks are drawn by its kernel."""
        return bool(self.rate) and kernels_draw(self._device)

    def begin(self, step: int, *, process: int = 0) -> None:
        """Let the kernels that draw masks themselves begin anew: a continued run draws what it would have drawn."""
        if self.is_by_kernel:
            torch.manual_seed(derive(self._seed, "masks of kernels", step, process))

    def slices(self, offsets: Tensor, elements: int, dtype: torch.dtype) -> Tensor:
        """Return the slices of `elements` numbers at `offsets`: (offsets, elements)."""
        pool = self._pool(OFFSETS + elements, dtype)
        if torch.compiler.is_compiling():  # one index for each element, which never is in memory
            return pool[offsets[:, None] + torch.arange(elements, device=offsets.device)]
        # Every slice that there is, as overlapping rows of one view: selecting rows copies memory, nothing else.
        return pool.as_strided((OFFSETS, elements), (1, 1)).index_select(0, offsets)

    def _pool(self, size: int, dtype: torch.dtype) -> Tensor:
        pool = self._pools.get(dtype)
        if pool is None or len(pool) < size:
            # Powers of two, drawn from the start, so that a longer pool begins with the shorter one.
            blocks = -(-size // OFFSETS)
            keys = torch.arange(blocks, device=self._device) + (self._seed % 2**61)
            kept = draw(keys, OFFSETS).flatten() >= int(self.rate * 2**32)
            pool = self._pools[dtype] = kept.to(dtype)
            self._all_pools.append(pool)
        return pool


def kernels_draw(device: torch.device) -> bool:
    """Return whether attention is a kernel that draws masks itself (`models.attention`), from torch's generator."""
    return device.type == "cuda"
