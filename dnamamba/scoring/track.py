"""What a stream has read and is still needed: its tokens, its log-probabilities, its states at places on the grid."""

import numpy as np
import torch
from numpy.typing import NDArray

from dnamamba.device import send_to_device
from dnamamba.model import ModelState
from dnamamba.model.reading import GRID
from dnamamba.scoring.passes import LETTERS
from dnamamba.scoring.strand import Tokens


class Track:
    """The last stretch of a stream. Input 0 is the start token; input i + 1 is base i, which input i predicts."""

    def __init__(self) -> None:
        self._first = 0
        self._inputs: Tokens = np.empty(0, np.uint8)
        self._log_p = np.empty(0, np.float64)
        self._sums = np.zeros(1, np.float64)
        self._counts = np.zeros(1, np.int64)
        self._states: list[tuple[NDArray[np.int64], ModelState]] = []

    def append(self, inputs: Tokens, log_p: NDArray[np.float64], cells: NDArray[np.int64], states: ModelState) -> None:
        """Take in a segment.

        Args:
            inputs: [L + 1], one more than was read, so that the last base is there too.
            log_p: of bases, [L], nats, 0 where not counted.
            cells: places of the states, in units of GRID inputs, rising.
            states: before the inputs GRID * cells, one row each.
        """
        self._inputs = np.concatenate([self._inputs[: len(self._log_p)], inputs])
        self._log_p = np.concatenate([self._log_p, log_p])
        counted = self._inputs[1:] < LETTERS
        self._sums = np.concatenate([[0.0], np.cumsum(self._log_p)])
        self._counts = np.concatenate([[0], np.cumsum(counted)])
        if len(cells):
            self._states.append((cells, states))

    def drop_before(self, cell: int) -> None:
        """Forget what lies before a place on the grid."""
        inputs = min(max(cell * GRID - self._first, 0), len(self._log_p))
        self._first += inputs
        self._inputs, self._log_p = self._inputs[inputs:], self._log_p[inputs:]
        self._sums, self._counts = self._sums[inputs:], self._counts[inputs:]
        self._states = [(cells, state) for cells, state in self._states if cells[-1] >= cell]

    def inputs(self, start: int, end: int) -> Tokens:
        """Inputs [start, end)."""
        return self._inputs[start - self._first : end - self._first]

    @property
    def first(self) -> int:
        """The first base that is still here."""
        return self._first

    def log_p_at(self, bases: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probability of each of some bases, nats, 0 where not counted."""
        return np.take(self._log_p, bases - self._first)

    def sum(self, start: int, end: int) -> float:
        """Log-probability of bases [start, end) together."""
        return float(self._sums[end - self._first] - self._sums[start - self._first])

    def count(self, start: int, end: int) -> int:
        """How many of the bases [start, end) are counted: A, C, G or T."""
        return int(self._counts[end - self._first] - self._counts[start - self._first])

    def states(self, cells: NDArray[np.int64]) -> ModelState:
        """States before the inputs GRID * cells, a row each; they must have been kept."""
        parts, places = [], np.empty(len(cells), np.int64)
        found, device = 0, self._states[0][1].layers[0].ssm.device
        for kept, state in self._states:
            row = np.searchsorted(kept, cells)
            here = row < len(kept)
            here &= kept[np.minimum(row, len(kept) - 1)] == cells
            if here.any():
                places[here] = found + np.arange(int(here.sum()))
                parts.append(state.index(send_to_device(torch.from_numpy(row[here]), device)))
                found += int(here.sum())
        assert found == len(cells), "a state that was not kept"
        if len(parts) == 1:
            return parts[0]
        order = send_to_device(torch.from_numpy(places), device)
        joined = [torch.cat(tensors) for tensors in zip(*(part.tensors() for part in parts), strict=True)]
        return ModelState.from_tensors(joined).index(order)
