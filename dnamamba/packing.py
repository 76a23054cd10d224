"""Packing: what is too short for a window of its own is laid end to end and cut into windows.

In every epoch a stretch of DNA leaves a head, a tail, or (when shorter than the context) all of itself. These pieces,
in an order drawn anew each epoch, follow one another in an endless stream, epoch after epoch; packed window number p is
bases [p * context, (p + 1) * context) of it. So no base is lost and none is padding, and where p lies is a closed form.
"""

from dataclasses import dataclass

import numpy as np

from dnamamba.sampling import Int64, hash_indices


@dataclass(frozen=True)
class PackedEpoch:
    """The pieces of one epoch in stream order."""

    stretch: Int64
    """Index of the stretch each piece comes from, [n_pieces]."""
    start: Int64
    """First base of each piece, counted in its contig."""
    border: Int64
    """Where each piece begins in the epoch's stream, then the stream's length, [n_pieces + 1]."""

    def cut(self, first: int, last: int) -> tuple[Int64, Int64, Int64]:
        """Bases [first, last) of the epoch's stream as (stretch, start, end) of each piece or part of one."""
        lowest = int(np.searchsorted(self.border, first, side="right")) - 1
        highest = int(np.searchsorted(self.border, last, side="left"))
        here = slice(lowest, highest)
        begin = np.maximum(self.border[here], first)
        finish = np.minimum(self.border[lowest + 1 : highest + 1], last)
        offset = self.start[here] - self.border[here]
        return self.stretch[here], offset + begin, offset + finish


def pack_epoch(start: Int64, end: Int64, window_start: Int64, window_end: Int64, key: int) -> PackedEpoch:
    """Order one epoch's pieces: all of every stretch that no full window covers.

    Args:
        start: first base of each stretch in its contig, [n].
        end: base after its last, [n].
        window_start: first base of its run of full windows, [n]; equal to `window_end` where it has none.
        window_end: base after that run, [n].
        key: of this epoch; it fixes the order of the pieces.
    """
    n = len(start)
    stretch = np.concatenate([np.arange(n), np.arange(n)])
    begin = np.concatenate([start, window_end])
    length = np.concatenate([window_start, end]) - begin
    order = np.argsort(hash_indices(np.arange(2 * n), key), kind="stable")
    order = order[length[order] > 0]
    border = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(length[order], out=border[1:])
    return PackedEpoch(stretch[order], begin[order], border)
