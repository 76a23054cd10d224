"""The synthetic tasks and the time-invariant mixer on a GPU: recorded steps, the same samples, the same numbers."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from kernel_checks import assert_close, run
from test_kernels_static_scan import double, draw, ours, recurrence

from dnamamba.model import ModelConfig
from dnamamba.tasks.captured import WARM_UP, CapturedStep
from dnamamba.tasks.extrapolation import measure
from dnamamba.tasks.induction_heads import INDUCTION_HEADS
from dnamamba.tasks.selective_copying import SELECTIVE_COPYING
from dnamamba.tasks.training import TaskTraining

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: a CUDA graph needs one"),
]
MIXERS = ["mamba", "s4d", "selects nothing"]


def _config(name):
    return ModelConfig(d_model=64, n_layers=2, **({"mixer": name} if name in ("mamba", "s4d") else {"selective": ()}))


def test_a_recorded_step_runs_once_a_call():
    total = torch.zeros((), device="cuda")
    step = CapturedStep(lambda: total.add_(1), lambda: None, torch.device("cuda"))
    for _ in range(WARM_UP + 4):
        step()
    assert step.is_captured
    assert total.item() == WARM_UP + 4


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("task", [INDUCTION_HEADS, SELECTIVE_COPYING], ids=lambda task: task.name)
def test_a_recorded_training_is_the_plain_one(task, mixer, tmp_path, monkeypatch):
    settings = replace(task.settings, batch=4, steps=WARM_UP + 9, check_every=6, check_samples=8, precision="float32")
    losses = {}
    for kind in ("recorded", "plain"):
        training = TaskTraining(task, settings, _config(mixer), torch.device("cuda"))
        if kind == "plain":
            monkeypatch.setattr(training._train, "_stream", None)
        training.run(tmp_path / kind, lambda look: None)
        assert training._train.is_captured == (kind == "recorded")
        losses[kind] = [value for look in training.looks for value in (look.loss, look.check_loss)]
    assert losses["recorded"] == pytest.approx(losses["plain"], rel=1e-4)


def test_samples_are_those_of_the_cpu():
    samples = torch.arange(50)
    for task in (INDUCTION_HEADS, SELECTIVE_COPYING):
        length = task.settings.length
        found = [task.tokens(3, samples.to(where), length, 0, length).cpu() for where in ("cpu", "cuda")]
        assert torch.equal(*found)


@pytest.mark.parametrize("resets", [0.0, 0.01])
def test_static_scan_matches_the_recurrence(resets):
    inputs = draw(3, 1000, 70, 16, resets=resets, device="cuda")
    assert_close(run(ours, inputs), run(recurrence, double(inputs)))


@pytest.mark.parametrize("mixer", MIXERS)
def test_two_runs_give_the_same_bits(mixer, tmp_path):
    settings = replace(SELECTIVE_COPYING.settings, batch=8, steps=10, check_every=10, check_samples=8)
    losses = []
    for number in range(2):
        training = TaskTraining(SELECTIVE_COPYING, settings, _config(mixer), torch.device("cuda"))
        training.run(tmp_path / str(number), lambda look: None)
        losses.append(training.looks[-1].loss)
    assert losses[0] == losses[1]


def test_a_million_tokens_are_streamed():
    training = TaskTraining(INDUCTION_HEADS, INDUCTION_HEADS.settings, _config("s4d"), torch.device("cuda"))
    torch.cuda.reset_peak_memory_stats()
    (one,) = measure(INDUCTION_HEADS, training.model, INDUCTION_HEADS.settings, [2**20], None, lambda one: None)
    assert one.samples == 64
    assert one.accuracy < 0.5
    assert torch.cuda.max_memory_allocated() < 12e9
