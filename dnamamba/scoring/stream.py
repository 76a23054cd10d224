"""One pass over the reference from a stream's start: forks leave it where they must, and are compared with it.

A segment after the other is read, the state handed on; states at the places where forks start (and may end) are kept.
A fork is run as soon as the pass has read all reference bases that it needs, together with all others that are ready.
What is in memory is a segment, the forks' states and the stretch between the oldest waiting fork and the pass: neither
the stream's length nor the number of forks counts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.model import ModelState
from dnamamba.model.reading import GRID
from dnamamba.pipelines.alphabet import DNA
from dnamamba.scoring.fork import Fork
from dnamamba.scoring.passes import LETTERS, Passes
from dnamamba.scoring.rows import Found, check_cells, run_forks, start_cell
from dnamamba.scoring.strand import Strand, Tokens
from dnamamba.scoring.track import Track
from dnamamba.scoring.types import StrandParts


def score_forks(
    passes: Passes, strand: Strand, start: int, context: int | None, forks: Sequence[Fork], *, early_stop: bool
) -> list[StrandParts]:
    """Score the forks of one stream.

    Args:
        passes: the model.
        strand: that is read.
        start: first base of the stream.
        context: bases of the stream, whose mean log-probability is the null of alleles that differ in length; None is
            to the contig's end.
        forks: all at or after `start`.
        early_stop: end a fork where its state has come back to the reference's.

    Returns:
        Parts of the score, in the order of `forks`.
    """
    stop = strand.length if context is None else min(start + context, strand.length)
    reach = max(fork.reach for fork in forks)
    end = max(reach, stop) if any(fork.uneven for fork in forks) else reach  # the null wants the whole stream
    ahead = sorted(range(len(forks)), key=lambda i: -forks[i].start)  # those that the pass has not come to, last first
    waiting: list[int] = []  # those that need bases which it has not come to
    cells = _wanted_cells(forks, start, early_stop)
    track, mean = Track(), _Mean()
    state: ModelState | None = None
    sums: dict[int, _Sums] = {}
    for first in range(0, end - start, passes.segment):
        last = min(first + passes.segment, end - start)
        inputs = _inputs(strand, start, first, last)
        here = cells[np.searchsorted(cells, first // GRID) : np.searchsorted(cells, -(-last // GRID))]
        read = passes(inputs[None, :-1], inputs[None, 1:], state, keep=here - first // GRID)
        state = read.state
        track.append(inputs, read.log_p[0], here, read.kept)
        mean.add(read.log_p[0], inputs[1:], stop - start - first)
        while ahead and forks[ahead[-1]].start - start <= last:
            waiting.append(ahead.pop())
        ready = [i for i in waiting if forks[i].reach - start <= last]
        waiting = [i for i in waiting if forks[i].reach - start > last]
        results = run_forks(passes, [forks[i] for i in ready], start, track, early_stop=early_stop)
        sums |= {i: _sums(forks[i], found, start, track) for i, found in zip(ready, results, strict=True)}
        track.drop_before(min((start_cell(forks[i], start) for i in (*waiting, *ahead[-1:])), default=last // GRID))
    parts = []
    for i, fork in enumerate(forks):
        null = sums[i].letters * mean.value
        parts.append(StrandParts(sums[i].allele - null, sums[i].shared, fork.start - start, fork.horizon, null))
    return parts


class _Sums(NamedTuple):
    """What a finished fork comes to, but for the null."""

    allele: float
    """Alternate letters less reference letters, nats."""
    letters: int
    """The same of their numbers."""
    shared: float


def _sums(fork: Fork, found: Found, start: int, track: Track) -> _Sums:
    spans = [(a - start, b - start) for a, b in fork.spans]
    return _Sums(
        found.allele - sum(track.sum(*span) for span in spans),
        found.letters - sum(track.count(*span) for span in spans),
        found.shared,
    )


class _Mean:
    """The mean log-probability of a stream's bases."""

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def add(self, log_p: NDArray[np.float64], targets: Tokens, limit: int) -> None:
        """Take in a segment, of which the first `limit` bases belong to the stream; what follows is read for forks."""
        limit = max(limit, 0)
        self._total += float(log_p[:limit].sum())
        self._count += int(np.count_nonzero(targets[:limit] < LETTERS))

    @property
    def value(self) -> float:
        """Nats a base; 0 where the stream has nothing but N."""
        return self._total / self._count if self._count else 0.0


def _wanted_cells(forks: Sequence[Fork], start: int, early_stop: bool) -> NDArray[np.int64]:
    """Places on the grid whose states are to be kept, rising."""
    cells = {start_cell(fork, start) for fork in forks}
    if early_stop:
        cells.update(cell for fork in forks for cell in check_cells(fork, start))
    return np.array(sorted(cells), np.int64)


def _inputs(strand: Strand, start: int, first: int, last: int) -> Tokens:
    """Inputs [first, last] of the stream from base `start` on: the start token, then its bases."""
    if first:
        return strand.tokens(start + first - 1, start + last)
    return np.concatenate([np.array([DNA.start], np.uint8), strand.tokens(start, start + last)])
