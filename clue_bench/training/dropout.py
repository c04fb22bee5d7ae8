"""Dropout whose masks depend on the row alone.

Input: one key per row of the batch. Output: activations with zeros in them. torch's dropout draws from one global
stream, so its masks change with the batch's split over processes or micro-batches; and on CPUs it is nearly serial and
costs more than the layers around it. Here each row takes, at every dropout site of the network, a slice of a fixed pool
of random zeros and ones, at an offset that is a function of the row's key and the site. Slices cost what copying them
costs, a thirtieth of what drawing them would, and a row's masks are the same however the batch is split.

Legend: B rows, N heads, S positions, X sites.
"""

import torch
from torch import Tensor

from clue_bench.training.counter_rng import draw

OFFSETS = 2**20
"""Offsets in the pool at which a slice may start."""


class RowDropout:
    """The masks of one forward pass over B rows; every call is the next site of the network.

    `keys_B` come from `counter_rng.row_keys`; `sites` bounds the number of slices that a row will take.
    """

    def __init__(self, pool: "DropoutPool", keys_B: Tensor, *, sites: int) -> None:
        self._pool = pool
        self._offsets_BX = draw(keys_B, sites) % OFFSETS
        self._site = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` (B, …) with a share `rate` of its elements zero and the others scaled up."""
        return self._drop(x, x.flatten(1).shape[1], 1) * self.scale

    def per_head(self, x_BNSS: Tensor) -> Tensor:
        """Return `x_BNSS` with zeros in it, a slice for each head, so that slices stay short.

        It is not scaled up: attention's values are smaller than its weights, so `scale` those.
        """
        return self._drop(x_BNSS, x_BNSS[0, 0].numel(), x_BNSS.shape[1])

    @property
    def scale(self) -> float:
        """Return the factor of the remaining elements that keeps the mean."""
        return self._pool.scale

    def _drop(self, x: Tensor, elements: int, slices: int) -> Tensor:
        offsets = self._offsets_BX[:, self._site : self._site + slices].flatten()
        assert len(offsets) == len(x) * slices, "more sites than were reserved"
        self._site += slices
        mask = self._pool.slices(offsets, elements, x.dtype).view(x.shape)
        return x * mask


class DropoutPool:
    """Random zeros and ones that every row's masks are cut from. One per run; `seed` decides them all."""

    def __init__(self, rate: float, *, seed: int, device: torch.device) -> None:
        self.rate, self.scale = rate, 1 / (1 - rate)
        self._seed, self._device = seed, device
        self._pools: dict[torch.dtype, Tensor] = {}
        self._all_pools: list[Tensor] = []  # a recorded graph goes on reading the pool that it began with

    def masks(self, keys_B: Tensor, *, sites: int) -> RowDropout | None:
        """Return the masks of a forward pass, None if nothing is dropped."""
        return RowDropout(self, keys_B, sites=sites) if self.rate else None

    def slices(self, offsets: Tensor, elements: int, dtype: torch.dtype) -> Tensor:
        """Return the slices of `elements` numbers at `offsets`: (offsets, elements)."""
        pool = self._pool(OFFSETS + elements, dtype)
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
