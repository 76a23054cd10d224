"""Young insertions: each lineage's own subfamilies, sparse, nearly unchanged since they came."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.alignment import Insertions
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.copies import diverged_copies
from dnamamba.pipelines.simulate.intervals import Ints, offsets, positions
from dnamamba.pipelines.simulate.library import YOUNG, Library
from dnamamba.pipelines.simulate.streams import stream
from dnamamba.pipelines.simulate.tree import CLADES, SPECIES, clade_span

Bytes = npt.NDArray[np.uint8]


def density(config: SimulateConfig, clade: str) -> float:
    """Insertions of a clade's own subfamilies in a million bases."""
    return config.young_pan_per_mb if clade == "pan" else config.young_per_mb


@dataclass(frozen=True)
class YoungInsertions:
    """Young elements of one clade in one contig."""

    clade: str
    places: Insertions
    lengths: Ints
    """Bases of each element, [K]."""
    bases: Bytes
    """Their sequences end to end, 0..3, as at the clade's last common ancestor."""

    def in_species(self, rng: np.random.Generator, species: int) -> Bytes:
        """The sequences as one species has them: with the substitutions since the clade split, if it did."""
        split, _ = clade_span(self.clade)
        since = np.full(len(self.lengths), split / 2)
        if not split:
            return self.bases
        aged = self.bases.copy()
        hit = np.flatnonzero(rng.random(len(aged)) < np.repeat(since, self.lengths))
        aged[hit] = (aged[hit] + rng.integers(1, 4, size=len(hit))) % 4
        return aged


def draw_young(config: SimulateConfig, library: Library, contig: int, length: int) -> list[YoungInsertions]:
    """Draw every clade's insertions into one contig: when, where, which piece, which strand.

    An element comes at a time uniform over the clade's own span, so none is shared beyond the clade.
    """
    found = []
    for c, clade in enumerate(CLADES):
        rng = stream(config.seed, "young insertions", contig, c)
        k = int(rng.poisson(density(config, clade) * length / 1e6))
        low, high = clade_span(clade)
        age = (rng.uniform(low, high, size=k) - low) / 2
        which = rng.choice(len(YOUNG), size=k, p=[share for _, share, _ in YOUNG])
        entries = np.array([library.names.index(f"{name}.{clade}") for name, _, _ in YOUNG])[which]
        whole = library.length[entries]
        mean = np.array([m for _, _, m in YOUNG])[which]
        cut = np.minimum(60 + (rng.exponential(size=k) * (mean - 60)).astype(np.int64), whole)
        size = np.where(mean > 0, cut, whole)
        start = library.start[entries] + whole - size
        made = diverged_copies(rng, library.bases, start, size, rng.random(k) < 0.5, age)
        before = rng.integers(0, length, size=k)
        members = np.full(k, CLADES[clade], np.uint8)
        found.append(YoungInsertions(clade, Insertions(before, made.lengths, members), made.lengths, made.bases))
    return found


def write_young(config: SimulateConfig, contig: int, young: list[YoungInsertions], first: Ints, leaves: Bytes) -> None:
    """Write the elements into the rows of the species that have them.

    Args:
        first: first alignment column of each element, clade after clade, [sum of K].
        leaves: one row a species, uint8 [5, columns]; changed in place.
    """
    begin = offsets(np.array([len(y.lengths) for y in young]))
    for c, (elements, at) in enumerate(zip(young, begin, strict=True)):
        columns = positions(first[at : at + len(elements.lengths)], elements.lengths)
        for species in range(len(SPECIES)):
            if CLADES[elements.clade] >> species & 1:
                rng = stream(config.seed, "young aging", contig, c, species)
                leaves[species, columns] = elements.in_species(rng, species)
