"""What a perfect reader of far context would gain on the very targets of a sweep over simulated genomes.

The store keeps the simulator's whole configuration. The contigs of the targets are simulated again from it, this time
with the map of their private families, and checked against the store byte for byte.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.config import from_dict
from dnamamba.corpus import Corpus
from dnamamba.evaluate import Difference, compare
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.contig import SimulatedContig, simulate_contig
from dnamamba.pipelines.simulate.library import make_library
from dnamamba.pipelines.simulate.oracle import gain_at, letter_error
from dnamamba.pipelines.simulate.tree import SPECIES
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.sweep.targets import Context, Targets

LONGEST = 2**26
"""Contigs longer than this are not simulated again: it takes 55 bytes a base."""


class OraclePoint(NamedTuple):
    """One context."""

    gain: Difference
    """Bits a base gained over the context before."""
    total: Difference
    """Bits a base gained over the first context."""


class Oracle(NamedTuple):
    """The oracle's curve, or why there is none."""

    points: Mapping[Context, OraclePoint]
    note: str


def oracle_curve(corpus: Corpus, targets: Targets, seed: int = 0) -> Oracle | None:
    """Gains of a reader with the map of the private families, at the contexts and on the targets of a sweep.

    Args:
        corpus: its genomes must all be simulated; else there is no oracle and None is returned.
        targets: of the sweep.
        seed: of the bootstrap, over the same blocks as the models'.
    """
    genomes = {block.assembly: corpus.assemblies[block.assembly] for block in targets.blocks}
    if not all(genome.attributes.get("simulated") for genome in genomes.values()):
        return None
    pairs = sorted({(block.assembly, block.contig) for block in targets.blocks}, key=lambda one: (one[1], one[0]))
    longest = max(genomes[assembly].sizes[contig] for assembly, contig in pairs)
    if longest > LONGEST:
        return Oracle({}, f"no oracle: a contig of {longest:,} bases is not simulated again (at most {LONGEST:,})")
    numbers = np.arange(len(targets.blocks))
    bits = {context: np.zeros((len(targets.blocks), targets.size)) for context in targets.contexts}
    made: tuple[str, SimulatedContig] | None = None
    for assembly, contig in pairs:
        genome = genomes[assembly]
        config = from_dict(SimulateConfig, genome.attributes["provenance"]["config"])
        if made is None or made[0] != contig or made[1].config != config:
            made = contig, _simulate(config, contig)
        species = SPECIES.index(genome.attributes["provenance"]["species"])
        if not _same(genome, contig, made[1].sequence(species)):
            return Oracle({}, f"no oracle: {genome.name}, {contig} comes out otherwise with this version of numpy")
        far, error = made[1].far_copies(species), letter_error(config)
        mine = np.array([(block.assembly, block.contig) == (assembly, contig) for block in targets.blocks])
        rows = numbers[mine]
        for context in targets.contexts:
            starts = targets.starts(context).reshape(-1, targets.size)[rows]
            positions = targets.positions.reshape(-1, targets.size)[rows]
            bits[context][rows] = gain_at(far, positions.ravel(), starts.ravel(), error).reshape(positions.shape)
    return Oracle(_points(bits, seed), "")


def _points(bits: Mapping[Context, NDArray[np.float64]], seed: int) -> dict[Context, OraclePoint]:
    nats = [-values * np.log(2) for values in bits.values()]  # as losses, so that a gain is a difference of them
    pair = partial(compare, seed=seed)
    return {
        context: OraclePoint(pair(nats[max(0, number - 1)], here), pair(nats[0], here))
        for number, (context, here) in enumerate(zip(bits, nats, strict=True))
    }


def _simulate(config: SimulateConfig, contig: str) -> SimulatedContig:
    return simulate_contig(
        config, make_library(config.seed, config.young_diagnostic), int(contig.removeprefix("chr")) - 1
    )


def _same(genome: AssemblyLike, contig: str, letters: NDArray[np.uint8]) -> bool:
    stored: Sequence[int] | NDArray[np.uint8] = genome[contig, slice(0, genome.sizes[contig])]
    return np.array_equal(stored, letters)
