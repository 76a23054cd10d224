"""Substitution rates: six types and the CpG transition, and each lineage's own mutation spectrum."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

TYPES = ("CpG>TpG", "C>T", "A>G", "C>A", "C>G", "A>C", "A>T")
"""Both strands together: C>T stands for G>A too. C>T is outside CpG."""

# Rate of each type relative to the mean over the genome, per site that can suffer it; ts/tv about 2.1, and CpG
# transitions about ten times the genome's mean rate, as in apes (Nachman & Crowell 2000; Ebersberger et al. 2002).
RATES = np.array([10.0, 0.64, 0.46, 0.20, 0.22, 0.12, 0.12])

# Factors on the rates in each lineage since it split (rows: the species of tree.SPECIES). Real apes differ by some tens
# of percent in single types at most (Harris & Pritchard 2017; Goldberg & Harris 2022); of that size, not theirs.
LINEAGE_FACTORS = np.array(
    [
        [1.00, 1.18, 0.92, 1.00, 0.88, 1.06, 1.00],
        [1.10, 0.88, 1.00, 1.16, 1.00, 0.88, 1.12],
        [0.90, 1.00, 1.14, 0.88, 1.12, 1.00, 0.88],
        [0.94, 0.92, 1.00, 1.18, 1.18, 1.15, 1.00],
        [1.06, 1.03, 0.92, 0.85, 1.00, 1.15, 1.18],
    ]
)

# Target of each substitution: base ^ 2 is the transition, base ^ 1 turns A<->C and G<->T, base ^ 3 A<->T and C<->G.
_CHANGES = np.array([2, 1, 3], np.uint8)


@dataclass(frozen=True)
class SiteShares:
    """How much of a sequence can suffer each type."""

    cpg: float
    """Share of bases that are the C or the G of a CpG."""
    strong: float
    """Share of bases that are C or G outside CpG."""

    def mean_rate(self, rates: Floats) -> float:
        """Mean substitution rate a site for rates by type, [7]."""
        weak = 1.0 - self.cpg - self.strong
        in_cpg = rates[0] + rates[3] + rates[4]
        return float(self.cpg * in_cpg + self.strong * rates[[1, 3, 4]].sum() + weak * rates[[2, 5, 6]].sum())


def site_shares(bases: Bytes) -> SiteShares:
    """Count the classes of sites in a sequence of bases 0..3."""
    length = max(len(bases), 1)
    cpg = 2 * len(cpg_sites(bases)) / length
    return SiteShares(cpg, float(((bases == 1) | (bases == 2)).sum()) / length - cpg)


def cpg_sites(bases: Bytes) -> npt.NDArray[np.int64]:
    """Position of the C of every CpG."""
    return np.flatnonzero((bases[:-1] == 1) & (bases[1:] == 2))


def rates_for(shares: SiteShares, factors: Floats | None = None) -> Floats:
    """Rates by type, [7], scaled to one substitution a site in a genome with these shares of sites.

    Every lineage is scaled by itself, so that spectra differ and the clock does not.
    """
    rates = RATES if factors is None else RATES * factors
    return rates / shares.mean_rate(rates)


def substitute(rng: np.random.Generator, bases: Bytes, bounds: npt.NDArray[np.int64], expected: Floats) -> None:
    """Let substitutions fall on one branch, in place.

    Args:
        bases: bases 0..3, uint8 [L], changed in place.
        bounds: ends of the loci within `bases`, [K + 1], from 0 to L.
        expected: substitutions a site of each type (RATES' order) on this branch, in each locus, [K, 7].

    Branches are under 2% long: rates are those of the sequence at the branch's start, and a site hit twice on one
    branch changes once. What that hides is part of `tree.expected_substitutions`.
    """
    sizes = np.diff(bounds)
    # Outside the CpG process: three changes a base; weak bases (A, T) and strong ones (C, G) have rates of their own.
    weak, strong = expected[:, [2, 5, 6]], expected[:, [1, 3, 4]]
    most = np.maximum(weak.sum(axis=1), strong.sum(axis=1))
    hits = rng.poisson(sizes * most)
    locus = np.repeat(np.arange(len(sizes)), hits)
    at = bounds[locus] + (rng.random(len(locus)) * sizes[locus]).astype(np.int64)
    is_strong = (bases[at] == 1) | (bases[at] == 2)
    rates = np.where(is_strong[:, None], strong[locus], weak[locus])
    u = rng.random(len(locus)) * most[locus]
    steps = np.cumsum(rates, axis=1)
    kind = (u[:, None] >= steps).sum(axis=1)  # 3: a candidate that the site's own rate turns down
    # A strong site's transversion to the other strong base is C>G (base ^ 3); a weak site's base ^ 1 is A>C.
    real = kind < 3
    at, kind = at[real], kind[real]
    cpg = cpg_sites(bases)
    where = np.searchsorted(bounds, cpg, side="right") - 1
    decay = 1 - np.exp(-(expected[where, 0] - expected[where, 1]))
    on_c, on_g = rng.random(len(cpg)) < decay, rng.random(len(cpg)) < decay
    bases[at] ^= _CHANGES[kind]
    bases[cpg[on_c]] ^= 2
    bases[cpg[on_g] + 1] ^= 2
