"""The great-ape species tree, its published divergences, and gene trees that differ from it.

Heights are in expected substitutions a site between two present sequences (twice the time back, times the rate), so the
height at which two lineages meet is the divergence of that pair. Branch lengths are half of a height difference.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

SPECIES = ("human", "chimpanzee", "bonobo", "gorilla", "orangutan")
LATIN = ("Homo sapiens", "Pan troglodytes", "Pan paniscus", "Gorilla gorilla", "Pongo abelii")

N_LEAVES = len(SPECIES)
N_NODES = 2 * N_LEAVES - 1
ROOT = N_NODES - 1

CLADES = {name: 1 << i for i, name in enumerate(SPECIES)} | {"pan": 0b00110}
"""Clades that have young repeat subfamilies of their own, as sets of species (bit i is SPECIES[i])."""

# Share of sites that differ between two genomes, as published; the simulated pairs must land within 10% of each.
PUBLISHED: dict[tuple[str, str], dict[str, float]] = {
    ("human", "chimpanzee"): {"CSAC 2005": 0.0123, "Chen & Li 2001": 0.0124, "Scally 2012": 0.0137},
    ("human", "bonobo"): {"Pruefer 2012": 0.013},
    ("chimpanzee", "bonobo"): {"Pruefer 2012": 0.004},
    ("human", "gorilla"): {"Chen & Li 2001": 0.0162, "Scally 2012": 0.0175},
    ("chimpanzee", "gorilla"): {"Chen & Li 2001": 0.0163},
    ("human", "orangutan"): {"Chen & Li 2001": 0.0308, "Scally 2012": 0.0340},
    ("chimpanzee", "orangutan"): {"Chen & Li 2001": 0.0312},
    ("gorilla", "orangutan"): {"Chen & Li 2001": 0.0309},
}
# Between the published values, so that each of them is met: chimpanzee-bonobo, human-Pan, African apes, all.
TARGETS = (0.0040, 0.0129, 0.0168, 0.0322)


def expected_substitutions(observed: float) -> float:
    """Height that makes a share of sites differ: sites hit twice hide some, and CpG sites grow rarer on the way.

    Both factors are measured on the simulator itself (docs/simulator.md, "Divergence").
    """
    return observed * 1.045 * (1.0 + 1.05 * observed)


@dataclass(frozen=True, kw_only=True)
class Population:
    """An ancestral species: from its own split to the older one above it."""

    members: int
    """Its descendants, as a set of species."""
    split: float
    """Height at which it splits, substitutions a site between a pair."""
    diversity: float
    """Mean height above the split at which two of its lineages meet (4 N mu)."""


def great_apes() -> tuple[Population, ...]:
    """The ancestral populations, youngest first.

    Splits and diversities solve for the mean pairwise divergences of `TARGETS` and for the share of incomplete lineage
    sorting: 30% among human, chimpanzee and gorilla (Scally 2012), 3.3% of either kind within Pan (Pruefer 2012). A
    share f of discordant loci means an internal branch of T = ln(2 / (3 f)) coalescent units.
    """
    pan, human, african, ape = (expected_substitutions(x) for x in TARGETS)
    units = np.log(2.0 / (3.0 * 0.30))
    # human = split + diversity and african = next split + diversity when both ancestors are equally diverse.
    diversity = (african - human) / units
    human_split, african_split = human - diversity, african - diversity
    # Pan: T units of its own diversity below the human split; the lineages that do not meet there meet above it.
    pan_units = np.log(2.0 / (3.0 * 0.033))
    late = np.exp(-pan_units)
    # pan = split + d (1 - late) + late * diversity, split = human_split - pan_units * d
    pan_diversity = (human_split + late * diversity - pan) / (pan_units - 1.0 + late)
    pan_split = human_split - pan_units * pan_diversity
    return (
        Population(members=0b00110, split=pan_split, diversity=pan_diversity),
        Population(members=0b00111, split=human_split, diversity=diversity),
        Population(members=0b01111, split=african_split, diversity=diversity),
        Population(members=0b11111, split=ape - diversity, diversity=diversity),
    )


def clade_span(clade: str) -> tuple[float, float]:
    """Heights between which a clade was a species of its own; a present species begins at 0."""
    members = CLADES[clade]
    inside = [p.split for p in great_apes() if p.members == members]
    above = min(p.split for p in great_apes() if p.members & members == members and p.members != members)
    return (inside[0] if inside else 0.0), above


@dataclass(frozen=True)
class GeneTrees:
    """One gene tree a locus. Nodes 0..4 are the species, 5..7 the inner nodes by age, 8 the root."""

    parent: npt.NDArray[np.int64]
    """Parent of each node, [K loci, 9]; the root's own is -1."""
    height: Floats
    """Height of each node, [K, 9]; 0 for a species."""
    members: Bytes
    """Species below each node as a set, [K, 9]."""

    def branch(self, node: int) -> Floats:
        """Substitutions a site along the branch above `node`, in each locus, [K]."""
        above = self.height[np.arange(len(self.height)), self.parent[:, node]]
        return (above - self.height[:, node]) / 2.0

    def closest_pair(self) -> npt.NDArray[np.int64]:
        """Which two of human, chimpanzee and gorilla meet first: 0 human-chimp, 1 human-gorilla, 2 chimp-gorilla."""
        heights = np.stack([self.meeting(a, b) for a, b in ((0, 1), (0, 3), (1, 3))])
        first: npt.NDArray[np.int64] = np.argmin(heights, axis=0)
        return first

    def meeting(self, first: int, second: int) -> Floats:
        """Height of the youngest node above both species, in each locus, [K]."""
        pair = (1 << first) | (1 << second)
        lowest: Floats = np.where(self.members & pair == pair, self.height, np.inf).min(axis=1)
        return lowest


def gene_trees(rng: np.random.Generator, loci: int) -> GeneTrees:
    """Draw the genealogy of one genome a species at each of `loci` independent loci.

    Within a population every pair of lineages meets at rate 1 / diversity; lineages that have not met by the older
    split go on in the population above it. The apes' tree is a caterpillar, so nodes come out in order of age.

    Source: Hudson, Gene genealogies and the coalescent process (1990); the multispecies coalescent.
    """
    rows = np.arange(loci)
    members = np.zeros((loci, N_NODES), np.uint8)
    members[:, :N_LEAVES] = 1 << np.arange(N_LEAVES)
    parent = np.full((loci, N_NODES), -1, np.int64)
    height = np.zeros((loci, N_NODES))
    free = np.zeros((loci, N_NODES), bool)  # lineages that have not met another yet
    free[:, :N_LEAVES] = True
    made = np.full(loci, N_LEAVES)
    populations = great_apes()
    ends = [p.split for p in populations[1:]] + [np.inf]
    for population, end in zip(populations, ends, strict=True):
        now = np.full(loci, population.split)
        for _ in range(N_LEAVES - 1):
            inside = free & (members & ~np.uint8(population.members) == 0)
            n = inside.sum(axis=1)
            now = now + rng.exponential(size=loci) * population.diversity / np.maximum(n * (n - 1) / 2, 1)
            order = np.argsort(np.where(inside, rng.random(inside.shape), 2.0), axis=1)
            meets = (n >= 2) & (now < end)
            at, new, a, b = rows[meets], made[meets], order[meets, 0], order[meets, 1]
            parent[at, a] = parent[at, b] = new
            height[at, new] = now[meets]
            members[at, new] = members[at, a] | members[at, b]
            free[at, a] = free[at, b] = False
            free[at, new] = True
            made[at] += 1
    return GeneTrees(parent, height, members)
