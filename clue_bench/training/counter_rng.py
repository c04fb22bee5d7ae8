"""Stateless randomness: which sample comes when, and every random draw, as functions of counters.

Input: a seed and counters (epoch, sample, position, purpose). Output: permutations and uniform draws that do not
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
_GOLDEN, _FACTOR1, _FACTOR2 = (  # of splitmix64, as signed integers
    number - 2**64 for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


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
    keys = [derive(key, "round", number) for number in range(_ROUNDS)]
    values = _feistel(torch.from_numpy(indices), half, keys)
    while (outside := values >= size).any():
        values[outside] = _feistel(values[outside], half, keys)
    return values.numpy()


def row_keys(epochs: Tensor | Int64s, samples: Tensor | Int64s, *, seed: int, purpose: str) -> Tensor:
    """Return one 62-bit key per row, (B,), for the draws of `purpose` on that sample in that epoch.

    They lie on the device of the arguments, int64.
    """
    base = derive(seed, purpose)
    return _shifted(_mix64(_mix64(torch.as_tensor(epochs) ^ base) ^ torch.as_tensor(samples)), 2)


def draw(keys_B: Tensor, num: int) -> Tensor:
    """Return `num` uniform integers in [0, 2**32) for each row's key: (B, num) int64, on the device of `keys_B`."""
    counters = torch.arange(num, device=keys_B.device) * 0x9E3779B1
    low, high = keys_B & _MASK32, keys_B >> 31
    return _mix32(_mix32(counters[None, :] ^ low[:, None]) ^ high[:, None])


def _mix32(x: Tensor) -> Tensor:
    """Mix 32 bits bijectively (multiply and xor-shift) in int64 arithmetic, whose low 32 bits wrap as unsigned ones."""
    x = x & _MASK32
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK32
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)


def _mix64(x: Tensor) -> Tensor:
    """Apply splitmix64's finaliser in int64 arithmetic, which wraps as unsigned integers do."""
    x = x + _GOLDEN
    x = (x ^ _shifted(x, 30)) * _FACTOR1
    x = (x ^ _shifted(x, 27)) * _FACTOR2
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Return x shifted right as an unsigned integer."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _feistel(values: Tensor, half: int, keys: list[int]) -> Tensor:
    mask = (1 << half) - 1
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mix64(right ^ key) & mask)
    return (left << half) | right
