"""Families private to one contig, their copies at log-uniform distances: what makes far context pay.

Every contig has families of its own, drawn afresh, so a family met in training says nothing about a test contig: only
an earlier copy in the same contig does. A copy lies at a distance from the one before it that is log-uniform in
[2^8, 2^20), so each doubling of the context brings the same share of copies into sight.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.base_process import draw, transition
from dnamamba.pipelines.simulate.copies import diverged_copies
from dnamamba.pipelines.simulate.intervals import Ints, positions
from dnamamba.pipelines.simulate.streams import stream

Bytes = npt.NDArray[np.uint8]

NEAREST, FARTHEST = 8, 20
"""Log2 of the shortest and the longest distance between neighbouring copies, start to start, in bases."""
COPY_LENGTH = (160, 480)
"""Shortest and longest family, bases; log-uniform. Families with near copies are cut to the nearest distance."""
MEAN_COPIES = 5
"""Mean copies a family, two at least."""
GC, CPG = 0.41, 0.25
_CELL = 32  # bases to a cell of the map of taken places
_TRIES = 8


@dataclass(frozen=True)
class FarCopies:
    """The map of a contig's private families, in order of position."""

    family: Ints
    """Family of each copy, [K]."""
    start: Ints
    """First base, 0-based, [K]."""
    length: Ints
    """Bases, [K]."""
    previous: Ints
    """Index of the family's copy before this one, -1 for its first, [K]."""

    def distances(self) -> Ints:
        """Start-to-start distance to the copy before, for all copies that have one."""
        later = self.previous >= 0
        return self.start[later] - self.start[self.previous[later]]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> int:
    return int(np.exp(rng.uniform(np.log(low), np.log(high))))


def place_families(seed: int, contig: int, length: int, share: float) -> FarCopies:
    """Choose families, their lengths and the places of their copies, so that `share` of the contig is covered.

    A chain of distances is drawn first and its place in the contig second, so that long distances are as likely as
    short ones wherever the contig can hold them. Copies never overlap; a distance that lands on a taken place is drawn
    again.

    Args:
        seed, contig: whose random streams to use.
        length: bases in the contig.
        share: share of the contig to cover.
    """
    rng = stream(seed, "far families", contig)
    taken = np.zeros(length // _CELL + 2, bool)
    farthest = min(2.0**FARTHEST, length / 2)
    rows: list[tuple[int, int, int, int]] = []  # family, start, length, row of the copy before
    wanted, covered, family = share * length, 0, 0
    # A contig too short for two copies has no private family; the limit ends the search in a contig that is full.
    limit = 4 * int(wanted / (MEAN_COPIES * COPY_LENGTH[0]) + 8) if farthest > 2**NEAREST else 0
    while covered < wanted and family < limit:
        size = _log_uniform(rng, *COPY_LENGTH)
        steps = [_log_uniform(rng, 2**NEAREST, farthest) for _ in range(1 + int(rng.geometric(1 / (MEAN_COPIES - 1))))]
        span = sum(steps)
        while len(steps) > 1 and span > length * 0.75:
            span -= steps.pop()
        size = min(size, *(step - _CELL for step in steps))  # so that no copy runs into the next one of its family
        start, before = int(rng.integers(0, max(length - span - size, 1))), -1
        for step in [0, *steps]:
            for _ in range(_TRIES):
                at = start + step
                long = size if before < 0 else min(size, step - _CELL)
                free = at + long <= length and not taken[at // _CELL : (at + long - 1) // _CELL + 1].any()
                if free:
                    break
                # A first copy moves on to a place near by; a later one draws another distance.
                step = _log_uniform(rng, 2**NEAREST, farthest) if before >= 0 else int(rng.integers(0, 4096))
            if not free:
                break
            taken[at // _CELL : (at + long - 1) // _CELL + 1] = True
            rows.append((family, at, long, before))
            before, start = len(rows) - 1, at
            covered += long
        family += 1
    table = np.array(rows, np.int64).reshape(-1, 4)
    order = np.argsort(table[:, 1], kind="stable")
    rank = np.append(np.argsort(order), -1)  # the last entry answers for "no copy before"
    return FarCopies(table[order, 0], table[order, 1], table[order, 2], rank[table[order, 3]])


def sow_far_families(
    seed: int, contig: int, bases: Bytes, masked: npt.NDArray[np.bool_], share: float, divergence: float
) -> FarCopies:
    """Write the private families into a contig, in place, and say where they are.

    They stay upper case, as real low-copy duplications do: no library that made the soft mask knows them.

    Args:
        seed, contig: whose random streams to use.
        bases: bases 0..3, uint8 [L]. masked: soft mask, bool [L]. Both are changed.
        share: share of the contig to cover.
        divergence: substitutions a site between each ancestral copy and its family's consensus.
    """
    found = place_families(seed, contig, len(bases), share)
    if not len(found.start):
        return found
    rng = stream(seed, "far copies", contig)
    families = int(found.family.max()) + 1
    longest = COPY_LENGTH[1]
    consensus = draw(rng, np.zeros(families * longest, np.int64), transition(GC, CPG)[None])
    made = diverged_copies(
        rng,
        consensus,
        found.family * longest,
        found.length,
        np.zeros(len(found.start), bool),
        np.full(len(found.start), divergence),
    )
    # A deletion leaves the place's own bases at the end of the copy; an insertion never makes it longer than its place.
    to = positions(found.start, made.lengths)
    bases[to] = made.bases
    masked[positions(found.start, found.length)] = False
    return found
