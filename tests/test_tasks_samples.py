"""The two generators: every sample keeps the rules of its task, read back by plain Python."""

import pytest
import torch

from dnamamba.tasks.induction_heads import INDUCTION_HEADS
from dnamamba.tasks.induction_heads import MARKER as INDUCED
from dnamamba.tasks.selective_copying import COPIED, MARKER, NOISE, SELECTIVE_COPYING

SAMPLES = torch.arange(300)


def whole(task, length, samples=SAMPLES, seed=0):
    return task.tokens(seed, samples, length, 0, length), task.answers(seed, samples, length)


@pytest.mark.parametrize("length", [4, 64, 300])
def test_induction_heads(length):
    tokens, answers = whole(INDUCTION_HEADS, length)
    places = []
    for row, (answer,) in zip(tokens.tolist(), answers.tolist(), strict=True):
        place = row.index(INDUCED)
        places.append(place)
        assert row[-1] == INDUCED
        assert row.count(INDUCED) == 2
        assert row[place + 1] == answer < INDUCED
    assert min(places) == 0
    assert max(places) == length - 3  # what follows it still stands before the end


@pytest.mark.parametrize("length", [32, 100, 515])
def test_selective_copying(length):
    tokens, answers = whole(SELECTIVE_COPYING, length)
    places = torch.zeros(length - COPIED)
    for row, answer in zip(tokens.tolist(), answers.tolist(), strict=True):
        data = [token for token in row[:-COPIED] if token != NOISE]
        assert data == answer
        assert all(1 <= token < MARKER for token in data)
        assert len(data) == COPIED
        assert row[-COPIED:] == [MARKER] * COPIED
        places += torch.tensor(row[:-COPIED]) != NOISE
    assert (places / len(tokens) - COPIED / (length - COPIED)).abs().max() < 0.2  # every place is as good


@pytest.mark.parametrize("task", [INDUCTION_HEADS, SELECTIVE_COPYING], ids=lambda task: task.name)
def test_samples_are_a_function_of_seed_and_number(task, device):
    tokens, answers = whole(task, 64)
    again, same = whole(task, 64, SAMPLES[100:110].to(device))
    assert torch.equal(again.cpu(), tokens[100:110])
    assert torch.equal(same.cpu(), answers[100:110])
    assert not torch.equal(whole(task, 64, seed=1)[0], tokens)
    pieces = [task.tokens(0, SAMPLES, 64, first, first + 16) for first in range(0, 64, 16)]
    assert torch.equal(torch.cat(pieces, 1), tokens)
    assert len(tokens.unique(dim=0)) == len(tokens)
    shares = torch.bincount(whole(task, 64, torch.arange(3000))[1].flatten()).double()
    assert shares[shares > 0].max() / shares[shares > 0].min() < 1.5
