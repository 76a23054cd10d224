"""Windows that are measured on: of one length each, from a held-out part, as many of every class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.species.region import Region, read_tokens

_TRIES = 4
"""Times as many places as windows are wanted that are looked at: some hold too many N."""


class HeldWindows(NamedTuple):
    """Windows of one length."""

    tokens: NDArray[np.uint8]
    """[windows, length]."""
    labels: NDArray[np.int64]
    """Class of each."""
    clusters: NDArray[np.int64]
    """Windows of one number lie at the same place of the same locus, in whatever class: they are no independent
    observations."""

    @property
    def length(self) -> int:
        """Bases of each window."""
        return int(self.tokens.shape[1])


def held_windows(
    regions: Sequence[Region],
    assemblies: Sequence[AssemblyLike],
    classes: int,
    length: int,
    alphabet: Alphabet,
    *,
    windows: int,
    bases: int,
    most_n: float,
    seed: int,
    both_strands: bool = True,
    overlap: int = 1,
) -> HeldWindows | None:
    """Choose windows of a part, the same places in every class where that can be.

    Args:
        regions: of the part.
        length: of every window, in bases.
        windows: of a class, at most.
        bases: of all windows, at most.
        most_n: windows with a larger share of N are passed over.
        seed: of the choice. The same arguments give the same windows.
        both_strands: read half of the windows from the other strand.
        overlap: windows that begin within a window's length; 1: none overlap. What overlaps is one cluster.

    Returns:
        As many windows of every class; None where a class has none of this length.
    """
    most = min(windows, max(1, bases // (length * classes)))
    chosen: list[list[tuple[NDArray[np.uint8], int]]] = []
    places: dict[tuple[str, int], int] = {}
    for label in range(classes):
        mine = [region for region in regions if region.label == label]
        found: list[tuple[NDArray[np.uint8], int]] = []
        for region, start, place in _tiles(mine, length, most * _TRIES, seed, overlap):
            reverse = both_strands and bool(np.random.default_rng([seed, 3, *map(ord, place[0]), place[1]]).integers(2))
            tokens = read_tokens(assemblies, region, start, start + length, alphabet, reverse=reverse)
            if np.count_nonzero(tokens == alphabet.n) > most_n * length:
                continue
            found.append((tokens, places.setdefault((place[0], place[1] // overlap), len(places))))
            if len(found) == most:
                break
        chosen.append(found)
    count = min(len(found) for found in chosen)
    if not count:
        return None
    rows = [(one, label, cluster) for label, found in enumerate(chosen) for one, cluster in found[:count]]
    return HeldWindows(
        np.stack([tokens for tokens, _, _ in rows]),
        np.array([label for _, label, _ in rows], dtype=np.int64),
        np.array([cluster for _, _, cluster in rows], dtype=np.int64),
    )


def _tiles(
    regions: Sequence[Region], length: int, most: int, seed: int, overlap: int
) -> list[tuple[Region, int, tuple[str, int]]]:
    """Tiles of the regions in an order drawn from their places, so that all classes come to the same places first.

    Returns:
        Region, first base, and the place: its locus and the tile's number there.
    """
    step = max(1, length // overlap)
    counts = [max(0, (region.end - region.start - length) // step + 1) for region in regions]
    total = sum(counts)
    if not total:
        return []
    tiles: list[tuple[float, Region, int, tuple[str, int]]] = []
    for region, count in zip(regions, counts, strict=True):
        if not count:
            continue
        # The numbers of one locus are drawn alike in every class; a longer one has some more at its end.
        key = np.random.default_rng([seed, 2, *map(ord, region.locus)]).random(count)
        slack = (region.end - region.start - length - (count - 1) * step) / count
        numbers = np.argsort(key)[:most] if count > most else np.arange(count)
        tiles += [
            (float(key[i]), region, region.start + int(i * (step + slack)), (region.locus, int(i))) for i in numbers
        ]
    tiles.sort(key=lambda tile: (tile[0], tile[3], tile[1].assembly, tile[1].contig))
    return [tile[1:] for tile in tiles[:most]]
