"""Many forks run on together: each a row that starts from a state of the stream and reads prefix, alleles, horizon.

A row starts at the place on the grid at or before its fork, so that up to 64 reference bases are read again; a state at
every base would be 4,000 times the bytes of the base. A pass takes rows of any length, and a row's state does not move
past its end. Where a fork may end early, its row is cut where the reference's own state is kept, and the two compared.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dnamamba.device import send_to_device
from dnamamba.model import ModelState
from dnamamba.model.reading import GRID
from dnamamba.pipelines.alphabet import DNA
from dnamamba.scoring.fork import Fork
from dnamamba.scoring.passes import LETTERS, Passes
from dnamamba.scoring.strand import Tokens
from dnamamba.scoring.track import Track

FIRST_CHECK = 512
"""Bases of the horizon that are read at least before the first comparison; each further one lies twice as far. The
step sizes that training starts from forget a state to 1e-4 in some 9,000 bases: a fork that ends early is a matter of
long horizons, or of models that forget faster."""
_RECENT = 64
"""Bases over which the rate is taken at which a fork still moves."""
SAME_STATE = 1e-4
"""Relative difference of a channel's state, the worst of all blocks and channels, below which two states are one."""
SAME_SCORE = 2e-4
"""Nats: what a fork may still move by the rate of its last bases, for it to end."""
_FLOOR = 1e-3  # of the block's mean: channels whose state is smaller are compared against this
_LONGEST_PIECE = 2**14  # tokens of a row in one pass

_AT_ONCE = 2  # batches under way
_END = object()

ALLELE, SHARED = 1, 2
_PAD = np.uint8(DNA.start)  # no letter: it is never counted


@dataclass(slots=True, eq=False)
class Row:
    """A fork on its way. `cuts` are numbers of tokens read."""

    fork: Fork
    cell: int
    """Where it starts, in units of GRID inputs of the stream."""
    tokens: Tokens
    """All that it reads, and the last target: [n + 1]."""
    kinds: NDArray[np.uint8]
    """What each target is part of: ALLELE, SHARED or, in the prefix and where no letter is counted, 0. [n]"""
    same: NDArray[np.int64]
    """The base of the stream that is each target's own, for SHARED; [n]"""
    cuts: list[int]
    """Where pieces end, the last one at n."""
    checks: dict[int, int]
    """Cut -> place on the grid where the reference's state can be compared."""
    allele: float = 0.0
    """Sum over the alternate letters, nats."""
    letters: int = 0
    """Alternate letters counted."""
    shared: float = 0.0
    """Sum over the reference bases read after the fork, alternate less reference, nats."""
    drift: float = 0.0
    """Mean of the absolute differences over the last piece, nats a base."""


def start_cell(fork: Fork, start: int) -> int:
    """The place on the grid of the stream from base `start` on where the fork's row starts: at or before the base that
    it shares last with the stream, so that the stream has been there even where the fork follows the contig's end."""
    return max(fork.start - start - 1, 0) // GRID


def check_cells(fork: Fork, start: int) -> list[int]:
    """Places on the stream's grid where the fork may be compared with the reference, rising.

    Args:
        start: first base of the stream.
    """
    after = fork.end - start + 1  # the input that follows the alleles
    first = -(-(after + FIRST_CHECK) // GRID)
    cells, cell = [], first
    while cell * GRID < after + fork.horizon - 1:
        cells.append(cell)
        cell = first + max(2 * (cell - first), FIRST_CHECK // GRID)
    return cells


def plan_pieces(fork: Fork, start: int, early_stop: bool) -> tuple[list[int], dict[int, int]]:
    """`cuts` and `checks` of the row that reads a fork of the stream that starts at base `start`."""
    after = fork.end - start + 1
    n = fork.start - start - start_cell(fork, start) * GRID + len(fork.tokens) + fork.horizon
    moved = n + 1 - fork.horizon - after  # from an input of the stream to the row's own count of tokens read
    checks = {moved + cell * GRID: cell for cell in check_cells(fork, start)} if early_stop else {}
    cuts: list[int] = []
    for begin, end in pairwise([0, *checks, n]):
        cuts += [*range(begin + _LONGEST_PIECE, end, _LONGEST_PIECE), end]
    return cuts if n else [], checks


def make_row(fork: Fork, start: int, track: Track, cuts: list[int], checks: dict[int, int]) -> Row:
    """Lay out a fork of the stream that starts at base `start`; all that it reads must be in `track`."""
    at, after, cell = fork.start - start, fork.end - start + 1, start_cell(fork, start)
    prefix = track.inputs(cell * GRID, at + 1)
    tokens = np.concatenate([prefix, fork.tokens, track.inputs(after, after + fork.horizon)])
    n, lead, alt = len(tokens) - 1, len(prefix) - 1, len(fork.tokens)
    kinds = np.zeros(n, np.uint8)
    kinds[lead:] = SHARED
    kinds[lead : lead + alt][fork.own] = ALLELE
    kinds[tokens[1:] >= LETTERS] = 0
    same = np.zeros(n, np.int64)
    same[lead + alt :] = np.arange(after - 1, after - 1 + fork.horizon)
    if not fork.own.all():
        same[lead : lead + alt][~fork.own] = _between(fork, start)
    return Row(fork, cell, tokens, kinds, same, cuts, checks)


def _between(fork: Fork, start: int) -> NDArray[np.int64]:
    """Bases of the stream between the variants of a haplotype."""
    gaps = [np.arange(end - start, next_start - start) for (_, end), (next_start, _) in pairwise(fork.spans)]
    return np.concatenate(gaps)


class Found(NamedTuple):
    """What a row found; its tokens are not kept."""

    allele: float
    letters: int
    shared: float
    """As in `Row`."""


def run_forks(passes: Passes, forks: Sequence[Fork], start: int, track: Track, *, early_stop: bool) -> list[Found]:
    """Read forks of the stream that starts at base `start` to their ends, or to where they may stop.

    Returns:
        What each found, in the order of `forks`.
    """
    plans = [plan_pieces(fork, start, early_stop) for fork in forks]
    widths = [max((end - begin for begin, end in pairwise([0, *cuts])), default=1) for cuts, _ in plans]
    # Neighbours in this order are as long as each other, piece by piece: little is padded.
    waiting = sorted(range(len(forks)), key=lambda i: (widths[i], plans[i][0][-1:]))
    found: dict[int, Found] = {}
    running: deque[tuple[Iterator[None], list[int], list[Row]]] = deque()
    while waiting or running:
        if waiting and len(running) < _AT_ONCE:
            count = max(1, passes.batch_tokens // widths[waiting[-1]])
            batch, waiting = waiting[-count:], waiting[:-count]
            rows = [make_row(forks[i], start, track, *plans[i]) for i in batch]
            running.append((_run_batch(passes, rows, track), batch, rows))
        else:
            running.rotate(-1)
        steps, batch, rows = running[-1]
        if next(steps, _END) is _END:
            running.pop()
            found |= {i: Found(row.allele, row.letters, row.shared) for i, row in zip(batch, rows, strict=True)}
    return [found[i] for i in range(len(forks))]


def _run_batch(passes: Passes, rows: list[Row], track: Track) -> Iterator[None]:
    """Run a batch; yields where a pass is under way, so that a GPU computes while another batch is laid out."""
    rows = [row for row in rows if row.cuts]
    state = track.states(np.array([row.cell for row in rows], np.int64)) if rows else None
    read, piece = [0] * len(rows), 0
    while rows:
        assert state is not None
        ends = [row.cuts[piece] for row in rows]
        laid = _lay_out(rows, read, ends)
        go_on = piece + 1 < max(len(row.cuts) for row in rows)  # else nobody asks for a state
        found = passes(laid.tokens, laid.targets, state, lengths=laid.uneven if go_on else None)
        yield
        _add_up(rows, laid, found.log_p, track)
        state = found.state
        piece += 1
        going = [i for i, row in enumerate(rows) if piece < len(row.cuts)]
        checked = [i for i in going if ends[i] in rows[i].checks]
        if checked:
            done = _converged(rows, ends, checked, state, track)
            going = [i for i in going if i not in done]
        if len(going) < len(rows):
            state = state.index(send_to_device(torch.tensor(going, dtype=torch.int64), passes.device))
        rows, read = [rows[i] for i in going], [ends[i] for i in going]


class _Piece(NamedTuple):
    """The next tokens of each row, side by side, [B, L]."""

    tokens: Tokens
    targets: Tokens
    kinds: NDArray[np.uint8]
    same: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def uneven(self) -> NDArray[np.int64] | None:
        """The lengths, where they differ."""
        return self.lengths if (self.lengths != self.tokens.shape[1]).any() else None


def _lay_out(rows: list[Row], read: list[int], ends: list[int]) -> _Piece:
    """Tokens [read, ends) of each row."""
    lengths = np.subtract(ends, read)
    shape = len(rows), int(lengths.max())
    tokens, targets = np.full(shape, _PAD, np.uint8), np.full(shape, _PAD, np.uint8)
    kinds, same = np.zeros(shape, np.uint8), np.zeros(shape, np.int64)
    for i, (row, begin, end) in enumerate(zip(rows, read, ends, strict=True)):
        count = end - begin
        tokens[i, :count] = row.tokens[begin:end]
        targets[i, :count] = row.tokens[begin + 1 : end + 1]
        kinds[i, :count] = row.kinds[begin:end]
        same[i, :count] = row.same[begin:end]
    return _Piece(tokens, targets, kinds, same, lengths)


def _add_up(rows: list[Row], piece: _Piece, log_p: NDArray[np.float64], track: Track) -> None:
    """Add to each row what a pass over its piece found."""
    # Selected, not multiplied by 0: nothing of a pad or a prefix can come into a sum.
    own, shared = piece.kinds == ALLELE, piece.kinds == SHARED
    moved = np.where(shared, log_p - track.log_p_at(np.where(shared, piece.same, track.first)), 0.0)
    alleles = np.where(own, log_p, 0.0).sum(1).tolist()
    letters, sums = np.count_nonzero(own, 1).tolist(), moved.sum(1).tolist()
    recent = np.arange(moved.shape[1]) >= piece.lengths[:, None] - _RECENT
    drift = (np.abs(moved).sum(1, where=recent) / _RECENT).tolist()
    for row, *values in zip(rows, alleles, letters, sums, drift, strict=True):
        row.allele += values[0]
        row.letters += values[1]
        row.shared += values[2]
        row.drift = values[3]


def _converged(rows: list[Row], ends: list[int], checked: list[int], state: ModelState, track: Track) -> set[int]:
    """Which of the rows `checked` need not be read on: their state is the reference's, and so are their last bases."""
    still = [i for i in checked if rows[i].drift * (rows[i].cuts[-1] - ends[i]) < SAME_SCORE]
    if not still:
        return set()
    theirs = track.states(np.array([rows[i].checks[ends[i]] for i in still], np.int64))
    ours = state.index(send_to_device(torch.tensor(still), state.layers[0].ssm.device))
    difference = relative_difference(ours, theirs).cpu().numpy()
    return {i for i, far in zip(still, difference, strict=True) if far < SAME_STATE}


def relative_difference(one: ModelState, other: ModelState) -> torch.Tensor:
    """The worst of all blocks and channels, [B]: the norm of the difference of a channel's state over its norm."""
    worst = []
    for a, b in zip(one.layers, other.layers, strict=True):
        for x, y, axis in ((a.ssm, b.ssm, 2), (a.conv, b.conv, 1)):
            size = y.norm(dim=axis)  # [B, D]
            floor = _FLOOR * size.mean(1, keepdim=True) + torch.finfo(size.dtype).tiny
            worst.append(((x - y).norm(dim=axis) / torch.maximum(size, floor)).amax(1))
    return torch.stack(worst).amax(0)
