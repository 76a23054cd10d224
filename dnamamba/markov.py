"""The baseline every model has to beat: a back-off Markov chain over A, C, G, T, orders 0 to 12.

The probability of a base after the k bases before it is interpolated with the one after k - 1:

    p_k(x) = (max(c_k(x) - d_k, 0) + (a_k + d_k t_k) p_{k-1}(x)) / (n_k + a_k),    p_{-1} = 1/4

c_k(x): how often x followed these k bases in training, n_k their sum over x, t_k how many of the four letters followed
at all. d_k and a_k are fitted on the validation part, order by order. a_k = 0 gives interpolated absolute discounting
(Kneser and Ney 1995), d_k = 0 a Dirichlet prior (MacKay and Peto 1995), both together the Pitman-Yor process with one
table a letter (Teh 2006).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dnamamba.corpus import Corpus
from dnamamba.errors import InputError
from dnamamba.golden_section import golden_section
from dnamamba.held_out import TargetBlock
from dnamamba.pipelines.alphabet import DNA
from dnamamba.sampling import key_of, permute

MAX_ORDER = 12
_COUNTED_AT_ONCE = 1 << 22  # bases read at a time
_FIT_BLOCK, _FIT_TARGETS = 1 << 10, 1 << 16
_SCORED_AT_ONCE = 1 << 18  # targets looked up at a time

Tokens = NDArray[np.uint8]
Float64 = NDArray[np.float64]


def _count(tokens: Tokens, skip: int, below: NDArray[np.int64], top: NDArray[np.uint32], order: int) -> None:
    """Count each base after the bases before it, as many as there are since the last letter that is no base, at most
    `order`.

    The first `skip` tokens are context only. Tables are addressed by context, oldest base first, then the base; those
    of the orders below `order` lie one after the other in `below`.
    """
    context, known = 0, 0
    mask = (1 << (2 * order)) - 1
    for i in range(len(tokens)):
        token = tokens[i]
        if token > 3:
            context, known = 0, 0
            continue
        if i >= skip:
            if known >= order:
                top[4 * context + token] += np.uint32(1)
            else:
                below[((4 << (2 * known)) - 4) // 3 + 4 * context + token] += 1
        context = ((context << 2) | token) & mask
        known += 1


def _look_up(
    tokens: Tokens,
    first: int,
    below: NDArray[np.int64],
    top: NDArray[np.uint32],
    order: int,
    found: NDArray[np.int64],
) -> None:
    """For every target from `first` on and every order: its count, its context's count, how many letters followed; -1
    if unknown.

    `found` is [3, order + 1, targets]. A target that is no base has -1 everywhere, and an order with too few bases
    upstream has it too.
    """
    context, known = 0, 0
    mask = (1 << (2 * order)) - 1
    for i in range(len(tokens)):
        token = tokens[i]
        if token > 3:
            context, known = 0, 0
            if i >= first:
                found[:, :, i - first] = -1
            continue
        if i >= first:
            for k in range(order + 1):
                if k > known:
                    found[:, k, i - first] = -1
                    continue
                row = 4 * (context & ((1 << (2 * k)) - 1))
                table = 0 if k == order else ((4 << (2 * k)) - 4) // 3
                found[:, k, i - first] = 0
                for letter in range(4):
                    count = np.int64(top[row + letter]) if k == order else below[table + row + letter]
                    found[1, k, i - first] += count
                    found[2, k, i - first] += count > 0
                    if letter == token:
                        found[0, k, i - first] = count
        context = ((context << 2) | token) & mask
        known += 1


# Compiled at first use, in half a second; a cache on disk would need a folder that may not be there.
_compiled_count, _compiled_look_up = njit(nogil=True)(_count), njit(nogil=True)(_look_up)


class MarkovCounts:
    """How often each base followed each context of 0 .. `order` bases."""

    def __init__(self, order: int = MAX_ORDER) -> None:
        """Room for all contexts: 4^(order + 1) counts of 4 bytes and a third as many of 8; 450 MB at order 12."""
        if not 0 <= order <= MAX_ORDER:
            raise InputError(f"Markov order: want 0 to {MAX_ORDER}, got {order}")
        self.order = order
        self._top = np.zeros(4 ** (order + 1), dtype=np.uint32)
        self._below = np.zeros((4 ** (order + 1) - 4) // 3, dtype=np.int64)
        self._open = True

    def add(self, tokens: Tokens, skip: int = 0) -> None:
        """Count a run of DNA tokens; the first `skip` of them are only upstream of the others."""
        assert self._open, "counts are added before they are finished"
        _compiled_count(tokens, skip, self._below, self._top, self.order)

    def finish(self) -> None:
        """Fill the lower orders: what followed k bases is the sum over the base before them."""
        assert self._open, "counts are finished once"
        self._open = False
        for k in range(self.order - 1, -1, -1):
            longer = self._top if k == self.order - 1 else self._table(k + 1)
            table = self._table(k)
            for before in longer.reshape(4, -1):  # one base after the other: three times as fast as sum(axis=0)
                table += before

    def _table(self, k: int) -> NDArray[np.int64]:
        start = (4 ** (k + 1) - 4) // 3
        return self._below[start : start + 4 ** (k + 1)]

    def table(self, k: int) -> NDArray[np.int64]:
        """Counts of order k, [4**k, 4]; the context's oldest base is its highest digit."""
        return (self._table(k) if k < self.order else self._top.astype(np.int64)).reshape(-1, 4)

    def look_up(self, tokens: Tokens, first: int) -> NDArray[np.int64]:
        """Counts for each target tokens[first:], int64 [3, order + 1, targets]: of the letter, of the context, letters
        that followed.

        -1 where the target is no base, or where fewer than k bases stand before it.
        """
        assert not self._open, "counts are finished before they are used"
        found = np.empty((3, self.order + 1, len(tokens) - first), dtype=np.int64)
        _compiled_look_up(tokens, first, self._below, self._top, self.order, found)
        return found


@dataclass(frozen=True)
class MarkovModel:
    """A fitted back-off chain."""

    counts: MarkovCounts
    discount: tuple[float, ...]
    """d_k of each order, in [0, 1)."""
    strength: tuple[float, ...]
    """a_k of each order, above 0."""
    validation: tuple[float, ...]
    """Nats a base on the validation part with each order as the highest."""

    @property
    def order(self) -> int:
        """The highest order that did best on the validation part."""
        return int(np.argmin(self.validation))

    def log_p(self, tokens: Tokens, first: int) -> Float64:
        """Log-probability of every target tokens[first:] with the best order, nats; NaN where it is no A, C, G, T."""
        found = self.counts.look_up(tokens, first)
        probability = np.full(found.shape[2], 0.25)
        for k in range(self.order + 1):
            probability = _interpolate(found[:, k], probability, self.discount[k], self.strength[k])
        return np.where(found[0, 0] < 0, np.nan, np.log(probability))

    def losses(self, corpus: Corpus, blocks: Sequence[TargetBlock], context: int) -> Float64:
        """Negative log-probability of every target with the best order, in nats, [blocks, targets in a block]; NaN
        where not A, C, G, T."""
        losses: Float64 = self.losses_by_order(corpus, blocks, context)[self.order]
        return losses

    def losses_by_order(self, corpus: Corpus, blocks: Sequence[TargetBlock], context: int) -> Float64:
        """As `losses` with every order as the highest, [order + 1, blocks, targets in a block].

        A target sees what a window of `context` bases that ends with its block has upstream of it, and never across N.
        """
        size = blocks[0].end - blocks[0].start
        step = max(1, _SCORED_AT_ONCE // size)
        parts = []
        for first in range(0, len(blocks), step):
            upstream = min(context - size, self.counts.order)
            found = _look_up_blocks(self.counts, corpus, [(block, upstream) for block in blocks[first : first + step]])
            probability = np.full(found.shape[2], 0.25)
            losses = np.empty((self.counts.order + 1, found.shape[2]))
            for k in range(self.counts.order + 1):
                probability = _interpolate(found[:, k], probability, self.discount[k], self.strength[k])
                losses[k] = -np.log(probability)
            losses[:, found[0, 0] < 0] = np.nan
            parts.append(losses.reshape(self.counts.order + 1, -1, size))
        return np.concatenate(parts, axis=1)


def fit_markov(corpus: Corpus, *, both_strands: bool = True, order: int = MAX_ORDER, seed: int = 0) -> MarkovModel:
    """Count the training part and fit the smoothing on the validation part.

    Every base of the training part counts once, whatever the weights of the stores.

    Args:
        corpus: genomes and split.
        both_strands: count the other strand too, as training with reverse complements reads it.
        order: highest order, up to 12.
        seed: of the choice of validation bases (at most 2^16 of them).

    Raises:
        InputError: no base in the training or the validation part, or an order that is out of range.
    """
    counts = MarkovCounts(order)
    for tokens, skip in _runs(corpus, both_strands, order):
        counts.add(tokens, skip)
    counts.finish()
    if not counts.table(0).sum():
        raise InputError("the Markov baseline has nothing to count: the training part holds no A, C, G or T")
    found = _look_up_blocks(counts, corpus, _validation_blocks(corpus, order, seed))
    found = found[:, :, found[0, 0] >= 0]
    if not found.shape[2]:
        raise InputError("the Markov baseline has nothing to be fitted on: the validation part holds no A, C, G or T")
    probability = np.full(found.shape[2], 0.25)
    discounts, strengths, losses = [], [], []
    for k in range(order + 1):
        discount, strength = _fit_order(found[:, k], probability)
        probability = _interpolate(found[:, k], probability, discount, strength)
        discounts.append(discount)
        strengths.append(strength)
        losses.append(float(-np.log(probability).mean()))
    return MarkovModel(counts, tuple(discounts), tuple(strengths), tuple(losses))


def _interpolate(found: NDArray[Any], lower: Float64, discount: float, strength: float) -> Float64:
    """p_k of every target from its counts [3, targets] and p_{k-1}."""
    mine, total, letters = found
    higher = (np.maximum(mine - discount, 0.0) + (strength + discount * letters) * lower) / (
        np.maximum(total, 0) + strength
    )
    return np.asarray(np.where(total >= 0, higher, lower), dtype=np.float64)


def _fit_order(found: NDArray[np.int64], lower: Float64) -> tuple[float, float]:
    """Discount and strength with the least loss: one after the other, twice, by golden section."""
    known = found[1] > 0  # elsewhere the two change nothing
    if not known.any():
        return 0.0, 1.0
    counts, lower = found[:, known].astype(np.float64), lower[known]

    def loss(discount: float, log_strength: float) -> float:
        return float(-np.log(_interpolate(counts, lower, discount, 2.0**log_strength)).sum())

    discount, log_strength = 0.5, 1.0
    for _ in range(2):
        log_strength = golden_section(lambda x: loss(discount, x), -7.0, 15.0, 14)  # noqa: B023, called at once
        discount = golden_section(lambda x: loss(x, log_strength), 0.0, 0.999, 10)  # noqa: B023, called at once
    return discount, 2.0**log_strength


def _runs(corpus: Corpus, both_strands: bool, order: int) -> Iterator[tuple[Tokens, int]]:
    """The training part in runs of bounded length, each with up to `order` bases of its region before it to be
    skipped."""
    index = {assembly.name: assembly for assembly in corpus.assemblies}
    for region in corpus.splits.parts["train"]:
        if region.assembly not in index:
            continue
        for start in range(region.start, region.end, _COUNTED_AT_ONCE):
            end = min(region.end, start + _COUNTED_AT_ONCE)
            first, last = max(region.start, start - order), min(region.end, end + order)
            tokens = DNA.encode(index[region.assembly][region.contig, first:last])
            yield tokens[: end - first], start - first
            if both_strands:
                yield np.ascontiguousarray(DNA.reverse_complement(tokens[start - first :])), last - end


def _look_up_blocks(
    counts: MarkovCounts, corpus: Corpus, blocks: Sequence[tuple[TargetBlock, int]]
) -> NDArray[np.int64]:
    """Counts of the targets of all blocks, each with so many bases upstream of it."""
    rows = []
    for block, upstream in blocks:
        sequence = corpus.assemblies[block.assembly][block.contig, block.start - upstream : block.end]
        rows.append(counts.look_up(DNA.encode(sequence), upstream))
    return np.concatenate(rows, axis=2)


def _validation_blocks(corpus: Corpus, order: int, seed: int) -> list[tuple[TargetBlock, int]]:
    """Blocks of the validation part to fit on, and the bases upstream of each in its region; drawn when there are
    many."""
    index = {assembly.name: i for i, assembly in enumerate(corpus.assemblies)}
    regions = [region for region in corpus.splits.parts["valid"] if region.assembly in index]
    if not regions:
        raise InputError("the Markov baseline is fitted on the validation part, which is empty: give the split one")
    last = np.cumsum([-(-(region.end - region.start) // _FIT_BLOCK) for region in regions])
    total = int(last[-1])
    wanted = np.arange(min(total, _FIT_TARGETS // _FIT_BLOCK))
    keys = np.full(len(wanted), key_of(seed), dtype=np.uint64)
    blocks = []
    for number in sorted(permute(wanted, np.full_like(wanted, total), keys, total).tolist()):
        row = int(np.searchsorted(last, number, side="right"))
        region = regions[row]
        start = region.start + (number - (int(last[row - 1]) if row else 0)) * _FIT_BLOCK
        block = TargetBlock(index[region.assembly], region.contig, start, min(start + _FIT_BLOCK, region.end))
        blocks.append((block, min(order, start - region.start)))
    return blocks
