"""Which bases are scored, and from where each is read at a context: the same targets at every one of them.

At context C a target's stream begins on a grid of C / 4 bases from the start of its region, so that it has at least C
and fewer than 1.25 C bases upstream. Neighbouring targets share a stream: a region costs at most five times its bases
at any context, however many targets it has. "full" begins at the region's start: the contig's, or where the split cuts
the contig.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.config import format_size, parse_size
from dnamamba.corpus import Corpus
from dnamamba.errors import InputError, UsageError
from dnamamba.held_out import TargetBlock, evaluation_targets
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.pipelines.splits import SplitRegion

Ints = NDArray[np.int64]
Context = int | None
"""Bases upstream; None is all of them ("full")."""
FULL = "full"

DEFAULT_CONTEXTS: tuple[Context, ...] = (*(1 << bits for bits in range(6, 21)), None)
BLOCK = 256
"""Target bases in a block. Blocks, not bases, are resampled for the intervals: neighbours are alike."""
FEWEST_BLOCKS = 16
"""A context that fewer blocks have upstream is left out: no interval could be had of them."""


class Stream(NamedTuple):
    """One reading of a contig that ends with its last target."""

    assembly: int
    contig: str
    start: int
    end: int
    first: int
    """Its targets are numbers [first, last) of the flat targets, in order of position."""
    last: int

    @property
    def length(self) -> int:
        """Bases that are read."""
        return self.end - self.start


@dataclass(frozen=True)
class Targets:
    """The bases of a sweep, and the contexts that the data can serve."""

    blocks: tuple[TargetBlock, ...]
    """All of one size, in order of assembly, contig and position."""
    origins: tuple[int, ...]
    """First base of each block's region: nothing before it is read."""
    contexts: tuple[Context, ...]
    """Shortest first, "full" last."""
    left_out: tuple[str, ...]
    """What was asked for and cannot be had, a line each, for the user."""

    @property
    def size(self) -> int:
        """Targets in a block."""
        return self.blocks[0].end - self.blocks[0].start

    @property
    def positions(self) -> Ints:
        """Position of every target in its contig, [blocks * size]."""
        starts = np.array([block.start for block in self.blocks], np.int64)
        return (starts[:, None] + np.arange(self.size)).ravel()

    def starts(self, context: Context) -> Ints:
        """First base that every target's stream reads at a context, [blocks * size]."""
        origins = np.repeat(np.array(self.origins, np.int64), self.size)
        if context is None:
            return origins
        grid = max(1, context // 4)
        return origins + (self.positions - origins - context) // grid * grid

    def streams(self, context: Context) -> list[Stream]:
        """What is read at a context."""
        positions, starts = self.positions, self.starts(context)
        number = np.repeat(np.arange(len(self.blocks)), self.size)
        names = [(block.assembly, block.contig) for block in self.blocks]
        other = np.append(True, [a != b for a, b in zip(names[1:], names[:-1], strict=True)])
        place = np.cumsum(other)[number]
        border = np.append(True, (place[1:] != place[:-1]) | (starts[1:] != starts[:-1]))
        firsts = np.flatnonzero(border)
        lasts = np.append(firsts[1:], len(positions))
        return [
            Stream(block.assembly, block.contig, int(starts[first]), int(positions[last - 1]) + 1, first, last)
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
            for block in [self.blocks[number[first]]]
        ]

    def bases_read(self, context: Context) -> int:
        """What a context costs, in bases through the model."""
        return sum(stream.length for stream in self.streams(context))


def parse_contexts(text: str) -> tuple[Context, ...]:
    """Read "1k,16k,1M,full"; nothing is every power of two from 2^6 to 2^20 and full. Sorted, each once.

    Raises:
        InputError: a context of 0, or no size.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        if text.strip():
            raise UsageError(f"--contexts: want sizes such as 1k,16k,1M,full, got {text!r}")
        return DEFAULT_CONTEXTS
    sizes = {parse_size(word, "--contexts") for word in words if word.lower() != FULL}
    if 0 in sizes:
        raise UsageError("--contexts: want 1 base or more, got 0")
    return (*sorted(sizes), *((None,) if FULL in (word.lower() for word in words) else ()))


def parse_targets(text: str) -> int:
    """Read the number of target bases.

    Raises:
        InputError: no size, or fewer than FEWEST_BLOCKS blocks.
    """
    wanted, fewest = parse_size(text, "--targets"), FEWEST_BLOCKS * BLOCK
    if wanted < fewest:
        raise UsageError(
            f"--targets: want {fewest:,} bases or more, {FEWEST_BLOCKS} blocks of {BLOCK} to resample, got {text}"
        )
    return wanted


def context_name(context: Context) -> str:
    """As the command line has it: "16k", "full"."""
    return FULL if context is None else format_size(context)


def choose_targets(
    corpus: Corpus,
    contexts: Sequence[Context],
    alphabet: Alphabet,
    *,
    part: str = "test",
    targets: int = 2**18,
    seed: int = 0,
    assemblies: Sequence[str] = (),
) -> Targets:
    """Draw blocks of targets among all that have the longest context upstream inside their region.

    Args:
        corpus: genomes and split.
        contexts: shortest first. Those that fewer than FEWEST_BLOCKS blocks could have are left out, and said.
        alphabet: of the models.
        part: of the split.
        targets: bases, about; fewer when the part has no more.
        seed: of the draw. The same arguments give the same blocks.
        assemblies: take targets of these alone; none: of all.

    Raises:
        InputError: an unknown assembly, or data that can serve none of the contexts.
    """
    known = [assembly.name for assembly in corpus.assemblies]
    for name in assemblies:
        if name not in known:
            raise InputError(f"--assembly: the stores hold no {name!r}; they hold {', '.join(known)}")
    corpus = _narrowed(corpus, part, assemblies or known)
    regions = corpus.splits.parts[part]
    reasons = {context: unserved(corpus, context, part, alphabet) for context in contexts}
    served = [context for context, reason in reasons.items() if not reason]
    left_out = [f"context {context_name(one)} is left out: {reason}" for one, reason in reasons.items() if reason]
    if not served:
        raise InputError(left_out[0] if left_out else "no context to measure at")
    most = max(context or 0 for context in served)
    blocks = evaluation_targets(
        corpus, (most + BLOCK,), alphabet, part=part, blocks=max(1, targets // BLOCK), block_size=BLOCK, seed=seed
    )
    if len(blocks) < FEWEST_BLOCKS:
        raise InputError(
            f"{len(blocks)} blocks of {BLOCK} target bases with {most:,} upstream that are not mostly N; want "
            f"{FEWEST_BLOCKS} or more: ask for shorter --contexts or more --targets"
        )
    return Targets(blocks, tuple(_origin(corpus, regions, block) for block in blocks), tuple(served), tuple(left_out))


def unserved(corpus: Corpus, context: Context, part: str, alphabet: Alphabet) -> str:
    """Why a part has too few targets for a context; nothing when it has enough. What is mostly N gives none."""
    lengths = [region.end - region.start for region in corpus.splits.parts[part]]
    room = sum(max(0, length - (context or 0)) // BLOCK for length in lengths)
    if room < FEWEST_BLOCKS:
        return (
            f"the {part} part has {room * BLOCK:,} bases with so much upstream, {FEWEST_BLOCKS * BLOCK:,} are wanted "
            f"(its longest piece: {max(lengths, default=0):,} bases)"
        )
    try:
        found = evaluation_targets(
            corpus, ((context or 0) + BLOCK,), alphabet, part=part, blocks=FEWEST_BLOCKS, block_size=BLOCK
        )
    except InputError as error:
        return str(error)
    if len(found) < FEWEST_BLOCKS:
        return (
            f"the {part} part has {len(found)} blocks of {BLOCK} bases with so much upstream that are not mostly N, "
            f"{FEWEST_BLOCKS} are wanted"
        )
    return ""


def _origin(corpus: Corpus, regions: Sequence[SplitRegion], block: TargetBlock) -> int:
    name = corpus.assemblies[block.assembly].name
    return next(
        r.start for r in regions if (r.assembly, r.contig) == (name, block.contig) and r.start <= block.start < r.end
    )


def _narrowed(corpus: Corpus, part: str, assemblies: Sequence[str]) -> Corpus:
    """The corpus with nothing but regions of these assemblies in the part."""
    kept = tuple(region for region in corpus.splits.parts[part] if region.assembly in assemblies)
    splits = type(corpus.splits)({**corpus.splits.parts, part: kept}, corpus.splits.fingerprints)
    return type(corpus)(corpus.assemblies, corpus.groups, splits)
