"""Theorem 1 of the Mamba paper: with N = 1, A = -1, B = 1 the selective scan is a gated recurrence."""

import torch

from dnamamba.kernels import selective_scan


def test_selective_scan_is_the_gated_recurrence(device):
    torch.manual_seed(0)
    batch, length, channels = 2, 50, 6
    x, raw = torch.randn(2, batch, length, channels, device=device)
    # The theorem discretises B exactly, (1 - exp(-dt)) B; the scan uses dt B: so the input is scaled.
    dt = torch.nn.functional.softplus(raw)
    ones = torch.ones(batch, length, 1, device=device)
    y = selective_scan(x * -torch.expm1(-dt) / dt, raw, -torch.ones(channels, 1, device=device), ones, ones)

    gate, h = raw.double().sigmoid(), torch.zeros(batch, channels, dtype=torch.float64, device=device)
    for t in range(length):
        h = (1 - gate[:, t]) * h + gate[:, t] * x[:, t].double()
        torch.testing.assert_close(y[:, t].double(), h, rtol=1e-5, atol=1e-6)
