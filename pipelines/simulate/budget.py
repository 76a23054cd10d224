"""The entropy budget: which share of the genome is what, and what a reader who knows it all would pay."""

import math
from dataclasses import dataclass

from dnamamba.pipelines.simulate.base_process import ISOCHORE_GC, ISOCHORE_SHARE, entropy
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.copies import INDEL_RATIO
from dnamamba.pipelines.simulate.library import FAMILIES
from dnamamba.pipelines.simulate.oracle import copy_cost, letter_error
from dnamamba.pipelines.simulate.repeats import mean_length, waves
from dnamamba.pipelines.simulate.tandem import IMPURITY, MICRO_MEAN, MINI_COPIES, MINI_UNITS
from dnamamba.pipelines.simulate.tree import TARGETS, expected_substitutions

_LINEAGE = expected_substitutions(TARGETS[-1]) / 2
_INDEL_BITS = 7.0  # to name where an alignment goes on after an indel: its kind and length


@dataclass(frozen=True)
class Source:
    """One kind of sequence."""

    name: str
    share: float
    """Share of the ancestral genome."""
    bits: float
    """Bits a base of a reader who knows the process, the library and the map of the private families."""


def _diverged(divergence: float, length: float, choices: float, starts: float) -> float:
    """Bits a base of a copy: its substitutions and indels, and once a copy where it begins and which piece it is."""
    p = divergence + _LINEAGE
    letters = -(1 - p) * math.log2(1 - p) - p * math.log2(p / 3)
    naming = (math.log2(choices) + math.log2(1 / starts)) / length
    return min(letters + p * INDEL_RATIO * _INDEL_BITS + naming, 2.0)


def entropy_budget(config: SimulateConfig) -> list[Source]:
    """Every source with its share and its oracle's cost: a floor for any reader of one genome, to a few percent.

    Unique DNA costs the entropy of its Markov chain with the GC domain known; a repeat, its divergence from a known
    consensus and the naming of the copy; a tandem array, its first unit and the wear of the others; a private copy,
    what `oracle.copy_cost` says of two earlier copies in the contig, three in four copies having any.
    """
    sources = []
    strands = 2.0
    for family in FAMILIES:
        here = [w for w in waves(config.repeats) if w.family is family]
        share = sum(w.share for w in here)
        if share:
            length = mean_length(family)
            choices = strands * len(here) * (family.consensus if family.truncation else 1)
            cost = sum(w.share * _diverged(w.divergence, length, choices, share / length) for w in here) / share
            sources.append(Source(family.name, share, cost))
    unit = sum(MINI_UNITS) / 2
    for name, share, first, length in (
        ("microsatellites", config.microsatellites, 3.0, float(MICRO_MEAN)),
        ("minisatellites", config.minisatellites, unit, unit * MINI_COPIES),
    ):
        if share:
            worn = _diverged(IMPURITY, length, unit, share / length)
            sources.append(Source(name, share, (1.9 * first + worn * (length - first)) / length))
    error = letter_error(config)
    if config.far_share:
        bits = 0.25 * copy_cost(0, error) + 0.75 * copy_cost(2, error)
        sources.append(Source("private families", config.far_share, bits))
    unique = sum(s * entropy(float(gc), config.cpg) for gc, s in zip(ISOCHORE_GC, ISOCHORE_SHARE, strict=True))
    sources.append(Source("unique DNA", 1.0 - sum(s.share for s in sources), unique))
    return sources
