"""Classes of target bases: soft-masked or unique, and how far upstream the 24 bases before each stood last."""

from collections.abc import Mapping
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from dnamamba.corpus import Corpus
from dnamamba.evaluate import soft_masked
from dnamamba.pipelines.previous_copies import NEVER, previous_copy_distances
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.sweep.targets import Ints, Targets

ALL = "all"
MASKED, UNIQUE = "soft-masked", "unique"
COPY_BORDERS = (2**10, 2**14, 2**18)
"""Distances that part the classes of bases whose 24 bases before stand further up as well, in bases."""
COPY_CLASSES = ("no copy", "copy < 1k", "copy 1k-16k", "copy 16k-256k", "copy >= 256k")
_FEWEST = 256  # targets of a class that is shown


def target_classes(corpus: Corpus, targets: Targets) -> Mapping[str, NDArray[np.bool_]]:
    """Name -> which targets belong to it, bool [blocks, targets in a block]; classes of a handful are left out.

    Copies are looked for from the start of each region on the strand that is read, as the model sees them. Targets
    after a base that is no A, C, G, T, or less than 24 bases into their region, belong to no class of copies.
    """
    masked = soft_masked(corpus, targets.blocks)
    classes = {MASKED: masked, UNIQUE: ~masked}
    distance = copy_distances(corpus, targets).reshape(masked.shape)
    near = np.searchsorted(COPY_BORDERS, distance, side="right")
    classes[COPY_CLASSES[0]] = distance == NEVER
    for number, name in enumerate(COPY_CLASSES[1:]):
        classes[name] = (near == number) & (distance > 0)
    return {name: chosen for name, chosen in classes.items() if chosen.sum() >= _FEWEST}


def copy_distances(corpus: Corpus, targets: Targets) -> Ints:
    """`previous_copy_distances` of every target, int64 [blocks * targets in a block]."""
    found = np.empty(len(targets.blocks) * targets.size, np.int64)
    positions = targets.positions
    keys = [(b.assembly, b.contig, origin) for b, origin in zip(targets.blocks, targets.origins, strict=True)]
    first = 0
    for (assembly, contig, origin), group in groupby(keys):
        last = first + sum(1 for _ in group) * targets.size
        read = partial(_read, corpus.assemblies[assembly], contig, origin)
        found[first:last] = previous_copy_distances(read, positions[first:last] - origin)
        first = last
    return found


def _read(assembly: AssemblyLike, contig: str, origin: int, start: int, end: int) -> NDArray[np.uint8]:
    return assembly[contig, origin + start : origin + end]
