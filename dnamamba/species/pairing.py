"""Where the place of one genome lies in another: near the same share of the locus, found by an exact word they share.

Insertions and deletions move orthologous loci against each other by kilobases within megabases, which is more than a
short window is long.
"""

from collections.abc import Sequence

from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.species.region import Region

WORD = 24
"""Bases that must agree: with 3% divergence half of all words do."""
SEARCHED = 2**13
"""Bases on either side of the expected place that are looked through."""
LONGEST_PAIRED = 2**14
"""Longest windows that are laid beside each other base by base; longer ones overlap enough as they lie."""
_WORDS = 12
"""Words of a window that are tried."""


def window_words(assemblies: Sequence[AssemblyLike], region: Region, start: int, end: int) -> list[tuple[int, bytes]]:
    """Words of a window that can be looked for elsewhere, evenly spread: (offset in the window, letters)."""
    bases = assemblies[region.assembly][region.contig, slice(start, end)].tobytes().upper()
    step = max(1, (len(bases) - WORD) // _WORDS)
    found = []
    for offset in range(0, len(bases) - WORD + 1, step):
        word = bases[offset : offset + WORD]
        if not word.translate(None, b"ACGT"):
            found.append((offset, word))
    return found


def find_place(
    assemblies: Sequence[AssemblyLike],
    words: Sequence[tuple[int, bytes]],
    region: Region,
    expected: int,
    length: int,
) -> int | None:
    """Where the window of `words` begins in a region of another genome.

    Args:
        assemblies: of the run.
        words: of the window there.
        region: where to look; the window found lies inside it.
        expected: about where it begins.
        length: of the window, in bases.

    Returns:
        Its start; None when no word occurs exactly once around the expected place.
    """
    first = max(region.start, expected - SEARCHED)
    last = min(region.end, expected + length + SEARCHED)
    there = assemblies[region.assembly][region.contig, slice(first, last)].tobytes().upper()
    for offset, word in words:
        at = there.find(word)
        if at >= 0 and there.find(word, at + 1) < 0:
            start = first + at - offset
            return min(max(start, region.start), max(region.start, region.end - length))
    return None
