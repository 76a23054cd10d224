"""How well any reader can tell the species: one who knows the process and the libraries, but never saw the loci.

Two kinds of evidence stand in a stretch of L bases: young elements, each private to one clade, and the mutation
spectrum of the lineage, which shifts the counts of substitutions by a little. Formulae: docs/simulator.md, "Species".
"""

from itertools import product

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.base_process import ISOCHORE_SHARE, level_gc, transition
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.library import FAMILIES, YOUNG
from dnamamba.pipelines.simulate.repeats import waves
from dnamamba.pipelines.simulate.spectrum import LINEAGE_FACTORS, SiteShares, rates_for
from dnamamba.pipelines.simulate.streams import stream
from dnamamba.pipelines.simulate.tree import CLADES, SPECIES, clade_span
from dnamamba.pipelines.simulate.young import density

Floats = npt.NDArray[np.float64]

LENGTHS = tuple(2**k for k in range(8, 21))
"""Lengths at which the bound is stored, bases."""
_DRAWS = 4_000
# Shares of sites in a genome of the default config: measured, used only to weigh the spectrum.
_SITES = SiteShares(cpg=0.023, strong=0.385)


def recognisable(length: int, element: int, diagnostic: float) -> float:
    """Places, out of one start a base, at which a window shows enough of an element to name its clade.

    Enough is two diagnostic bases: one alone is as likely a mutation of one of the many old copies.

    Args:
        length: bases in the window. element: bases in the element.
        diagnostic: share of its bases that are diagnostic.
    """
    short = min(length, element)
    d = np.arange(1, short + 1)
    known = 1.0 - (1.0 - diagnostic) ** d - d * diagnostic * (1.0 - diagnostic) ** (d - 1)
    return float((abs(length - element) + 1) * known[-1] + 2 * known[:-1].sum())


def expected_elements(config: SimulateConfig, clade: str, length: int) -> float:
    """Mean number of a clade's elements that a window of `length` bases lets a reader name."""
    places = 0.0
    for name, share, truncation in YOUNG:
        whole = next(f.consensus for f in FAMILIES if f.name == name)
        if truncation:  # exponential lengths, in ten equal parts
            parts = 60 - np.log(1 - (np.arange(10) + 0.5) / 10) * (truncation - 60)
            sizes = np.minimum(parts, whole).astype(int)
        else:
            sizes = np.array([whole])
        places += share * float(np.mean([recognisable(length, int(s), config.young_diagnostic) for s in sizes]))
    return density(config, clade) * 1e-6 * places


def library_accuracy(config: SimulateConfig, length: int) -> float:
    """Best accuracy from the young elements alone, the species equally likely.

    For every set of clades seen: the chance of the likeliest species. Within a clade all species carry its elements at
    one density and the others never, so seen or not is all there is to know.
    """
    total = sum(max(column) for column in _seen_table(config, length).T)
    return float(total / len(SPECIES))


def _seen_table(config: SimulateConfig, length: int) -> Floats:
    """P(set of clades seen | species), [5, 2 ** clades]."""
    rows = []
    for species in range(len(SPECIES)):
        chance = 1 - np.exp(
            [-expected_elements(config, c, length) if members >> species & 1 else 0.0 for c, members in CLADES.items()]
        )
        rows.append([np.prod(np.where(seen, chance, 1 - chance)) for seen in product((0, 1), repeat=len(CLADES))])
    return np.array(rows)


def spectrum_means(config: SimulateConfig) -> Floats:
    """Where each species' evidence from its mutation spectrum is centred, in standard deviations at one base, [5, K].

    In old repeats a reader who knows the consensus sees every substitution: type k has a Poisson count a base of rate
    D_k + own_s (r_sk - r_k) f_k, where D_k is what the copies' age and the common part of the tree put there. In unique
    DNA only the dinucleotides shift, by own_s times the difference of flows; their information is that of a Markov
    chain, sum over ab of pi_ab (dP(b|a) / P(b|a))^2. Evidence over L bases is Gaussian with means times sqrt(L).
    """
    own = np.array([clade_span(name)[1] / 2 for name in SPECIES])
    sites = np.array([_SITES.cpg, _SITES.strong, 1 - _SITES.cpg - _SITES.strong])
    suffers = sites[[0, 1, 2, 1, 1, 2, 2]]
    common = rates_for(_SITES)
    excess = np.stack([rates_for(_SITES, f) for f in LINEAGE_FACTORS]) - common  # [5, 7]
    plan = waves(config.repeats)
    age = sum(w.share * w.divergence for w in plan) / max(sum(w.share for w in plan), 1e-9)
    seen = (age + 0.016) * common * suffers  # substitutions a repeat base of each type
    in_repeats = own[:, None] * excess * suffers / np.sqrt(np.maximum(seen, 1e-12)) * np.sqrt(config.repeats)
    unique = 1 - config.repeats
    gc = float(ISOCHORE_SHARE @ level_gc()[:-1])
    p = transition(gc, config.cpg)
    base = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    joint = base[:, None] * p
    in_unique = []
    for s in range(len(SPECIES)):
        flow = own[s] * _dinucleotide_flow(joint, excess[s])
        shift = flow - p * flow.sum(axis=1)[:, None]
        in_unique.append((shift / np.sqrt(joint)).ravel() * np.sqrt(unique))
    return np.concatenate([in_repeats, np.stack(in_unique)], axis=1)


def _dinucleotide_flow(joint: Floats, rates: Floats) -> Floats:
    """Change of the dinucleotide table for one unit of substitution at rates by type, [4, 4]."""
    flow = np.zeros((4, 4))
    for a, b in product(range(4), repeat=2):
        for first in (True, False):
            x = a if first else b
            strong = x in (1, 2)
            ts, one, three = (rates[1], rates[3], rates[4]) if strong else (rates[2], rates[5], rates[6])
            if (a, b) == (1, 2):
                ts = rates[0]
            for change, rate in ((2, ts), (1, one), (3, three)):
                amount = joint[a, b] * rate
                flow[a, b] -= amount
                flow[(a ^ change, b) if first else (a, b ^ change)] += amount
    return flow


def species_accuracy(config: SimulateConfig, length: int) -> float:
    """Best accuracy of any reader at `length` bases: young elements and spectrum together, species equally likely.

    The spectrum's part is Gaussian and is averaged over fixed draws (standard error under 0.002).
    """
    seen = _seen_table(config, length)  # [5, sets]
    means = spectrum_means(config) * np.sqrt(length)
    noise = stream(config.seed, "species bound").standard_normal((_DRAWS, means.shape[1]))
    correct = 0.0
    for species in range(len(SPECIES)):
        x = means[species] + noise
        log_p = x @ means.T - 0.5 * (means**2).sum(axis=1)  # [draws, 5], up to what is common
        weight = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        for outcome in np.flatnonzero(seen[species]):
            posterior = weight * seen[:, outcome]
            right = posterior.argmax(axis=1) == species
            correct += seen[species, outcome] * right.mean()
    return float(correct / len(SPECIES))


def bound_table(config: SimulateConfig) -> dict[str, list[float]]:
    """The table that the store keeps: lengths, and the best accuracy from the libraries alone and from all evidence."""
    library = [library_accuracy(config, n) for n in LENGTHS]
    both = [max(species_accuracy(config, n), at_least) for n, at_least in zip(LENGTHS, library, strict=True)]
    return {
        "length": [float(n) for n in LENGTHS],
        "library": [round(x, 4) for x in library],
        "library_and_spectrum": [round(x, 4) for x in both],
    }
