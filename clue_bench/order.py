"""Stateless randomness: which sample comes when, and every random draw, as functions of counters.

Enters: a seed and counters (epoch, sample, position, purpose). Leaves: permutations and uniform draws that do not
depend on what was drawn before, so that a batch is the same for any number of processes and after any interruption,
and a loader's state is one integer. Not for secrets.

Legend: B rows, S positions.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Int64s = npt.NDArray[np.int64]

_ROUNDS = 6  # of the Feistel network; four make it a pseudo-random permutation, two more cost nothing here
_MASK32 = 0xFFFFFFFF


def derive(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part; for seeding torch and for keys."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def permuted(indices: Int64s, *, size: int, key: int) -> Int64s:
    """Return where a pseudo-random permutation of range(size), chosen by `key`, sends `indices`.

    A Feistel network over the smallest even number of bits that holds `size`; values that fall outside are sent
    through again until they fall inside, which keeps it a permutation.
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    keys = [np.uint64(derive(key, "round", number)) for number in range(_ROUNDS)]
    values = _feistel(indices.astype(np.uint64), half, keys)
    while (outside := values >= size).any():
        values[outside] = _feistel(values[outside], half, keys)
    return values.astype(np.int64)


def row_keys(epochs: Int64s, samples: Int64s, *, seed: int, purpose: str) -> Int64s:
    """Return one 62-bit key per row, (B,), for the draws of `purpose` on that sample in that epoch."""
    base = np.uint64(derive(seed, purpose))
    mixed = _mix64(_mix64(epochs.astype(np.uint64) ^ base) ^ samples.astype(np.uint64))
    return (mixed >> np.uint64(2)).astype(np.int64)


def draw(keys_B: Tensor, num: int) -> Tensor:
    """Return `num` uniform integers in [0, 2**32) for each row's key: (B, num) int64, on the device of `keys_B`."""
    counters = torch.arange(num, device=keys_B.device) * 0x9E3779B1
    low, high = keys_B & _MASK32, keys_B >> 31
    return _mix32(_mix32(counters[None, :] ^ low[:, None]) ^ high[:, None])


def _mix32(x: Tensor) -> Tensor:
    """Bijective 32-bit mixer (multiply and xor-shift) in int64 arithmetic, whose low 32 bits wrap as unsigned ones."""
    x = x & _MASK32
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK32
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)


def _mix64(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Finaliser of splitmix64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _feistel(values: npt.NDArray[np.uint64], half: int, keys: list[np.uint64]) -> npt.NDArray[np.uint64]:
    mask = np.uint64((1 << half) - 1)
    left, right = values >> np.uint64(half), values & mask
    for key in keys:
        left, right = right, left ^ (_mix64(right ^ key) & mask)
    return (left << np.uint64(half)) | right
