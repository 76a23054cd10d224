"""One strand of a contig as tokens, and the grid on which its streams start."""

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.reference import Reference

Tokens = NDArray[np.uint8]


class Strand:
    """A contig read in one direction. Positions are 0-based and count from the end where reading begins."""

    def __init__(self, reference: Reference, contig: str, *, reverse: bool) -> None:
        """`contig` is a name in `reference.contigs`."""
        self.contig, self.reverse = contig, reverse
        self.length = reference.contigs[contig]
        """In bases."""
        self._reference = reference

    def tokens(self, start: int, end: int) -> Tokens:
        """Tokens of bases [start, end), uint8.

        Raises:
            InputError: a letter that the alphabet does not hold; the message names contig and position.
        """
        first = self.length - end if self.reverse else start
        letters = self._reference.fetch(self.contig, first, first + end - start)
        tokens = np.take(DNA.table, letters)
        bad = np.flatnonzero(tokens >= DNA.size)
        if len(bad):
            raise InputError(
                f"{self._reference.path}: contig {self.contig!r}, base {first + int(bad[0]) + 1:,}: "
                f"{chr(letters[bad[0]])!r} is no DNA letter"
            )
        return DNA.reverse_complement(tokens) if self.reverse else tokens


def stream_start(position: int, context: int | None) -> int:
    """Where the stream starts that reads the base at `position`.

    Streams start at the multiples of context / 2. A base is read by the stream in whose second half it lies, so that it
    has between context / 2 and context bases before it; those before the first multiple are read by the first stream.

    Args:
        position: 0-based, along the strand.
        context: in bases; None is one stream a contig, from its start.
    """
    if context is None:
        return 0
    half = context // 2
    return max(position // half - 1, 0) * half
