"""Interspersed repeats of the ancestor: how many copies of each subfamily, where, how long, how old."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.base_process import level_gc
from dnamamba.pipelines.simulate.copies import diverged_copies
from dnamamba.pipelines.simulate.intervals import Ints, batches, positions
from dnamamba.pipelines.simulate.library import FAMILIES, Family, Library
from dnamamba.pipelines.simulate.streams import stream

Bytes = npt.NDArray[np.uint8]

AGE_SPREAD = 0.2
"""Standard deviation of the ages within a subfamily, as a share of its mean."""
_SUBFAMILY_SHARES = {1: (1.0,), 2: (0.5, 0.5), 3: (0.25, 0.5, 0.25)}  # the middle ones lead, as AluS and L1PB do
BATCH = 1 << 20
"""Bases of copies made at once."""


@dataclass(frozen=True, kw_only=True)
class Wave:
    """One subfamily's burst of insertions."""

    entry: str
    family: Family
    divergence: float
    share: float
    """Share of the ancestral genome still to be seen after younger waves have covered some of it."""


def waves(total_share: float) -> list[Wave]:
    """Every subfamily, oldest first."""
    found = []
    for family in FAMILIES:
        for k, divergence in enumerate(family.divergence):
            share = total_share * family.share * _SUBFAMILY_SHARES[len(family.divergence)][k]
            found.append(Wave(entry=f"{family.name}.{k}", family=family, divergence=divergence, share=share))
    return sorted(found, key=lambda wave: -wave.divergence)


def _lengths(rng: np.random.Generator, family: Family, k: int) -> tuple[Ints, Ints]:
    """Start in the element and length of each copy."""
    whole = np.full(k, family.consensus)
    if not family.truncation:
        return np.zeros(k, np.int64), whole
    length = np.minimum(40 + rng.exponential(family.truncation - 40, size=k).astype(np.int64), whole)
    # Reverse transcription begins at the 3' end and stops early; old pieces lie anywhere.
    start = (rng.random(k) * (whole - length)).astype(np.int64) if family.fragment else whole - length
    return start, length


def mean_length(family: Family) -> float:
    """Mean length of a family's copies, bases."""
    if not family.truncation:
        return float(family.consensus)
    decay = family.truncation - 40.0
    return 40.0 + decay * (1.0 - math.exp(-(family.consensus - 40.0) / decay))


def sow_repeats(
    seed: int, contig: int, bases: Bytes, levels: Ints, library: Library, total_share: float, later_share: float
) -> npt.NDArray[np.bool_]:
    """Write the ancestral repeats into a contig, in place, oldest first: a younger copy interrupts an older one.

    Args:
        seed, contig: whose random streams to use.
        bases: the contig's bases 0..3, uint8 [L]; changed in place.
        levels: GC level of each base, [L].
        library: the consensus sequences.
        total_share: share of the contig that shows an interspersed repeat in the end.
        later_share: share that other features will cover afterwards.

    Returns:
        Which bases are repeats, bool [L].
    """
    length = len(bases)
    masked = np.zeros(length, bool)
    gc = level_gc()
    plan = waves(total_share)
    covered_later = later_share + np.append(np.cumsum([w.share for w in plan[::-1]])[::-1][1:], 0.0)
    for number, (wave, later) in enumerate(zip(plan, covered_later, strict=True)):
        rng = stream(seed, "repeats", contig, number)
        # Random copies leave exp(-x) of the contig bare, so this x shows the wave's share after all that follow.
        amount = -np.log1p(-wave.share / (1.0 - later))
        k = int(rng.poisson(amount * length / mean_length(wave.family)))
        start, size = _lengths(rng, wave.family, k)
        place = rng.integers(0, max(length - 1, 1), size=k)
        if wave.family.prefers_gc:
            other = rng.integers(0, max(length - 1, 1), size=k)
            better = (gc[levels[other]] - gc[levels[place]]) * wave.family.prefers_gc > 0
            place = np.where(better, other, place)
        reverse = rng.random(k) < 0.5
        age = wave.divergence * np.maximum(1.0 + AGE_SPREAD * rng.standard_normal(k), 0.1)
        at = library.names.index(wave.entry)
        for part in batches(size, BATCH):
            made = diverged_copies(
                rng, library.bases, library.start[at] + start[part], size[part], reverse[part], age[part]
            )
            to = positions(place[part], made.lengths)
            fits = to < length
            bases[to[fits]] = made.bases[fits]
            masked[to[fits]] = True
    return masked
