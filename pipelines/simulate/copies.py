"""Diverged copies of a consensus: substitutions with CpG decay, small indels, either strand."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.intervals import Ints, offsets, positions

Bytes = npt.NDArray[np.uint8]

INDEL_RATIO = 1 / 8
"""Small indels a substitution: about 5 million indels beside 35 million substitutions, human-chimp (CSAC 2005)."""
DELETIONS = 0.6
"""Share of the small indels that are deletions."""
INDEL_POWER, INDEL_LONGEST = 1.8, 60
"""P(length) ~ length ** -power up to the longest: 45% of small indels are of one base, nearly all under 20."""
CPG_EXCESS = 10.0
"""How much faster a CpG decays than the element as a whole, while the copy ages."""
TRANSITIONS = 0.65
"""Share of transitions among the substitutions outside CpG."""


def indel_lengths(rng: np.random.Generator, size: int) -> Ints:
    """Lengths of small indels, int64 [size], in bases, 1 or more."""
    weights = np.arange(1, INDEL_LONGEST + 1) ** -INDEL_POWER
    return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], rng.random(size)) + 1


@dataclass(frozen=True)
class Copies:
    """Sequences of many copies end to end."""

    bases: Bytes
    """uint8 [total], 0..3."""
    lengths: Ints
    """Bases of each copy, [K]."""
    source: Ints
    """Position in the library that each base descends from, [total]."""


def diverged_copies(
    rng: np.random.Generator,
    library: Bytes,
    start: Ints,
    length: Ints,
    reverse: npt.NDArray[np.bool_],
    divergence: npt.NDArray[np.float64],
) -> Copies:
    """Copy pieces of the library, each with an age.

    An indel moves the reading position: forward (a deletion) or back (a tandem duplication, the usual insertion), so
    that the rest of the copy stays in frame with its consensus. Bases read past the piece's ends are left out.

    Args:
        library: consensus bases 0..3, uint8 [M].
        start: first base of each piece in the library, [K].
        length: bases of each piece, [K].
        reverse: the copy lies on the other strand, [K].
        divergence: substitutions a site that each copy has had since it was made, [K].
    """
    owner = np.repeat(np.arange(len(length)), length)
    age = divergence.astype(np.float32)[owner]
    u = rng.random(len(owner), np.float32)
    hit = np.flatnonzero(u < age * np.float32(INDEL_RATIO))
    jump = indel_lengths(rng, len(hit))
    jump[u[hit] >= age[hit] * (INDEL_RATIO * DELETIONS)] *= -1
    drift = np.zeros(len(owner) + 1, np.int64)
    drift[hit + 1] = jump
    drift = np.cumsum(drift)[:-1]
    first = offsets(length)
    drift -= np.repeat(drift[np.minimum(first, max(len(drift) - 1, 0))], length) if len(owner) else 0
    step = positions(np.zeros(len(length), np.int64), length) + drift
    inside = (step >= 0) & (step < np.repeat(length, length))
    owner, step, age = owner[inside], step[inside], age[inside]
    source = start[owner] + np.where(reverse[owner], length[owner] - 1 - step, step)
    bases = library[source]

    is_c, is_g = library == 1, library == 2
    of_cpg = np.zeros(len(library), bool)
    of_cpg[:-1] = is_c[:-1] & is_g[1:]
    of_cpg[1:] |= of_cpg[:-1] & is_g[1:]
    # A CpG decays by transition (b ^ 2 turns A<->G, C<->T); 1 - exp saturates as an old CpG does.
    rate = np.where(of_cpg[source], 1 - np.exp(-CPG_EXCESS * age), age)
    u = rng.random(len(owner), np.float32)
    hit = np.flatnonzero(u < rate)
    kind = u[hit] / rate[hit]
    change = np.where(kind < TRANSITIONS, 2, np.where(kind < (1 + TRANSITIONS) / 2, 1, 3)).astype(np.uint8)
    change[of_cpg[source[hit]]] = 2
    bases[hit] ^= change
    # A CpG that arose on the way decays as well, over the half of the age that was left on average.
    young = np.flatnonzero((bases[:-1] == 1) & (bases[1:] == 2) & ~of_cpg[source[:-1]])
    decays = 1 - np.exp(-CPG_EXCESS * age[young] / 2)
    u = rng.random(len(young), np.float32)
    bases[young[u < decays / 2]] = 3
    bases[young[(u >= decays / 2) & (u < decays)] + 1] = 0
    bases = np.where(reverse[owner], 3 - bases, bases).astype(np.uint8)
    return Copies(bases, np.bincount(owner, minlength=len(length)).astype(np.int64), source)
