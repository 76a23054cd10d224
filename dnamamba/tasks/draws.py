"""Random numbers that are a pure function of counters: any sample at any place, on any device, the same numbers."""

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit numbers (held in int64) whose output bits all depend on all input bits.

    Source: Wellons, Prospecting for Hash Functions (2018), lowbias32.
    """
    x = (x ^ (x >> 16)) * 0x7FEB352D & _MASK  # int64 products wrap around, which leaves the low 32 bits right
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK
    return x ^ (x >> 16)


def random_bits(seed: int, stream: int, *counters: Tensor) -> Tensor:
    """32 random bits for each combination of the counters.

    Args:
        seed: of the run.
        stream: tells uses apart that share seed and counters.
        counters: int64 tensors of whole numbers in 0..2^32 - 1 that broadcast together.

    Returns:
        int64 in 0..2^32 - 1, in the counters' joint shape and on their device.
    """
    total = torch.zeros((), dtype=torch.int64, device=counters[0].device)
    salt = _GOLDEN * (1 + stream) + seed * 0x85EBCA6B & _MASK
    for place, counter in enumerate(counters):
        part = counter
        # Mixed before they meet, since sums would make one sample a shifted copy of another; and each counter another
        # number of times, since equal values of two of them would cancel out.
        for _ in range(place + 1):
            part = _mix((part * _GOLDEN + salt) & _MASK)
        total = total ^ part
    return _mix(total)


def random_below(n: int, bits: Tensor) -> Tensor:
    """Whole numbers in 0..n - 1 from 32 random bits; equal shares but for n / 2^32."""
    return bits * n >> 32
