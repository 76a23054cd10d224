"""Unique DNA: a Markov chain over bases with the human genome's dinucleotide preferences, in GC domains."""

from functools import cache

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.streams import stream

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

# Isochore families L1, L2, H1, H2, H3: GC content, share of the genome (rounded from Costantini et al. 2006).
ISOCHORE_GC = np.array([0.355, 0.390, 0.430, 0.490, 0.555])
ISOCHORE_SHARE = np.array([0.20, 0.37, 0.29, 0.11, 0.03])
ISLAND = len(ISOCHORE_GC)  # the level after the isochores: CpG islands
ISLAND_GC, ISLAND_CPG = 0.65, 0.80
ISLAND_SHARE, ISLAND_LENGTH = 0.007, 1000  # Gardiner-Garden & Frommer 1987; Lander et al. 2001: 28,890 islands

# Observed over expected dinucleotides (rows: first base, A C G T), near Karlin & Burge 1995; CpG: the config's.
RELATIVE_ABUNDANCE = np.array(
    [
        [1.13, 0.84, 1.17, 0.87],
        [1.21, 1.23, 0.23, 1.17],
        [1.03, 1.01, 1.23, 0.84],
        [0.73, 1.03, 1.21, 1.13],
    ]
)


@cache
def transition(gc: float, cpg: float) -> Floats:
    """Conditional probabilities P(next | base), [4, 4], that keep a GC content and both strands alike.

    Args:
        gc: share of G and C in the stationary distribution.
        cpg: CpG observed over expected.

    Source: iterative proportional fitting (Deming & Stephan 1940) of the dinucleotide table to the base composition.
    """
    base = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    wanted = RELATIVE_ABUNDANCE.copy()
    wanted[1, 2] = cpg
    joint: Floats = np.outer(base, base) * wanted
    for _ in range(100):
        joint *= (base / joint.sum(axis=1))[:, None]
        joint *= base / joint.sum(axis=0)
        joint[1, 2] = cpg * base[1] * base[2]  # the fit may move every entry but the one that is promised
    rows: Floats = joint.sum(axis=1, keepdims=True)
    return joint / rows


def entropy(gc: float, cpg: float) -> float:
    """Bits a base of the chain: what a reader who knows everything but the future still has to pay."""
    p = transition(gc, cpg)
    base = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    return float(-(base[:, None] * p * np.log2(p)).sum())


def draw(rng: np.random.Generator, levels: npt.NDArray[np.int64], tables: Floats) -> Bytes:
    """Draw a chain whose transition table changes along the way.

    Many stretches are drawn side by side, each from its own stationary start, so numpy walks length / 512 steps.

    Args:
        levels: which table governs each base, [L].
        tables: transition tables, [number of levels, 4, 4].

    Returns:
        Bases 0..3 (A C G T), uint8 [L].
    """
    length = len(levels)
    lanes = max(1, min(length // 64, 1 << 15, length >> 9 if length > 1 << 16 else 128))
    steps = -(-length // lanes)
    padded = np.zeros(lanes * steps, np.int64)
    padded[:length] = levels
    lane_levels = np.ascontiguousarray(padded.reshape(lanes, steps).T)  # [steps, lanes]
    bounds = np.cumsum(tables, axis=2)[:, :, :3].astype(np.float32).reshape(-1, 3)
    u = rng.random((steps, lanes), np.float32)
    bases = np.empty((steps, lanes), np.uint8)
    last = np.minimum(rng.random(lanes) * 4, 3).astype(np.int64)
    for step in range(steps):
        row = bounds[lane_levels[step] * 4 + last]
        last = (u[step][:, None] > row).sum(axis=1)
        bases[step] = last
    return np.ascontiguousarray(bases.T).reshape(-1)[:length]


def domains(rng: np.random.Generator, length: int, mean_length: int) -> npt.NDArray[np.int64]:
    """The level of each base, int64 [length]: isochores of exponential length, with CpG islands set into them."""
    lengths = rng.exponential(mean_length, size=int(length / mean_length * 2) + 20).astype(np.int64) + 1
    while lengths.sum() < length:
        lengths = np.append(lengths, rng.exponential(mean_length, size=20).astype(np.int64) + 1)
    levels = np.repeat(rng.choice(len(ISOCHORE_GC), size=len(lengths), p=ISOCHORE_SHARE), lengths)[:length]
    for start in rng.integers(0, length, size=rng.poisson(length * ISLAND_SHARE / ISLAND_LENGTH)):
        levels[start : start + int(rng.exponential(ISLAND_LENGTH - 200)) + 200] = ISLAND
    return levels


def level_gc() -> Floats:
    """GC content of every level, isochores first, then the CpG islands."""
    return np.append(ISOCHORE_GC, ISLAND_GC)


def level_tables(cpg: float) -> Floats:
    """Transition tables of every level, [6, 4, 4]; `cpg` holds outside the islands."""
    return np.stack([transition(float(gc), cpg) for gc in ISOCHORE_GC] + [transition(ISLAND_GC, ISLAND_CPG)])


def unique_dna(
    seed: int, contig: int, length: int, cpg: float, mean_domain: int
) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """The unique part of an ancestral contig.

    Args:
        seed: the simulation's seed; `contig` the contig's number.
        length: bases.
        cpg: CpG observed over expected outside islands.
        mean_domain: mean length of a GC domain, bases.

    Returns:
        Bases 0..3, uint8 [length], and the level of each base, int64 [length].
    """
    levels = domains(stream(seed, "gc domains", contig), length, mean_domain)
    return draw(stream(seed, "unique dna", contig), levels, level_tables(cpg)), levels
