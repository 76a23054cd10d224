"""The repeat library: consensus sequences of interspersed families, of subfamilies and of each lineage's young."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.base_process import draw, transition
from dnamamba.pipelines.simulate.streams import stream
from dnamamba.pipelines.simulate.tree import CLADES

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Family:
    """How a family of interspersed repeats looks before any copy is made."""

    name: str
    consensus: int
    """Length of the full element in bases."""
    share: float
    """Share of the ancestral genome, as a fraction of all interspersed repeats."""
    divergence: tuple[float, ...]
    """Mean divergence from its consensus of each subfamily, oldest first, at the ape ancestor."""
    gc: float
    """GC content of the consensus."""
    cpg: float
    """CpG observed over expected in the consensus, before the copies decay."""
    truncation: float = 0.0
    """Mean length of a 5'-truncated copy in bases; 0: copies are whole."""
    fragment: bool = False
    """Copies are pieces from anywhere in the element, as old ones are."""
    prefers_gc: int = 0
    """+1: copies lie more often in GC-rich DNA, -1: in AT-rich DNA."""
    tail: int = 0
    """Length of the poly-A tail, part of the consensus."""


# Shares from Lander et al. 2001, table 11 (Alu 10.6% of the genome, L1 16.9, L2 3.2, MIR 2.2, LTR 8.3, DNA 2.8: 45%);
# divergences from the same paper's figure 18 and Smit's classes, less the apes' own 1.6%.
FAMILIES = (
    Family("MIR", 260, 0.050, (0.25,), gc=0.44, cpg=0.3, fragment=True, truncation=140),
    Family("L2", 1_600, 0.072, (0.23,), gc=0.45, cpg=0.3, fragment=True, truncation=260),
    Family("DNA-a", 420, 0.032, (0.17,), gc=0.38, cpg=0.3, fragment=True, truncation=220),
    Family("DNA-b", 1_100, 0.032, (0.15,), gc=0.36, cpg=0.3, fragment=True, truncation=260),
    Family("LTR-a", 430, 0.105, (0.16, 0.11), gc=0.45, cpg=0.4, prefers_gc=-1),
    Family("LTR-b", 520, 0.080, (0.10,), gc=0.43, cpg=0.4, prefers_gc=-1),
    Family("L1", 6_100, 0.385, (0.18, 0.12, 0.07), gc=0.41, cpg=0.3, truncation=900, prefers_gc=-1, tail=20),
    Family("Alu", 290, 0.244, (0.13, 0.08, 0.04), gc=0.62, cpg=0.7, prefers_gc=1, tail=25),
)

DIAGNOSTIC = 0.03
"""Share of bases in which a subfamily's consensus differs from its parent's."""

# What the young subfamilies of a lineage descend from, with their share of its insertions (CSAC 2005: three in four of
# the human-specific ones are Alu) and the mean length of a truncated copy.
YOUNG = (("Alu", 0.75, 0), ("L1", 0.25, 900))


@dataclass(frozen=True)
class Library:
    """Consensus sequences end to end, with an index: entry e is bases[start[e] : start[e] + length[e]]."""

    bases: Bytes
    """Bases 0..3, uint8 [total]."""
    names: tuple[str, ...]
    """e.g. "Alu.2" (a subfamily, oldest first), "Alu.human" (young and private to a clade)."""
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]

    def entry(self, name: str) -> Bytes:
        """The consensus of one entry, bases 0..3, uint8."""
        at = self.names.index(name)
        return self.bases[self.start[at] : self.start[at] + self.length[at]]


def _consensus(rng: np.random.Generator, family: Family) -> Bytes:
    body = draw(rng, np.zeros(family.consensus, np.int64), transition(family.gc, family.cpg)[None])
    if family.name == "Alu":
        # Two related monomers with an A-rich linker, as in the real element (Ullu & Tschudi 1984).
        left, monomer = body[:130], body[:130].copy()
        changed = rng.random(130) < 0.25
        monomer[changed] = rng.integers(0, 4, size=int(changed.sum()))
        linker = np.array([0, 0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0], np.uint8)
        body = np.concatenate([left, linker, monomer, np.zeros(family.consensus, np.uint8)])[: family.consensus].copy()
    if family.tail:
        body[-family.tail :] = 0
    return body


def _descend(rng: np.random.Generator, parent: Bytes, share: float) -> Bytes:
    child = parent.copy()
    changed = np.flatnonzero(rng.random(len(parent)) < share)
    child[changed] = (child[changed] + rng.integers(1, 4, size=len(changed))) % 4
    return child


def make_library(seed: int, young_diagnostic: float) -> Library:
    """Draw the consensus of every family, subfamily and young lineage subfamily.

    Each subfamily descends from the one before it; the young ones of every clade descend from the family's youngest.

    Args:
        seed: the simulation's seed; the library does not depend on lengths or contigs.
        young_diagnostic: share of bases in which a lineage's own subfamily differs from its parent.
    """
    entries: dict[str, Bytes] = {}
    for i, family in enumerate(FAMILIES):
        rng = stream(seed, "consensus", i)
        consensus = _consensus(rng, family)
        for k in range(len(family.divergence)):
            consensus = consensus if k == 0 else _descend(rng, consensus, DIAGNOSTIC)
            entries[f"{family.name}.{k}"] = consensus
    for c, clade in enumerate(CLADES):
        for y, (name, _, _) in enumerate(YOUNG):
            parent = next(f for f in FAMILIES if f.name == name)
            youngest = entries[f"{name}.{len(parent.divergence) - 1}"]
            entries[f"{name}.{clade}"] = _descend(stream(seed, "young consensus", c, y), youngest, young_diagnostic)
    length = np.array([len(b) for b in entries.values()], np.int64)
    return Library(np.concatenate(list(entries.values())), tuple(entries), np.cumsum(length) - length, length)
