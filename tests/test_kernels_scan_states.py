"""scan_with_states: the states along the way are those that a cut there would hand on."""

import pytest
import torch

from dnamamba.kernels import selective_scan
from dnamamba.kernels.scan_states import scan_with_states


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(1, 300, 40, 16), (2, 128, 17, 5)], ids=str)
@pytest.mark.parametrize("started", [True, False])
def test_states_are_those_of_a_cut(shape, dtype, started, device, poisoned_memory):
    if dtype == torch.float64 and device != "cpu":
        device = "cpu"
    batch, length, channels, states = shape
    torch.manual_seed(0)
    x, dt, z = torch.randn(3, batch, length, channels, dtype=dtype, device=device)
    B, C = torch.randn(2, batch, length, states, dtype=dtype, device=device)
    A = -torch.rand(channels, states, dtype=dtype, device=device) - 0.1
    start = torch.randn(batch, channels, states, dtype=dtype, device=device) if started else None
    blocks = torch.tensor([0, 1, (length - 1) // 64], device=device)
    y, state, kept = scan_with_states(x, dt, A, B, C, blocks, z=z, initial_state=start)
    whole, final = selective_scan(x, dt, A, B, C, z=z, initial_state=start, return_final_state=True)
    assert torch.equal(y, whole)
    assert torch.equal(state, final)
    assert kept.shape == (batch, 3, channels, states)
    assert torch.equal(kept[:, 0], torch.zeros_like(final) if start is None else start)
    for i, block in enumerate(blocks.tolist()[1:], 1):
        cut = (t[:, : 64 * block] for t in (x, dt))
        _, wanted = selective_scan(
            *cut, A, B[:, : 64 * block], C[:, : 64 * block], initial_state=start, return_final_state=True
        )
        torch.testing.assert_close(kept[:, i], wanted, rtol=1e-5, atol=1e-6)


def test_no_state_may_be_wanted():
    x = torch.randn(1, 5, 3)
    B = torch.randn(1, 5, 2)
    for dtype in (torch.float32, torch.float64):
        tensors = (x.to(dtype), x.to(dtype), -torch.ones(3, 2, dtype=dtype), B.to(dtype), B.to(dtype))
        kept = scan_with_states(*tensors, torch.zeros(0, dtype=torch.int64))[2]
        assert kept.shape == (1, 0, 3, 2)
