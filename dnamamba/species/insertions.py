"""Sequence that a genome has and others lack at the same place, found by the gaps between words that both have once.

What tells close species apart stands for the most part in insertions that one of them got after the split, and these
are rare: two of the apes' young repeats in a window of 300 kb. Windows laid over them teach what they look like many
times faster than windows laid anywhere.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.pipelines.words import hashed, words
from dnamamba.species.region import Region

Ints = NDArray[np.int64]

WORD = 24
"""Bases of a landmark: with 3% divergence half of all words of 24 agree."""
LEAST = 40
"""Bases that a genome must have more than the other between two landmarks."""
LONGEST = 20_000
"""Landmarks further apart than this say nothing: an assembly gap, an inversion, another locus."""
_ONE_IN = 8
"""Of all words one in so many is a landmark, chosen by the word itself, so that all genomes choose the same ones."""
_MOST = 2**21
"""Landmarks of one region, about: of longer regions fewer are chosen."""
_AT_ONCE = 2**22
_NEIGHBOURS = 21
"""Landmarks that agree on how far two genomes are moved against each other, but for `_APART` bases."""
_APART = 64


class Insertion(NamedTuple):
    """Bases of one region, 0-based, half-open, in the contig's numbers."""

    region: Region
    start: int
    end: int


class _Landmarks(NamedTuple):
    codes: NDArray[np.uint64]
    """Words that occur once, rising."""
    places: Ints
    """Where each begins, from the region's start."""


def find_insertions(
    regions: Sequence[Region], assemblies: Sequence[AssemblyLike], classes: int
) -> list[list[Insertion]]:
    """What each class has and at least half of the others lack.

    A locus is compared class by class with the first region that the other class has of it. An insertion is as exact
    as landmarks are dense: to some 16 bases in contigs of up to 16 Mb, 300 in those of 250 Mb. Deletions in half of the
    others look the same, and so do tandem repeats that grew.

    Args:
        regions: of the part that is trained on.
        assemblies: of the run.
        classes: how many.

    Returns:
        A list a class, in the order of loci and places.
    """
    found: list[list[Insertion]] = [[] for _ in range(classes)]
    ordered = sorted(regions, key=lambda region: region.locus)  # stable: regions of a class keep their order
    with ThreadPoolExecutor() as pool:  # numpy lets go of the interpreter
        for _, members in groupby(ordered, key=lambda region: region.locus):
            locus = list(members)
            first = {region.label: region for region in reversed(locus)}
            if len(first) < 2:
                continue
            longest = max(region.end - region.start for region in locus)
            one_in = max(_ONE_IN, 1 << (-(-longest // _MOST) - 1).bit_length())
            landmarks = pool.map(lambda region, n=one_in: _landmarks(region, assemblies, n), locus)
            known = dict(zip(locus, landmarks, strict=True))
            pairs = [[known[other] for label, other in first.items() if label != region.label] for region in locus]
            gaps = [
                [pool.submit(_longer_gaps, known[region], other) for other in others]
                for region, others in zip(locus, pairs, strict=True)
            ]
            for region, longer in zip(locus, gaps, strict=True):
                found[region.label] += [
                    Insertion(region, region.start + start, region.start + end)
                    for start, end in _covered([one.result() for one in longer], -(-len(longer) // 2))
                ]
    return found


def _landmarks(region: Region, assemblies: Sequence[AssemblyLike], one_in: int) -> _Landmarks:
    codes, places = [], []
    for start in range(region.start, region.end, _AT_ONCE):
        span = slice(start, min(start + _AT_ONCE + WORD - 1, region.end))
        here, whole = words(np.take(DNA.table, assemblies[region.assembly][region.contig, span]), WORD)
        chosen = np.flatnonzero(whole & (hashed(here, 32) % np.uint64(one_in) == 0))
        codes.append(here[chosen])
        places.append(chosen + (start - region.start))
    every = np.concatenate(codes)
    values, first, count = np.unique(every, return_index=True, return_counts=True)
    return _Landmarks(values[count == 1], np.concatenate(places)[first[count == 1]])


def _longer_gaps(ours: _Landmarks, theirs: _Landmarks) -> list[tuple[int, int]]:
    """Stretches between neighbouring landmarks that are longer here than there by LEAST or more."""
    _, mine, other = np.intersect1d(ours.codes, theirs.codes, assume_unique=True, return_indices=True)
    order = np.argsort(ours.places[mine])
    here, there = ours.places[mine][order], theirs.places[other][order]
    if len(here) < 2:
        return []
    moved = there - here
    around = np.lib.stride_tricks.sliding_window_view(np.pad(moved, _NEIGHBOURS // 2, mode="edge"), _NEIGHBOURS)
    # A landmark that its neighbours do not bear out is a repeat with one copy in each genome, at another place.
    agree = np.abs(moved - np.median(around, axis=1)) <= _APART
    here, there = here[agree], there[agree]
    long, short = np.diff(here), np.diff(there)
    at = np.flatnonzero((long - short >= LEAST) & (short >= 0) & (long <= LONGEST))
    middle = WORD // 2
    return [(int(here[i]) + middle, int(here[i + 1]) + middle) for i in at]


def _covered(gaps: Sequence[Sequence[tuple[int, int]]], least: int) -> list[tuple[int, int]]:
    """Stretches that lie in at least so many of some lists of stretches."""
    steps = sorted([(start, 1) for one in gaps for start, _ in one] + [(end, -1) for one in gaps for _, end in one])
    found: list[tuple[int, int]] = []
    depth, began = 0, None
    for at, step in steps:  # at one place ends come before starts
        depth += step
        if began is None and depth >= least:
            began = at
        elif began is not None and depth < least:
            found.append((began, at))
            began = None
    return found
