"""Tests at any length: streaming answers are those of the whole sequence; the interval is Wilson's."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from random_models import random_model

from dnamamba.tasks import extrapolation
from dnamamba.tasks.extrapolation import measure, right_answers, test_lengths
from dnamamba.tasks.induction_heads import INDUCTION_HEADS
from dnamamba.tasks.selective_copying import SELECTIVE_COPYING

test_lengths.__test__ = False


@pytest.mark.parametrize("task", [INDUCTION_HEADS, SELECTIVE_COPYING], ids=lambda task: task.name)
@pytest.mark.parametrize("at_a_time", [2**5, 2**12])
def test_streamed_answers_are_those_of_the_whole(task, at_a_time, monkeypatch):
    monkeypatch.setitem(extrapolation.AT_A_TIME, "cpu", at_a_time)
    monkeypatch.setitem(extrapolation.TOKENS, "cpu", 2**12)
    monkeypatch.setattr(extrapolation, "SAMPLES", (10, 40))
    model, told = random_model(d_model=16, n_layers=2), []
    settings = replace(task.settings, seed=5)
    measured = measure(task, model, settings, [100, 333], None, told.append)
    assert told == measured
    for one in measured:
        samples = torch.arange(one.samples)
        assert one.samples == min(40, 2**12 // one.length)
        seed = 5 + extrapolation.TEST_SEED
        tokens, answers = task.tokens(seed, samples, one.length, 0, one.length), task.answers(seed, samples, one.length)
        with torch.no_grad():
            logits, _ = model(tokens)
        right = logits[:, -task.n_answers :].argmax(-1) == answers
        assert torch.equal(right_answers(task, model, seed, one.samples, one.length, None), right)
        assert one.accuracy == pytest.approx(right.float().mean().item())
        assert one.whole == pytest.approx(right.all(1).float().mean().item())
        assert one.low <= one.accuracy <= one.high
        assert F.cross_entropy(logits[:, -1], answers[:, -1]) > 1  # an untrained model: some answers are wrong


class Solver:
    """Says what the tasks ask for, by their rules, from the tokens it is given and a state of its own."""

    device = torch.device("cpu")

    def __init__(self):
        self.backbone = self
        self.embedding = torch.nn.Embedding.from_pretrained(torch.eye(16))

    def __call__(self, tokens, state=None):
        state = state or [{"before": -1, "heard": [], "said": 0} for _ in tokens]
        said = torch.zeros(tokens.shape, dtype=torch.int64)
        for row, (known, mine) in enumerate(zip(state, tokens.tolist(), strict=True)):
            for place, token in enumerate(mine):
                said[row, place] = self.hear(known, token)
        return F.one_hot(said, 16).float(), state


class InductionSolver(Solver):
    def hear(self, known, token):
        if known["before"] == 15 and not known["heard"]:
            known["heard"].append(token)
        known["before"] = token
        return known["heard"][0] if known["heard"] else 0


class CopyingSolver(Solver):
    def hear(self, known, token):
        if 0 < token < 15:
            known["heard"].append(token)
        if token == 15 and known["said"] < len(known["heard"]):
            known["said"] += 1
            return known["heard"][known["said"] - 1]
        return 0


@pytest.mark.parametrize("at_a_time", [2**5, 2**10])
@pytest.mark.parametrize("task, solver", [(INDUCTION_HEADS, InductionSolver), (SELECTIVE_COPYING, CopyingSolver)])
def test_a_model_that_keeps_what_it_must_is_right_at_every_length(task, solver, at_a_time, monkeypatch):
    """Its state has to come through every border between pieces; the whole of a sequence is never there at once."""
    monkeypatch.setitem(extrapolation.AT_A_TIME, "cpu", at_a_time)
    for length in (32, 100, 777):
        assert right_answers(task, solver(), 0, 20, length, None).all(), length


def test_lengths_are_powers_of_two_and_the_trained_one():
    assert test_lengths(replace(INDUCTION_HEADS.settings, length=100, longest=512)) == [64, 100, 128, 256, 512]
    assert test_lengths(INDUCTION_HEADS.settings)[-1] == 2**20
    assert test_lengths(SELECTIVE_COPYING.settings) == [4096]
