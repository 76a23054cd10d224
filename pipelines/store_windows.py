"""Windows of a genome one after the other: for tools that walk over it. Training draws its own (docs/data.md)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.splits import AssemblyLike, Part, SplitRegion, Splits

Bases = NDArray[np.uint8]


class SequenceWindow(NamedTuple):
    """Consecutive bases of one contig."""

    contig: str
    start: int
    """Of its first base, 0-based."""
    bases: Bases
    """uint8 [length], the bytes of the source, case and all."""


def walk_windows(
    assembly: AssemblyLike,
    length: int,
    *,
    step: int | None = None,
    contigs: Sequence[str] | None = None,
    splits: Splits | None = None,
    part: Part = "train",
    most_n: float = 1.0,
    tail: bool = False,
) -> Iterator[SequenceWindow]:
    """Read an assembly in windows, in the order of its contigs; memory is one window.

    Args:
        assembly: of a store.
        length: of a window, in bases.
        step: from the start of a window to that of the next, in bases; `length` when None.
        contigs: names or aliases, in the order wanted; all of them when None.
        splits: only the regions of `part`; no window crosses a region's border. None: whole contigs.
        part: of `splits`.
        most_n: windows with a larger share of N or n are passed over; 1 keeps all, 0.5 leaves gaps out.
        tail: also give what is left at the end of a contig or region, shorter than `length`.

    Raises:
        InputError: a bad argument or an unknown contig, at the call; a split made for other sequence; a damaged chunk.
    """
    step = length if step is None else step
    if length < 1 or step < 1:
        raise InputError(f"windows: want a length and a step of 1 base or more, got {length} and {step}")
    if not 0 <= most_n <= 1:
        raise InputError(f"windows: most_n is a share from 0 to 1, got {most_n}")
    sizes = assembly.sizes
    names = list(sizes) if contigs is None else [assembly.resolve(name) for name in contigs]
    if splits is None:
        regions = [SplitRegion(assembly.name, name, 0, sizes[name]) for name in names]
    else:
        splits.check([assembly])
        if part not in splits.parts:
            raise InputError(f"windows: no part {part!r} in the split; there are {', '.join(splits.parts)}")
        inside = [region for region in splits.parts[part] if region.assembly == assembly.name]
        regions = [region for name in names for region in inside if region.contig == name]
    return _walk(assembly, regions, length, step, most_n, tail)


def _walk(
    assembly: AssemblyLike, regions: Sequence[SplitRegion], length: int, step: int, most_n: float, tail: bool
) -> Iterator[SequenceWindow]:
    for region in regions:
        for start in range(region.start, region.end, step):
            end = min(start + length, region.end)
            if end - start < length and not tail:
                break
            bases = assembly[region.contig, start:end]
            if most_n == 1 or np.count_nonzero((bases & 0xDF) == ord("N")) <= most_n * len(bases):
                yield SequenceWindow(region.contig, start, bases)
            if end == region.end:  # a shorter one would lie inside the one that was given
                break
