"""The true alignment of a contig: one column a base that any species ever had, with who has it.

Insertions get columns of their own before anything evolves, deletions only take a species out of a column. So every
genome of the tree is one row of the same length, and the leaves' genomes come out by dropping the columns they lack.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.copies import DELETIONS, INDEL_RATIO, indel_lengths
from dnamamba.pipelines.simulate.intervals import Ints, offsets, positions
from dnamamba.pipelines.simulate.tree import N_NODES, ROOT, GeneTrees

Bytes = npt.NDArray[np.uint8]

ALL = np.uint8(0b11111)


@dataclass(frozen=True)
class Insertions:
    """New sequence in some species, each before one base of the ancestor."""

    before: Ints
    """Position in the ancestor, [K]."""
    length: Ints
    """Bases, [K]."""
    members: Bytes
    """Species that carry it, as sets, [K]."""

    def __add__(self, other: "Insertions") -> "Insertions":
        return Insertions(
            np.concatenate([self.before, other.before]),
            np.concatenate([self.length, other.length]),
            np.concatenate([self.members, other.members]),
        )


@dataclass(frozen=True)
class Columns:
    """Where ancestral bases and insertions stand in the alignment."""

    ancestor: Ints
    """Column of each ancestral base, [L]."""
    inserted: Ints
    """First column of each insertion, in the order given, [K]."""
    total: int


def lay_out(length: int, insertions: Insertions) -> Columns:
    """Give every ancestral base and every insertion its columns."""
    order = np.argsort(insertions.before, kind="stable")
    sizes = insertions.length[order]
    extra = np.bincount(insertions.before, weights=insertions.length, minlength=length + 1)
    ancestor = np.arange(length) + np.cumsum(extra[:length]).astype(np.int64)
    inserted = np.empty(len(order), np.int64)
    inserted[order] = insertions.before[order] + offsets(sizes)
    return Columns(ancestor, inserted, length + int(insertions.length.sum()))


def small_indels(
    rng: np.random.Generator, trees: GeneTrees, bounds: Ints
) -> tuple[Insertions, tuple[Ints, Ints, Bytes]]:
    """Draw small insertions and deletions on every branch of every gene tree.

    Args:
        trees: the gene trees of the loci.
        bounds: ends of the loci in the ancestor, [K + 1].

    Returns:
        The insertions, and the deletions as (first base, length, species that lose them).
    """
    sizes = np.diff(bounds)
    parts: list[tuple[Ints, Bytes]] = []
    for node in range(N_NODES):
        if node == ROOT:
            continue
        k = rng.poisson(sizes * trees.branch(node) * INDEL_RATIO)
        locus = np.repeat(np.arange(len(sizes)), k)
        at = bounds[locus] + (rng.random(len(locus)) * sizes[locus]).astype(np.int64)
        parts.append((at, trees.members[locus, node]))
    at = np.concatenate([p[0] for p in parts])
    members = np.concatenate([p[1] for p in parts])
    length = indel_lengths(rng, len(at))
    lost = rng.random(len(at)) < DELETIONS
    return Insertions(at[~lost], length[~lost], members[~lost]), (at[lost], length[lost], members[lost])


def presence(columns: Columns, insertions: Insertions, deletions: tuple[Ints, Ints, Bytes]) -> Bytes:
    """Which species have each column, as sets, uint8 [total]."""
    has = np.full(columns.total, ALL, np.uint8)
    has[positions(columns.inserted, insertions.length)] = np.repeat(insertions.members, insertions.length)
    start, length, losers = deletions
    gone = positions(start, length)
    inside = gone < len(columns.ancestor)
    # Unbuffered: two species may lose the same base.
    np.bitwise_and.at(has, columns.ancestor[gone[inside]], ~np.repeat(losers, length)[inside])
    return has
