"""What the machine allows: bytes a second of a large copy, exponentials a second, and what a scan needs of both."""

from functools import cache

import torch

from dnamamba.bench.clock import median_seconds, once

COPIED = {"cuda": 2**30, "cpu": 2**28}
"""Bytes of the copy: past every cache."""
STATES = 16


@cache
def bandwidth(device: str) -> float:
    """Bytes a second, read and written together, of a large copy."""
    source = torch.ones(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)

    seconds = median_seconds(copy, device) if device == "cuda" else min(once(copy, device) for _ in range(10))
    return 2 * source.numel() / seconds


@cache
def exponentials(device: str) -> float:
    """Exponentials a second where nothing else is computed: the special-function units', or our CPU polynomial's."""
    if device == "cuda":
        from dnamamba.bench import triton_exponentials  # at first use: it imports Triton, the other numba

        return triton_exponentials.exponentials_a_second()
    from dnamamba.bench import cpu_exponentials

    return cpu_exponentials.exponentials_a_second()


def scan_limits(
    batch: int, channels: int, length: int, dtype: torch.dtype, device: str
) -> dict[str, tuple[float, float]]:
    """Seconds of a forward and of a backward scan by exponentials alone and by bytes alone; nothing recomputed.

    Forward an exponential a state and step and four more in softplus and gate; backward twice those of the states.
    Bytes: each input and output once.
    """
    elements, rows = batch * length * channels, batch * length * STATES
    rate, moved = exponentials(device), bandwidth(device) / dtype.itemsize
    return {
        "exponentials": (elements * (STATES + 4) / rate, elements * (2 * STATES + 4) / rate),
        "bytes": ((4 * elements + 2 * rows) / moved, (7 * elements + 4 * rows) / moved),
    }
