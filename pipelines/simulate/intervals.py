"""Many intervals at once: their positions end to end, without a Python loop."""

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def positions(starts: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> Ints:
    """Every position of the intervals [start, start + length), interval after interval.

    Args:
        starts: first position of each interval, [K].
        lengths: bases in each interval, [K], 0 or more.

    Returns:
        int64 [sum of lengths].
    """
    lengths = np.asarray(lengths, np.int64)
    ends = np.cumsum(lengths)
    if not len(ends):
        return np.zeros(0, np.int64)
    shift = np.asarray(starts, np.int64) - (ends - lengths)
    every: Ints = np.arange(ends[-1], dtype=np.int64) + np.repeat(shift, lengths)
    return every


def offsets(lengths: npt.NDArray[Any]) -> Ints:
    """Where each interval begins when they are laid end to end: the running sum of `lengths`, from 0, [K]."""
    sizes: Ints = np.asarray(lengths, np.int64)
    return np.cumsum(sizes) - sizes


def batches(lengths: npt.NDArray[Any], limit: int) -> list[slice]:
    """Cut [K] intervals into runs that hold about `limit` bases each, so that memory does not grow with a contig."""
    total = np.cumsum(np.asarray(lengths, np.int64))
    if not len(total):
        return []
    cuts = np.unique(np.append(np.searchsorted(total, np.arange(limit, total[-1], limit)), len(total)))
    return [slice(int(a), int(b)) for a, b in zip(np.append(0, cuts[:-1]), cuts, strict=True) if b > a]
