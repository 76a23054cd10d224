"""The compiled CPU scan where its machinery could fail: slow states over many chunks, tails, sums of several tasks."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import torch
from kernel_checks import FORWARD, GRADIENT, assert_close, double, draw_scan, relative_error, run
from torch import Tensor

from dnamamba.kernels import reference, selective_scan
from dnamamba.kernels.cpu_jobs import CHUNK, SLOW


@numba.njit
def _walk(x: Any, dt: Any, A: Any, B: Any, C: Any, dy: Any) -> Any:
    """Values and gradients of one sequence in float64, step by step."""
    L, D = x.shape
    N = A.shape[1]
    y, states = np.zeros((L, D)), np.zeros((L + 1, D, N))
    for t in range(L):
        for d in range(D):
            for n in range(N):
                states[t + 1, d, n] = np.exp(dt[t, d] * A[d, n]) * states[t, d, n] + dt[t, d] * B[t, n] * x[t, d]
                y[t, d] += C[t, n] * states[t + 1, d, n]
    dx, ddt, dA = np.zeros((L, D)), np.zeros((L, D)), np.zeros((D, N))
    dB, dC, g = np.zeros((L, N)), np.zeros((L, N)), np.zeros((D, N))
    for t in range(L - 1, -1, -1):
        for d in range(D):
            for n in range(N):
                g[d, n] += C[t, n] * dy[t, d]
                decay = np.exp(dt[t, d] * A[d, n])
                faded = decay * states[t, d, n]
                dC[t, n] += dy[t, d] * states[t + 1, d, n]
                dB[t, n] += g[d, n] * dt[t, d] * x[t, d]
                dx[t, d] += g[d, n] * dt[t, d] * B[t, n]
                ddt[t, d] += g[d, n] * (B[t, n] * x[t, d] + A[d, n] * faded)
                dA[d, n] += g[d, n] * dt[t, d] * faded
                g[d, n] *= decay
    return y, dx, ddt, dA, dB, dC


def _uniform(L: int, D: int) -> Tensor:
    return torch.rand(L, D) + 0.5


RATES = {
    "slow": lambda D, N: torch.full((D, N), 1e-6),
    "slow beside fast": lambda D, N: 10 ** (torch.rand(D, N) * 7 - 6),
    "at the bound": lambda D, N: torch.full((D, N), SLOW * 1.1),
    "fast": lambda D, N: 10 + 90 * torch.rand(D, N),
}


@pytest.mark.parametrize(
    ("rates", "steps"),
    [
        ("slow", _uniform),
        ("slow", torch.ones),  # a rounded decay is wrong in the same direction at every step
        ("slow beside fast", _uniform),
        ("at the bound", _uniform),
        ("fast", _uniform),
    ],
    ids=["slow", "slow, equal steps", "slow beside fast", "at the bound", "fast"],
)
def test_long_walk_does_not_drift(rates: str, steps: Callable[[int, int], Tensor]) -> None:
    """Against a float64 walk of 2^17 steps. A plain float32 walk is off by 1e-5, with equal steps by 1e-2."""
    torch.manual_seed(0)
    L, D, N = 2**17, 3, 4
    x, dy = torch.randn(2, 1, L, D)
    B, C = torch.randn(2, 1, L, N)
    inputs = [t.requires_grad_() for t in (x, steps(L, D)[None], -RATES[rates](D, N), B, C)]
    y = selective_scan(*inputs, dt_softplus=False, engine="cpu")
    ours = [y, *torch.autograd.grad(y, inputs, dy)]
    theirs = _walk(*(t.detach().double().numpy().reshape(t.shape[-2:]) for t in (*inputs, dy)))
    for i, name in enumerate(("y", "dx", "ddt", "dA", "dB", "dC")):
        error = relative_error(ours[i].detach().reshape(theirs[i].shape), torch.from_numpy(theirs[i]))
        limit = (GRADIENT if i else FORWARD)[torch.float32]
        assert error < limit, f"{name}: relative error {error:.1e}"


def _compare(inputs: dict[str, Tensor | None], **options: bool) -> None:
    ours = run(lambda **t: selective_scan(**t, return_final_state=True, engine="cpu", **options), inputs)
    theirs = run(lambda **t: reference.selective_scan(**t, **options), double(inputs))
    assert_close(ours, theirs)


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 2, 3 * CHUNK + 3])
@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
def test_every_tail_of_a_chunk(length: int, slow: bool, poisoned_memory: None) -> None:
    """Steps are loaded four at a time and handed over by chunks, slow states by other code; resets in between."""
    torch.manual_seed(length)
    inputs = draw_scan(2, length, 19, 6, resets=0.02)
    if slow:
        inputs["A"][::2] *= 1e-4  # type: ignore[index]
    _compare(inputs)


@pytest.mark.parametrize("states", [1, 4, 7, 16, 21])
def test_sums_over_several_tasks(states: int, poisoned_memory: None) -> None:
    """200 channels are thirteen groups in four tasks, the last of them short."""
    torch.manual_seed(states)
    _compare(draw_scan(2, CHUNK + 9, 200, states))


def test_huge_steps() -> None:
    """dt up to 100, where all but the newest input is forgotten at once."""
    torch.manual_seed(0)
    inputs = draw_scan(1, 150, 20, 16)
    inputs |= {"dt": torch.rand(1, 150, 20) * 100, "dt_bias": None}
    _compare(inputs)
    _compare(inputs, dt_softplus=False)
