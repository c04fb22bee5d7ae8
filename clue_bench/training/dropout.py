"""Dropout whose masks depend on the row alone.

Input: one key per row of the batch. Output: activations with zeros in them. torch's dropout draws from one global
stream, so its masks change with the batch's split over processes or micro-batches; and on CPUs it is nearly serial and
costs more than the layers around it. Here each row takes, at every place in the network, a slice of a fixed pool of
random zeros and ones, at an offset that is a function of the row's key and the place. Slices cost what copying them
costs, a thirtieth of what drawing them would, and a row's masks are the same however the batch is split.

Legend: B rows, N heads, n elements of a row.
"""

import torch
from torch import Tensor

from clue_bench.training.counter_rng import draw

OFFSETS = 2**20
"""Places in the pool where a slice may start."""


class RowDropout:
    """The masks of one forward pass over B rows; every call takes the next place in the network.

    `keys_B` are as `order.row_keys` makes them; `places` bounds the number of slices a row will take.
    """

    def __init__(self, pool: "DropoutPool", keys_B: Tensor, *, places: int) -> None:
        self._pool = pool
        self._offsets_BP = draw(keys_B, places) % OFFSETS
        self._place = 0

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
        """What the elements left must be multiplied by to keep the mean."""
        return self._pool.scale

    def _drop(self, x: Tensor, elements: int, slices: int) -> Tensor:
        offsets = self._offsets_BP[:, self._place : self._place + slices].flatten()
        assert len(offsets) == len(x) * slices, "more places than were reserved"
        self._place += slices
        mask = self._pool.slices(offsets, elements, x.dtype).view(x.shape)
        return x * mask


class DropoutPool:
    """Random zeros and ones that every row's masks are cut from. One per run; `seed` decides them all."""

    def __init__(self, rate: float, *, seed: int, device: torch.device) -> None:
        self.rate, self.scale = rate, 1 / (1 - rate)
        self._seed, self._device = seed, device
        self._pools: dict[torch.dtype, Tensor] = {}
        self._ever: list[Tensor] = []  # a recorded graph goes on reading the pool that it began with

    def masks(self, keys_B: Tensor, *, places: int) -> RowDropout | None:
        """Return the masks of a forward pass, None if nothing is dropped."""
        return RowDropout(self, keys_B, places=places) if self.rate else None

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
            self._ever.append(pool)
        return pool
