"""Consecutive bases of one class, and how they are read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.pipelines.splits import AssemblyLike


class Region(NamedTuple):
    """Consecutive bases of one contig; 0-based, half-open."""

    label: int
    """Class."""
    assembly: int
    """Index into the genomes' assemblies."""
    contig: str
    start: int
    end: int
    locus: str
    """Regions of one locus are orthologous: the same share of the length is about the same place."""


def read_tokens(
    assemblies: Sequence[AssemblyLike],
    region: Region,
    start: int,
    end: int,
    alphabet: Alphabet,
    *,
    reverse: bool = False,
) -> NDArray[np.uint8]:
    """Tokens of some bases of a region, uint8 [end - start]; case is folded by the alphabet.

    Raises:
        InputError: a letter that the alphabet does not have; assembly, contig and position are named.
    """
    assembly = assemblies[region.assembly]
    try:
        tokens = alphabet.encode(assembly[region.contig, slice(start, end)])
    except InputError as error:
        raise InputError(f"{assembly.name}, {region.contig} from base {start + 1:,}: {error}") from None
    return alphabet.reverse_complement(tokens) if reverse else tokens
