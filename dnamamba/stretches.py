"""Stretches: the runs of DNA that training windows are laid on. Parts of the split, long gaps of N taken out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dnamamba.pipelines.splits import AssemblyLike, SplitRegion
from dnamamba.sampling import Int64

N_BLOCK = 1024
"""Bases that one entry of a store's `n_count` speaks for."""


@dataclass(frozen=True)
class Stretches:
    """Runs of DNA, one row each; a window never leaves its row. Positions are 0-based, intervals half-open."""

    assembly: Int64
    """Index of the assembly, [n]."""
    contig: tuple[str, ...]
    """Name of the contig, n of them."""
    start: Int64
    end: Int64

    def __len__(self) -> int:
        return len(self.contig)

    @property
    def length(self) -> Int64:
        """Bases of each stretch, [n]."""
        return self.end - self.start

    @property
    def bases(self) -> int:
        """Bases of all stretches."""
        return int(self.length.sum())


def lay_stretches(
    assemblies: Sequence[AssemblyLike], regions: Iterable[SplitRegion], context: int, *, leave_n_out: bool
) -> Stretches:
    """Turn regions of a split into stretches for windows of `context` bases.

    A gap is a run of 1,024-base blocks each more than half N. Gaps longer than half the context are cut out: a window
    across one would be more than half N wherever it lay. Shorter gaps stay and are read like any letters. Stretches
    shorter than the context that are more than half gap are left out whole. What is still N-rich is found when a window
    is read.

    Args:
        assemblies: those that the regions name; rows refer to them by index.
        regions: in any order; regions of other assemblies are passed over.
        context: window length in bases.
        leave_n_out: false for alphabets without an N: nothing is cut.
    """
    index = {assembly.name: i for i, assembly in enumerate(assemblies)}
    sizes = [assembly.sizes for assembly in assemblies]
    rows: list[tuple[int, str, int, int]] = []
    for region in regions:
        if region.assembly not in index:
            continue
        which = index[region.assembly]
        if not leave_n_out:
            rows.append((which, region.contig, region.start, region.end))
            continue
        blocks = assemblies[which].n_count(region.contig)
        rows += [
            (which, region.contig, start, end)
            for start, end in _without_gaps(blocks, region.start, region.end, sizes[which][region.contig], context)
        ]
    table = np.array([(which, start, end) for which, _, start, end in rows], dtype=np.int64).reshape(-1, 3)
    return Stretches(table[:, 0], tuple(contig for _, contig, _, _ in rows), table[:, 1], table[:, 2])


def _without_gaps(
    n_count: np.ndarray[tuple[int, ...], np.dtype[np.uint16]], start: int, end: int, size: int, context: int
) -> list[tuple[int, int]]:
    first = start // N_BLOCK
    block_starts = np.arange(first, -(-end // N_BLOCK), dtype=np.int64) * N_BLOCK
    block_length = np.minimum(block_starts + N_BLOCK, size) - block_starts
    rich = 2 * n_count[first : first + len(block_starts)].astype(np.int64) > block_length
    if not rich.any():
        return [(start, end)]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rich, [False]]).astype(np.int8)))
    gap_start = np.maximum((first + edges[0::2]) * N_BLOCK, start)
    gap_end = np.minimum((first + edges[1::2]) * N_BLOCK, end)
    long = 2 * (edges[1::2] - edges[0::2]) * N_BLOCK > context
    starts = np.concatenate([[start], gap_end[long]])
    ends = np.concatenate([gap_start[long], [end]])
    kept = []
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        in_gaps = int(np.maximum(np.minimum(gap_end, b) - np.maximum(gap_start, a), 0).sum())
        if b > a and (b - a >= context or 2 * in_gaps <= b - a):
            kept.append((a, b))
    return kept
