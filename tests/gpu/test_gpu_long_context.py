"""Slices and memory plans on a GPU: the gradients of the whole, the same bits twice, peaks as the plan promised."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from random_models import random_model

from dnamamba.memory import LEAN_TOKENS, plan_memory
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model.sliced import cut_batch, sliced_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: memory is planned on a GPU only"),
]


def _batch(rows, length, resets=True):
    generator = torch.Generator().manual_seed(1)
    letters = torch.randint(0, 4, (rows, length + 1), generator=generator, dtype=torch.uint8)
    reset = torch.rand(rows, length, generator=generator) < 1e-3 if resets else None
    batch = {"tokens": letters[:, :-1], "targets": letters[:, 1:].long(), "reset": reset}
    return {name: None if t is None else t.contiguous().cuda() for name, t in batch.items()}


def _gradients(model, batch, slice_length, autocast=None):
    model.zero_grad()
    length = batch["tokens"].shape[1]
    loss, _, _ = sliced_step(
        model, cut_batch(batch), length, slice_length, scale=1 / batch["tokens"].numel(), autocast=autocast
    )
    return loss, {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("recompute", ["none", "cheap", "all"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("resets", [False, True], ids=["one sequence", "packed"])
def test_slices_give_the_gradients_of_the_whole(recompute, autocast, resets):
    """float32 to 1e-5. In bfloat16 each cutting of a sum rounds anew."""
    model, batch = random_model(d_model=64).cuda().train(), _batch(2, 10_007, resets)
    model.recompute = recompute
    loss, ours = _gradients(model, batch, 1_024, autocast)
    whole, theirs = _gradients(model, batch, 10_007, autocast)
    assert abs(loss / whole - 1) < 1e-5
    for name, gradient in theirs.items():
        error = (ours[name] - gradient).norm() / gradient.norm()
        assert error < (1e-5 if autocast is None else 1e-2), f"{name}: relative error {error:.1e}"


def test_two_sliced_steps_give_the_same_bits():
    model, batch = random_model(d_model=64).cuda().train(), _batch(1, 300_000)
    first, second = (_gradients(model, batch, 2**16, torch.bfloat16) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


@pytest.mark.parametrize("rows, length", [(512, 2**10), (4, 2**17), (1, 2**20)], ids=str)
@pytest.mark.parametrize("setting", ["lean", 2.5])
def test_a_step_stays_within_its_plan(rows, length, setting):
    torch.manual_seed(0)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    model = MambaLM(ModelConfig(d_model=128, n_layers=12)).cuda()
    model.recompute = "cheap"
    portion = plan_memory(model, {length: rows}, setting, autocast=torch.bfloat16)[length]
    assert setting != "lean" or portion.rows * portion.slice_length <= LEAN_TOKENS[1]
    assert all(p.grad is None for p in model.parameters())
    batch = _batch(rows, length, resets=False)
    torch.cuda.reset_peak_memory_stats()
    for first in range(0, rows, portion.rows):
        part = {name: None if t is None else t[first : first + portion.rows] for name, t in batch.items()}
        sliced_step(model, cut_batch(part), length, portion.slice_length, autocast=torch.bfloat16)
    peak = torch.cuda.max_memory_allocated() - before
    # Of whole windows lean takes the number that comes nearest: half a window more, at most, than 4 GB hold.
    nearest = portion.rows / (portion.rows - 0.5) if portion.slice_length == length else 1
    assert peak < (4e9 * nearest if setting == "lean" else setting * 1e9), f"{peak / 1e9:.2f} GB with {portion}"
