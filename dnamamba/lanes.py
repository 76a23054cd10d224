"""Windows that go on where the one before stopped: the order in which a training that carries its state reads the DNA.

A source's stretches, in an order drawn anew each epoch and each on a strand drawn for it, form one circular line. As
many lanes as an optimiser step has windows walk it side by side, a window a step: sample s of a stage is window
s // lanes of lane s % lanes. In an epoch the lanes walk parts of one length that do not overlap; fewer bases than a
step has are left unread, other ones each epoch. A lane starts anew where its part begins and at every stretch;
everywhere else the model's state is handed on. A pure function of (seed, stage, sample), as windows.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.reading import Tokens, read_windows
from dnamamba.sampling import Int64, below, choose, coin, hash_indices, key_of
from dnamamba.windows import Piece, Source, Window

# Purposes that keys are drawn for; the numbers are part of the order, so they never change.
_SOURCE, _ORDER, _STRAND, _PHASE = range(6, 10)


class LaneWindow(NamedTuple):
    """What one sample reads."""

    pieces: tuple[Window, ...]
    """Windows of one piece each, end to end, each on a strand of its own; as many bases as the context."""
    before: Window | None
    """The base before the first piece, in reading direction; None where the first piece starts anew."""


class _Line(NamedTuple):
    """One epoch's line."""

    stretch: Int64
    """Index of each stretch in line order, [n]."""
    border: Int64
    """Where each begins on the line, then the line's length, [n + 1]."""
    reverse: npt.NDArray[np.bool_]
    """Whether it is read from its end, on the other strand, [n]."""
    phase: int
    """Where the first lane begins."""


class LaneIndex:
    """The lanes of one source at one context."""

    packed_share = 0.0
    """As of WindowIndex: no window reads less than the whole context for being packed."""

    def __init__(self, source: Source, context: int, lanes: int, key: int, *, strands: bool) -> None:
        """Lay out the lanes.

        Raises:
            InputError: the source has fewer bases than its lanes read in a step.
        """
        self.stretches, self.context, self.lanes, self.key, self.strands = (
            source.stretches,
            context,
            lanes,
            key,
            strands,
        )
        self.bases = source.stretches.bases
        self.steps = self.bases // (lanes * context)
        if not self.steps:
            raise InputError(
                f"{source.name}: its training part holds {self.bases:,} bases, less than the {lanes * context:,} that "
                f"an optimiser step reads of it ({lanes} windows of {context:,}), and with run.carry_state every one "
                "of them lies in another place: lower curriculum.tokens_per_step"
            )
        self._lines: dict[int, _Line] = {}

    def window(self, lane: int, step: int) -> LaneWindow:
        """What a lane reads at a step of the stage."""
        epoch, number = divmod(step, self.steps)
        line = self._line(epoch)
        at = (line.phase + (lane * self.steps + number) * self.context) % self.bases
        row = int(np.searchsorted(line.border, at, side="right")) - 1
        inside = at - int(line.border[row])
        before = self._part(line, row, inside - 1, inside) if number and inside else None
        pieces, left = [], self.context
        while left:
            length = int(line.border[row + 1] - line.border[row])
            until = min(length, inside + left)
            pieces.append(self._part(line, row, inside, until))
            left -= until - inside
            row, inside = (row + 1) % len(line.stretch), 0
        return LaneWindow(tuple(pieces), before)

    def _part(self, line: _Line, row: int, first: int, last: int) -> Window:
        """Bases [first, last) of a stretch, counted in the direction in which it is read."""
        stretch, reverse = int(line.stretch[row]), bool(line.reverse[row])
        start, end = int(self.stretches.start[stretch]), int(self.stretches.end[stretch])
        first, last = (end - last, end - first) if reverse else (start + first, start + last)
        piece = Piece(int(self.stretches.assembly[stretch]), self.stretches.contig[stretch], first, last)
        return Window((piece,), reverse)

    def _line(self, epoch: int) -> _Line:
        if epoch not in self._lines:
            rows = np.flatnonzero(self.stretches.length > 0)
            rows = rows[np.argsort(hash_indices(rows, key_of(self.key, _ORDER, epoch)), kind="stable")]
            border = np.zeros(len(rows) + 1, dtype=np.int64)
            np.cumsum(self.stretches.length[rows], out=border[1:])
            reverse = coin(rows, key_of(self.key, _STRAND, epoch)) & self.strands
            here = np.array([epoch], dtype=np.int64)
            phase = below(hash_indices(here, key_of(self.key, _PHASE)), np.array([self.bases], dtype=np.int64))
            self._lines = {epoch: _Line(rows, border, reverse, int(phase[0]))}  # steps come in order: one is enough
        return self._lines[epoch]


class LaneOrder:
    """The windows of one curriculum stage, lane beside lane, step after step, without end."""

    def __init__(
        self,
        sources: Sequence[Source],
        context: int,
        *,
        lanes: int,
        seed: int,
        stage: int,
        reverse_complement: bool = True,
    ) -> None:
        """Deal the lanes out to the sources by weight.

        Args:
            sources: at least one.
            context: window length in bases.
            lanes: windows of an optimiser step, on all devices.
            seed: of the whole run.
            stage: of the curriculum.
            reverse_complement: read about half of the stretches, anew each epoch, from the other strand.

        Raises:
            InputError: more sources than lanes, or a source with fewer bases than its lanes read in a step.
        """
        self.context, self.lanes = context, lanes
        weights = [source.weight for source in sources]
        self._source, self._number = choose(np.arange(lanes, dtype=np.int64), weights, key_of(seed, stage, _SOURCE))
        shares = np.bincount(self._source, minlength=len(sources)).tolist()
        for source, share in zip(sources, shares, strict=True):
            if not share:
                raise InputError(
                    f"{source.name}: gets none of the {lanes} windows of an optimiser step at context {context:,}; "
                    "with run.carry_state each source wants one: raise curriculum.tokens_per_step"
                )
        self.indices = tuple(
            LaneIndex(source, context, share, key_of(seed, stage, number), strands=reverse_complement)
            for number, (source, share) in enumerate(zip(sources, shares, strict=True))
        )

    def windows(self, samples: Int64) -> list[LaneWindow]:
        """The window of each global sample number, [n]."""
        steps, lanes = np.divmod(samples, self.lanes)
        return [
            self.indices[int(self._source[lane])].window(int(self._number[lane]), step)
            for step, lane in zip(steps.tolist(), lanes.tolist(), strict=True)
        ]


def read_lanes(
    windows: Sequence[LaneWindow], assemblies: Sequence[AssemblyLike], alphabet: Alphabet, out: Tokens
) -> tuple[Tokens, npt.NDArray[np.bool_] | None]:
    """Read windows into the rows of `out`, uint8 tokens [B, L].

    Returns:
        The token before each row, uint8 [B], the start token where there is none; and where rows start anew, bool
        [B, L], None when none does.

    Raises:
        InputError: a letter that the alphabet does not have.
    """
    whole = [i for i, window in enumerate(windows) if len(window.pieces) == 1]
    if whole:
        rows = np.empty((len(whole), out.shape[1]), np.uint8)
        read_windows([windows[i].pieces[0] for i in whole], assemblies, alphabet, rows)
        out[whole] = rows
    before = np.full((len(windows), 1), alphabet.start, np.uint8)
    going_on = [(i, window.before) for i, window in enumerate(windows) if window.before is not None]
    if going_on:
        ends = np.empty((len(going_on), 1), np.uint8)
        read_windows([window for _, window in going_on], assemblies, alphabet, ends)
        before[[i for i, _ in going_on]] = ends
    if len(whole) == len(going_on) == len(windows):
        return before[:, 0], None
    reset = np.zeros(out.shape, np.bool_)
    for row, marks, window in zip(out, reset, windows, strict=True):
        marks[0] = window.before is None
        at = 0
        for part in window.pieces if len(window.pieces) > 1 else ():
            length = part.pieces[0].end - part.pieces[0].start
            read_windows([part], assemblies, alphabet, row[None, at : at + length])
            marks[at] |= at > 0
            at += length
    return before[:, 0], reset
