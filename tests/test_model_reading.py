"""A pass that keeps states and takes rows of unequal length, against plain passes."""

import pytest
import torch
from random_models import random_model, random_tokens

from dnamamba.model.reading import GRID, read


@pytest.fixture(scope="module", params=["mamba", "static mamba", "s4d"])
def backbone(request):
    options = {"static mamba": {"selective": ("C",)}, "s4d": {"mixer": "s4d"}}
    return random_model(**options.get(request.param, {})).backbone


def _close(one, other):
    for a, b in zip(one.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_kept_states_are_those_of_a_cut(backbone):
    tokens = random_tokens(2, 3 * GRID + 9)
    _, before = backbone(random_tokens(2, 5, seed=1))
    reading = read(backbone, tokens, before, keep=torch.tensor([0, 1, 3]))
    features, state = backbone(tokens, before)
    torch.testing.assert_close(reading.features, features, rtol=1e-5, atol=1e-5)
    _close(reading.state, state)
    for i, block in enumerate([0, 1, 3]):
        wanted = backbone(tokens[:, : block * GRID], before)[1] if block else before
        for row in (0, 1):
            _close(reading.kept.index([3 * row + i]), wanted.index([row]))


@torch.no_grad()
def test_a_row_ends_where_its_length_says(backbone):
    """Whatever stands behind: features and state are those of the row alone."""
    tokens = random_tokens(4, 150)
    lengths = torch.tensor([150, 1, 2, 64])
    _, before = backbone(random_tokens(4, 7, seed=1))
    reading = read(backbone, tokens, before, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        features, state = backbone(tokens[row : row + 1, :length], before.index([row]))
        torch.testing.assert_close(reading.features[row : row + 1, :length], features, rtol=1e-5, atol=1e-5)
        _close(reading.state.index([row]), state)
    other = torch.where(torch.arange(150) < lengths[:, None], tokens, 15 - tokens)
    again = read(backbone, other, before, lengths=lengths)
    for a, b in zip(reading.state.tensors(), again.state.tensors(), strict=True):
        assert torch.equal(a, b)
