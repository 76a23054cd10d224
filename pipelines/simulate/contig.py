"""One contig of all five species: ancestor, gene trees, evolution, and the five sequences with their true alignment."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.alignment import Columns, lay_out, presence, small_indels
from dnamamba.pipelines.simulate.base_process import unique_dna
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.far_repeats import FarCopies, sow_far_families
from dnamamba.pipelines.simulate.intervals import Ints, positions
from dnamamba.pipelines.simulate.library import Library
from dnamamba.pipelines.simulate.repeats import sow_repeats
from dnamamba.pipelines.simulate.spectrum import LINEAGE_FACTORS, SiteShares, rates_for, site_shares, substitute
from dnamamba.pipelines.simulate.streams import stream
from dnamamba.pipelines.simulate.tandem import sow_tandem
from dnamamba.pipelines.simulate.tree import N_LEAVES, N_NODES, ROOT, SPECIES, GeneTrees, clade_span, gene_trees
from dnamamba.pipelines.simulate.young import draw_young, write_young

Bytes = npt.NDArray[np.uint8]

_LETTERS = np.frombuffer(b"ACGTacgt", np.uint8)
_GAP = (100, 2_000)


@dataclass(frozen=True)
class Ancestor:
    """A contig of the common ancestor."""

    bases: Bytes
    """Bases 0..3, uint8 [L]."""
    masked: npt.NDArray[np.bool_]
    """Soft mask: interspersed and tandem repeats, [L]."""
    far: FarCopies
    """Map of the private families."""


def make_ancestor(config: SimulateConfig, library: Library, index: int) -> Ancestor:
    """Grow the ancestral contig: unique DNA in GC domains, repeats from old to young, tandem arrays, far families."""
    length = config.contig_lengths()[index]
    bases, levels = unique_dna(config.seed, index, length, config.cpg, config.gc_domain)
    later = config.microsatellites + config.minisatellites + config.far_share
    masked = sow_repeats(config.seed, index, bases, levels, library, config.repeats, later)
    sow_tandem(config.seed, index, bases, masked, config.microsatellites, config.minisatellites)
    far = sow_far_families(config.seed, index, bases, masked, config.far_share, config.far_divergence)
    return Ancestor(bases, masked, far)


@dataclass(frozen=True)
class SimulatedContig:
    """A contig of every species, with all that really happened to it."""

    name: str
    config: SimulateConfig
    index: int
    leaves: Bytes
    """Bases 0..3 of each species in each alignment column, uint8 [5, columns]; no meaning where it lacks the column."""
    has: Bytes
    """Species that have each column, as sets, uint8 [columns]."""
    masked: npt.NDArray[np.bool_]
    """Soft mask of each column."""
    columns: Columns
    ancestor: Ancestor
    trees: GeneTrees
    bounds: Ints
    """Ends of the loci in the ancestor, [K + 1]."""

    def present(self, species: int) -> npt.NDArray[np.bool_]:
        """Columns that one species has."""
        return (self.has >> species & 1).astype(bool)

    def gaps(self, species: int, length: int) -> tuple[Ints, Ints]:
        """Start and length of each run of N in one species' sequence."""
        rng = stream(self.config.seed, "gaps", self.index, species)
        k = int(rng.poisson(self.config.gaps_per_mb * length / 1e6))
        size = np.exp(rng.uniform(np.log(_GAP[0]), np.log(_GAP[1]), size=k)).astype(np.int64)
        start = (rng.random(k) * np.maximum(length - size, 1)).astype(np.int64)
        return start, np.minimum(size, length - start)

    def sequence(self, species: int) -> Bytes:
        """One species' sequence as an assembly has it: letters, repeats in lower case, gaps as runs of N. uint8 [L]."""
        present = self.present(species)
        coded = self.leaves[species][present] | (self.masked[present].astype(np.uint8) << 2)
        letters: Bytes = _LETTERS[coded]
        letters[positions(*self.gaps(species, len(letters)))] = ord("N")
        return letters

    def far_copies(self, species: int) -> FarCopies:
        """The map of the private families in one species' own positions; copies that it lost have length 0."""
        rank = np.append(0, np.cumsum(self.present(species)))
        far = self.ancestor.far
        start = rank[self.columns.ancestor[far.start]]
        end = rank[self.columns.ancestor[far.start + far.length - 1] + 1]
        return FarCopies(far.family, start, end - start, far.previous)


def _locus_bounds(config: SimulateConfig, index: int, length: int) -> Ints:
    rng = stream(config.seed, "loci", index)
    cuts = np.unique(rng.integers(1, length, size=max(int(length / config.locus) - 1, 0)))
    return np.concatenate([[0], cuts, [length]]).astype(np.int64)


def _evolve(
    config: SimulateConfig, index: int, root: Bytes, shares: SiteShares, trees: GeneTrees, bounds: Ints
) -> Bytes:
    """Run substitutions down every gene tree; rows of the species, uint8 [5, columns]."""
    rows = np.empty((N_NODES, len(root)), np.uint8)
    rows[ROOT] = root
    common = rates_for(shares)
    edges = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    for node in range(ROOT - 1, -1, -1):  # parents are older, so they come first
        row = rows[node]
        for (a, b), parent in zip(edges, trees.parent[:, node].tolist(), strict=True):
            row[a:b] = rows[parent, a:b]
        branch = trees.branch(node)
        own, rates = 0.0, common
        if node < N_LEAVES:
            own = clade_span(SPECIES[node])[1] / 2
            rates = rates_for(shares, LINEAGE_FACTORS[node])
        expected = (branch - own)[:, None] * common + own * rates
        substitute(stream(config.seed, "substitutions", index, node), row, bounds, expected)
    return rows[:N_LEAVES].copy()


def simulate_contig(config: SimulateConfig, library: Library, index: int) -> SimulatedContig:
    """Make contig number `index` (from 0) of all five species. Depends on nothing but the config and the number.

    Memory: 50 to 55 bytes a base of the contig at its peak.
    """
    ancestor = make_ancestor(config, library, index)
    length = len(ancestor.bases)
    bounds = _locus_bounds(config, index, length)
    trees = gene_trees(stream(config.seed, "gene trees", index), len(bounds) - 1)
    small, deletions = small_indels(stream(config.seed, "indels", index), trees, bounds)
    young = draw_young(config, library, index, length)
    insertions = sum((y.places for y in young), start=small)
    columns = lay_out(length, insertions)

    root = np.zeros(columns.total, np.uint8)
    root[columns.ancestor] = ancestor.bases
    masked = np.ones(columns.total, bool)
    masked[columns.ancestor] = ancestor.masked
    # A small insertion is a tandem duplication of what stands before it, and is masked as its place is.
    n_small = len(small.before)
    new = positions(columns.inserted[:n_small], small.length)
    root[new] = ancestor.bases[np.maximum(positions(small.before - small.length, small.length), 0)]
    masked[new] = np.repeat(ancestor.masked[small.before], small.length)

    column_bounds = np.append(columns.ancestor[bounds[:-1]], columns.total)
    column_bounds[0] = 0
    leaves = _evolve(config, index, root, site_shares(ancestor.bases), trees, column_bounds)
    write_young(config, index, young, columns.inserted[n_small:], leaves)
    has = presence(columns, insertions, deletions)
    return SimulatedContig(f"chr{index + 1}", config, index, leaves, has, masked, columns, ancestor, trees, bounds)
