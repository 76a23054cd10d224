"""What a simulated genome turned out to be: divergences, gene trees, composition. Counted as the contigs go by."""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.contig import SimulatedContig
from dnamamba.pipelines.simulate.oracle import CONTEXTS, far_bits, gain_table, letter_error
from dnamamba.pipelines.simulate.tree import PUBLISHED, SPECIES

_N_SPECIES = len(SPECIES)


def pair_counts(contig: SimulatedContig, first: int, second: int) -> tuple[int, int]:
    """Sites that differ, and sites that both species have, over the true alignment."""
    both = (contig.has >> first & contig.has >> second & 1).astype(bool)
    differ = (contig.leaves[first] != contig.leaves[second]) & both
    return int(np.count_nonzero(differ)), int(np.count_nonzero(both))


@dataclass
class Measured:
    """Running totals over the contigs of one simulation."""

    config: SimulateConfig
    differ: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((_N_SPECIES, _N_SPECIES), np.int64))
    aligned: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((_N_SPECIES, _N_SPECIES), np.int64))
    closest: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    bases: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_N_SPECIES, np.int64))
    lower: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_N_SPECIES, np.int64))
    far: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((_N_SPECIES, len(CONTEXTS))))

    def add(self, contig: SimulatedContig) -> None:
        """Count one contig of all species."""
        error = letter_error(self.config)
        for a, b in combinations(range(_N_SPECIES), 2):
            differ, aligned = pair_counts(contig, a, b)
            self.differ[a, b] += differ
            self.aligned[a, b] += aligned
        closest = np.bincount(contig.trees.closest_pair(), weights=np.diff(contig.bounds), minlength=3)
        self.closest += closest.astype(np.int64)
        for species in range(_N_SPECIES):
            present = contig.present(species)
            self.bases[species] += np.count_nonzero(present)
            self.lower[species] += np.count_nonzero(present & contig.masked)
            self.far[species] += far_bits(contig.far_copies(species), error)

    def divergence(self, first: int, second: int) -> float:
        """Share of the sites two species share that differ between them."""
        a, b = min(first, second), max(first, second)
        return float(self.differ[a, b] / max(self.aligned[a, b], 1))

    def incomplete_sorting(self) -> float:
        """Share of bases where human and chimpanzee are not the closest two of human, chimpanzee and gorilla."""
        return float(self.closest[1:].sum() / max(self.closest.sum(), 1))

    def report(self, species: int) -> dict[str, Any]:
        """What the store keeps beside one species' genome, as JSON can hold it."""
        others = {}
        for other in range(_N_SPECIES):
            if other != species:
                a, b = min(other, species), max(other, species)
                others[SPECIES[other]] = {
                    "simulated": round(self.divergence(species, other), 6),
                    "published": PUBLISHED.get((SPECIES[a], SPECIES[b]), {}),
                }
        return {
            "divergence": others,
            "incomplete_lineage_sorting": round(self.incomplete_sorting(), 4),
            "soft_masked": round(float(self.lower[species] / max(self.bases[species], 1)), 4),
            "context_gain": gain_table(self.far[species], int(self.bases[species])),
        }
