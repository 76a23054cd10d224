"""Which DNA a training sample reads: a pure function of (seed, stage, global sample number).

An epoch of a source covers each of its bases exactly once. Stretches are tiled with windows whose borders move from
epoch to epoch; what the tiling leaves at both ends is packed (packing.py). The windows of an epoch come in the order of
a keyed permutation, and sources take turns by weight in closed form, so nothing has to be remembered or replayed to
resume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dnamamba.errors import InputError
from dnamamba.packing import PackedEpoch, pack_epoch
from dnamamba.sampling import Int64, below, choose, coin, hash_indices, hash_pairs, key_of, permute
from dnamamba.stretches import Stretches

# Purposes that keys are drawn for; the numbers are part of the window order, so they never change.
_SOURCE, _EPOCH, _PHASE, _PACK, _STRAND, _REDRAW = range(6)

# From this many windows on, a stretch gives one up so that the borders of the others can move freely.
FREE_PHASE_WINDOWS = 4


# Layouts of packed epochs that are kept for the next window; a window rarely spans more than two.
PACKED_EPOCHS_KEPT = 4


class Piece(NamedTuple):
    """Consecutive bases of one contig, 0-based and half-open."""

    assembly: int
    contig: str
    start: int
    end: int


class Window(NamedTuple):
    """What one training sample reads: pieces end to end, as many bases as the context; more than one when packed."""

    pieces: tuple[Piece, ...]
    reverse: bool
    """Read from the other strand: the whole window reversed and complemented."""


@dataclass(frozen=True)
class Source:
    """Stretches that are sampled as one, every base as likely as any other."""

    name: str
    """For messages."""
    stretches: Stretches
    weight: float
    """Share of all windows, relative to the other sources."""


class WindowIndex:
    """All windows of one source at one context. Memory: a few numbers a stretch, none a window."""

    def __init__(self, source: Source, context: int, key: int) -> None:
        """Lay the windows out.

        Raises:
            InputError: the source has fewer bases than one window.
        """
        length = source.stretches.length
        self.bases = source.stretches.bases
        if self.bases < context:
            served = 1 << (self.bases.bit_length() - 1) if self.bases else 0
            longest = int(length.max(initial=0))
            raise InputError(
                f"{source.name}: its training part holds {self.bases:,} bases (longest stretch {longest:,}), less "
                "than one window "
                f"of the context {context:,}; contexts up to {served:,} can be served, with contigs shorter than the "
                "context packed"
            )
        self.context, self.key, self.stretches = context, key, source.stretches
        full = length // context
        # A phase of at least half a window moves every border; short stretches keep their few windows instead.
        full -= (length - full * context < context // 2) & (full >= FREE_PHASE_WINDOWS)
        self._full, self._slack = full, length - full * context
        self._last = np.cumsum(full)
        self.n_full = int(self._last[-1])
        self._packed_bases = self.bases - self.n_full * context  # of one epoch
        self._bound = -(-self.bases // context) + 1
        self._packed: dict[int, PackedEpoch] = {}

    @property
    def packed_share(self) -> float:
        """Share of the bases that packed windows read, the rest being read in windows of one piece."""
        return self._packed_bases / self.bases

    def locate(self, numbers: Int64, attempt: int = 0) -> list[tuple[Piece, ...]]:
        """The pieces of each of the source's samples, numbered from 0 without end.

        Args:
            numbers: of the samples within this source, [n].
            attempt: 0 for the sample itself; 1, 2 ... for the windows that stand in for one that is mostly N.
        """
        epoch = ((numbers + 1) * self.context - 1) // self.bases  # the inverse of `begin` below
        begin, end = (epoch * self.bases) // self.context, ((epoch + 1) * self.bases) // self.context
        size, slot = end - begin, numbers - begin
        if attempt:
            slot = below(hash_pairs(numbers, np.full_like(numbers, attempt), key_of(self.key, _REDRAW)), size)
        window = permute(slot, size, hash_indices(epoch, key_of(self.key, _EPOCH)), self._bound)
        row = np.searchsorted(self._last, window, side="right")
        at = np.minimum(row, len(self._full) - 1)
        start = self._phase_start(at, epoch) + (window - (self._last[at] - self._full[at])) * self.context
        packed_before = begin - epoch * self.n_full
        located: list[tuple[Piece, ...]] = []
        for i, stretch in enumerate(at.tolist()):
            if window[i] < self.n_full:
                located.append((self._piece(stretch, int(start[i]), int(start[i]) + self.context),))
            else:
                located.append(self._packed_window(int(packed_before[i] + window[i]) - self.n_full))
        return located

    def _phase_start(self, stretch: Int64, epoch: Int64) -> Int64:
        """Where the full windows of a stretch begin in an epoch."""
        hashes = hash_pairs(stretch, epoch, key_of(self.key, _PHASE))
        return self.stretches.start[stretch] + below(hashes, self._slack[stretch] + 1)

    def _packed_epoch(self, epoch: int) -> PackedEpoch:
        if epoch not in self._packed:
            if len(self._packed) >= PACKED_EPOCHS_KEPT:
                self._packed.clear()
            self._packed[epoch] = self._pack(epoch)
        return self._packed[epoch]

    def _pack(self, epoch: int) -> PackedEpoch:
        rows = np.arange(len(self.stretches))
        start = self._phase_start(rows, np.full_like(rows, epoch))
        start = np.where(self._full > 0, start, self.stretches.start)
        key = key_of(self.key, _PACK, epoch)
        return pack_epoch(self.stretches.start, self.stretches.end, start, start + self._full * self.context, key)

    def _packed_window(self, number: int) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        at, last = number * self.context, (number + 1) * self.context
        while at < last:
            epoch, first = divmod(at, self._packed_bases)
            until = min(self._packed_bases, first + last - at)
            for stretch, start, end in zip(
                *(x.tolist() for x in self._packed_epoch(epoch).cut(first, until)), strict=True
            ):
                pieces.append(self._piece(stretch, start, end))
            at += until - first
        return tuple(pieces)

    def _piece(self, stretch: int, start: int, end: int) -> Piece:
        return Piece(int(self.stretches.assembly[stretch]), self.stretches.contig[stretch], start, end)


class WindowOrder:
    """The windows of one curriculum stage, numbered from 0 without end."""

    def __init__(
        self, sources: Sequence[Source], context: int, *, seed: int, stage: int, reverse_complement: bool = True
    ) -> None:
        """Lay out every source.

        Args:
            sources: at least one; weights need not add up to 1.
            context: window length in bases.
            seed: of the whole run.
            stage: of the curriculum; every stage has an order of its own.
            reverse_complement: read about half of the windows, chosen by a keyed coin, from the other strand.

        Raises:
            InputError: no source, a weight that is not positive, or a source with less than one window.
        """
        if not sources:
            raise InputError("no training windows: there is no store to train on")
        for source in sources:
            if not (0 < source.weight < float("inf")):
                raise InputError(f"{source.name}: its weight must be above 0, got {source.weight:g}")
        self.context = context
        self._key = key_of(seed, stage)
        self._weights = [source.weight for source in sources]
        self._reverse_complement = reverse_complement
        self.indices = tuple(
            WindowIndex(source, context, key_of(seed, stage, number)) for number, source in enumerate(sources)
        )

    def windows(self, samples: Int64, attempt: int = 0) -> list[Window]:
        """The window of each global sample number, [n]. `attempt` as in WindowIndex.locate."""
        source, number = choose(samples, self._weights, key_of(self._key, _SOURCE))
        reverse = coin(samples, key_of(self._key, _STRAND)) & self._reverse_complement
        pieces: list[tuple[Piece, ...]] = [()] * len(samples)
        for s, index in enumerate(self.indices):
            mine = np.flatnonzero(source == s)
            if mine.size:
                for i, located in zip(mine.tolist(), index.locate(number[mine], attempt), strict=True):
                    pieces[i] = located
        return [Window(*pair) for pair in zip(pieces, reverse.tolist(), strict=True)]
