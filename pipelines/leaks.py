"""Is held-out sequence also in the training part? Looked for in the sequence itself, whatever the contigs are called.

A sample of all 31-mers, the same on both strands (those whose hash is low), is compared between the parts. Unrelated
sequence shares almost none, repeats a few percent; orthologues of human and chimpanzee share more than half.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import PARTS, AssemblyLike, SplitRegion, Splits
from dnamamba.pipelines.words import words

K = 31
SAMPLED = 64
"""One k-mer in so many is compared."""
_READ_AT_ONCE = 1 << 22

UInt64 = NDArray[np.uint64]


class Overlap(NamedTuple):
    """How much of a held-out region the training part has too."""

    part: str
    region: SplitRegion
    kmers: int
    """Sampled 31-mers of the region."""
    shared: float
    """Share of them that the training part holds, on either strand; 0 where there are none."""


def find_leaks(
    assemblies: Sequence[AssemblyLike], splits: Splits, progress: Callable[[str, int, int | None], None] | None = None
) -> list[Overlap]:
    """Compare every held-out region with all of the training part, case folded, k-mers with other letters left out.

    About 0.1 s a million bases, and 8 bytes of memory for every 64 bases of training.

    Args:
        assemblies: those of the split; regions of others are passed over.
        splits: finished.
        progress: called with contig, bases done and bases in all.

    Returns:
        One row a region of valid and test, the most shared first.
    """
    by_name = {assembly.name: assembly for assembly in assemblies}
    total = sum(r.end - r.start for part in PARTS for r in splits.parts[part] if r.assembly in by_name)
    done = 0

    def sample(region: SplitRegion) -> UInt64:
        nonlocal done
        found = _sample(by_name[region.assembly], region)
        done += region.end - region.start
        if progress is not None:
            progress(f"{region.assembly}:{region.contig}", done, total)
        return found

    train = [sample(region) for region in splits.parts["train"] if region.assembly in by_name]
    trained = np.unique(np.concatenate([np.empty(0, np.uint64), *train]))
    rows = []
    for part in PARTS[1:]:
        for region in splits.parts[part]:
            if region.assembly in by_name:
                kmers = sample(region)
                shared = float(np.isin(kmers, trained).mean()) if len(kmers) else 0.0
                rows.append(Overlap(part, region, len(kmers), shared))
    return sorted(rows, key=lambda row: -row.shared)


def _sample(assembly: AssemblyLike, region: SplitRegion) -> UInt64:
    """Hashes of the sampled k-mers of a region, each once."""
    found = [np.empty(0, np.uint64)]
    for start in range(region.start, region.end, _READ_AT_ONCE):
        end = min(region.end, start + _READ_AT_ONCE + K - 1)
        hashes = _hashes(DNA.encode(assembly[region.contig, start:end], unknown="N"))
        found.append(hashes[hashes < np.uint64(2**64 // SAMPLED)])
    return np.unique(np.concatenate(found))


def _hashes(tokens: NDArray[np.uint8]) -> UInt64:
    """A hash of every k-mer of A, C, G, T, the same for its reverse complement."""
    forward, whole = words(tokens, K)
    backward, _ = words(DNA.reverse_complement(tokens), K)
    return _mix(np.minimum(forward, backward[::-1])[whole])


def _mix(codes: UInt64) -> UInt64:
    """Spread codes over 64 bits. Source: finaliser of MurmurHash3, Appleby (public domain)."""
    codes = (codes ^ (codes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    codes = (codes ^ (codes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return codes ^ (codes >> np.uint64(33))
