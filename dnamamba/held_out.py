"""Held-out targets: the same bases are scored at every context, so that a table over contexts compares like with like.

A block is a run of target bases with a full window of the largest context before its end, all inside one region of the
part. At a shorter context the window is cut upstream: it ends where the block ends, and starts fresh with a start
token.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dnamamba.config import format_size
from dnamamba.corpus import Corpus
from dnamamba.data import IGNORED, Batch, make_batch
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.reading import Tokens, read_windows
from dnamamba.sampling import UInt64, key_of, permute
from dnamamba.windows import Piece, Window

_CANDIDATES_AT_ONCE = 1024


class TargetBlock(NamedTuple):
    """Bases to score: 0-based, half-open. `assembly` is an index into the corpus."""

    assembly: int
    contig: str
    start: int
    end: int


def evaluation_targets(
    corpus: Corpus,
    contexts: Sequence[int],
    alphabet: Alphabet,
    *,
    part: str = "valid",
    blocks: int = 256,
    block_size: int | None = None,
    seed: int = 0,
) -> tuple[TargetBlock, ...]:
    """Choose target blocks at random among all that can be scored at every context.

    Args:
        corpus: genomes and split.
        contexts: of the table, in bases.
        alphabet: blocks that are more than half N, or whose longest window is, are passed over.
        part: of the split.
        blocks: how many; fewer when the part has no more.
        block_size: targets in a block; None takes half of the shortest context, so that every target has at least as
            much upstream there.
        seed: of the choice. The same arguments give the same blocks.

    Returns:
        Blocks that do not overlap, in the order of assembly, contig and position.

    Raises:
        InputError: a block larger than the shortest context, no region of the part as long as the longest context, or
            none that is not mostly N.
    """
    longest = max(contexts)
    size = block_size if block_size is not None else max(1, min(contexts) // 2)
    if not 1 <= size <= min(contexts):
        raise InputError(f"evaluation blocks of {size:,} targets: want 1 to {min(contexts):,}, the shortest context")
    index = {assembly.name: i for i, assembly in enumerate(corpus.assemblies)}
    regions = [region for region in corpus.splits.parts[part] if region.assembly in index]
    # Windows [start, start + longest) at steps of `size`: their last `size` bases tile the region.
    counts = np.array([max(0, (r.end - r.start - longest) // size + 1) for r in regions], dtype=np.int64)
    last = np.cumsum(counts)
    total = int(last[-1]) if len(last) else 0
    if total == 0:
        most = max((r.end - r.start for r in regions), default=0)
        served = f"contexts up to {1 << (most.bit_length() - 1):,} can be evaluated" if most > 1 else "none can be"
        raise InputError(
            f"the {part} part has no region as long as the context {longest:,}: the longest has {most:,} bases; "
            f"{served}"
        )
    chosen: list[TargetBlock] = []
    for first in range(0, total, _CANDIDATES_AT_ONCE):
        drawn = np.arange(first, min(total, first + _CANDIDATES_AT_ONCE), dtype=np.int64)
        keys: UInt64 = np.full(len(drawn), key_of(seed), dtype=np.uint64)
        for candidate in permute(drawn, np.full_like(drawn, total), keys, total).tolist():
            row = int(np.searchsorted(last, candidate, side="right"))
            region = regions[row]
            end = region.start + longest + (candidate - int(last[row] - counts[row])) * size
            block = TargetBlock(index[region.assembly], region.contig, end - size, end)
            if not _mostly_n(read_block(corpus, block, longest, alphabet), size, alphabet):
                chosen.append(block)
            if len(chosen) == blocks:
                return tuple(sorted(chosen))
    if not chosen:
        raise InputError(f"the {part} part: every window of {longest:,} bases is more than half N")
    return tuple(sorted(chosen))


def served_contexts(
    corpus: Corpus, contexts: Sequence[int], alphabet: Alphabet, *, parts: Sequence[str] = ("valid", "test")
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Which contexts have targets in every one of `parts`, before anything is trained for them.

    Args:
        corpus: genomes and split.
        contexts: of the table, in bases.
        alphabet: of the model.
        parts: of the split.

    Returns:
        Those contexts in their order, and a line for the user for each that is left out.

    Raises:
        InputError: none is left.
    """
    kept, notes = tuple(contexts), []
    while reason := _why_not(corpus, kept, alphabet, parts):
        longest = max(kept)  # where there is room for it there is room for the others
        shorter = tuple(context for context in kept if context < longest)
        if not shorter:
            raise InputError(f"evaluation.contexts: {format_size(longest)} cannot be evaluated: {reason}")
        notes.append(f"context {format_size(longest)} is left out of the evaluation: {reason}")
        kept = shorter
    return kept, tuple(notes)


def _why_not(corpus: Corpus, contexts: Sequence[int], alphabet: Alphabet, parts: Sequence[str]) -> str:
    """Why a part has no target for all contexts; nothing when each has one."""
    try:
        for part in parts:
            evaluation_targets(corpus, contexts, alphabet, part=part, blocks=1)
    except InputError as error:
        return str(error)
    return ""


def _mostly_n(tokens: Tokens, size: int, alphabet: Alphabet) -> bool:
    if alphabet.n is None:
        return False
    unknown = tokens == alphabet.n
    return bool(2 * np.count_nonzero(unknown) > len(tokens) or 2 * np.count_nonzero(unknown[-size:]) > size)


def read_block(corpus: Corpus, block: TargetBlock, context: int, alphabet: Alphabet) -> Tokens:
    """The window of `context` bases that ends with the block, uint8 tokens [context]. Its last bases are the
    targets."""
    tokens = np.empty(context, dtype=np.uint8)
    piece = Piece(block.assembly, block.contig, block.end - context, block.end)
    read_windows([Window((piece,), reverse=False)], corpus.assemblies, alphabet, tokens[None])
    return tokens


def evaluation_batches(
    corpus: Corpus, targets: Sequence[TargetBlock], context: int, alphabet: Alphabet, *, batch_tokens: int = 2**16
) -> Iterator[Batch]:
    """Cut the blocks at one context into batches for the model; only the blocks' own bases are targets.

    Args:
        corpus: genomes and split.
        targets: of evaluation_targets, all of one size.
        context: bases in a window.
        alphabet: of the model.
        batch_tokens: tokens in a batch, at most (at least one window).
    """
    rows = max(1, batch_tokens // context)
    for first in range(0, len(targets), rows):
        some = targets[first : first + rows]
        bases = torch.from_numpy(np.stack([read_block(corpus, block, context, alphabet) for block in some]))
        batch = make_batch(bases, None, alphabet)
        for row, block in zip(batch["targets"], some, strict=True):
            row[: context - (block.end - block.start)] = IGNORED
        yield batch
