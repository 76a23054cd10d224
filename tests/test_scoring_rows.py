"""When a fork may end: both its state and its last bases must have come back to the reference's."""

import numpy as np
import pytest
import torch

from dnamamba.model import ModelConfig, ModelState
from dnamamba.scoring import rows as module
from dnamamba.scoring.fork import Fork
from dnamamba.scoring.rows import FIRST_CHECK, SAME_SCORE, SAME_STATE, Row, check_cells, relative_difference

CONFIG = ModelConfig(d_model=8, n_layers=2, d_state=4)


def _state(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    like = ModelState.zeros(CONFIG, rows)
    return ModelState.from_tensors([torch.randn(t.shape, generator=generator) for t in like.tensors()])


def _changed(state, tensor, row, channel, by):
    """A copy whose channel is longer by the share `by` in one of its tensors."""
    tensors = [t.clone() for t in state.tensors()]
    if tensor % 2:
        tensors[tensor][row, channel] *= 1 + by  # [B, D, N]
    else:
        tensors[tensor][row, :, channel] *= 1 + by  # [B, W - 1, D]
    return ModelState.from_tensors(tensors)


@pytest.mark.parametrize("tensor", range(4), ids=["conv 0", "scan 0", "conv 1", "scan 1"])
def test_one_channel_of_one_block_is_enough_to_differ(tensor):
    theirs = _state(3)
    ours = _changed(theirs, tensor, row=1, channel=5, by=0.01)
    difference = relative_difference(ours, theirs)
    assert difference.tolist() == pytest.approx([0, 0.01, 0], abs=1e-6)


def test_an_empty_state_is_the_same_as_itself():
    zeros = ModelState.zeros(CONFIG, 2)
    assert relative_difference(zeros, zeros).tolist() == [0, 0]


class _Track:
    def __init__(self, state):
        self.state = state

    def states(self, cells):
        return self.state.index(torch.from_numpy(cells))


@pytest.mark.parametrize(
    "drift, by, ends",
    [
        (0.5 * SAME_SCORE / 400, 0.5 * SAME_STATE, True),
        (0.5 * SAME_SCORE / 400, 2 * SAME_STATE, False),  # the last bases were alike by chance
        (2 * SAME_SCORE / 400, 0.5 * SAME_STATE, False),  # close, and still on the move
    ],
)
def test_a_fork_ends_when_both_are_alike(drift, by, ends):
    theirs = _state(1)
    none = np.zeros(0, np.int64)
    fork = Fork(0, 1, np.zeros(1, np.uint8), np.ones(1, np.bool_), ((0, 1),), False, 700)
    row = Row(fork, 0, none.astype(np.uint8), none.astype(np.uint8), none, [320, 720], {320: 0}, drift=drift)
    state = _changed(theirs, 1, row=0, channel=3, by=by)
    assert module._converged([row], [320], [0], state, _Track(theirs)) == ({0} if ends else set())


def test_comparisons_lie_on_the_grid_and_twice_as_far_each():
    fork = Fork(1000, 1001, np.zeros(1, np.uint8), np.ones(1, np.bool_), ((1000, 1001),), False, 5000)
    places = [64 * cell - (1001 - 100 + 1) for cell in check_cells(fork, 100)]  # bases of the horizon read by then
    assert FIRST_CHECK <= places[0] < FIRST_CHECK + 64
    assert [b - places[0] for b in places[1:]] == [512, 1024, 2048, 4096]
    assert check_cells(fork, 100)[-1] * 64 < 1001 - 100 + 1 + 5000
    short = Fork(1000, 1001, np.zeros(1, np.uint8), np.ones(1, np.bool_), ((1000, 1001),), False, 512)
    assert check_cells(short, 100) == []
