"""The summary of a piece on the CPU: the compiled scan from a state of zero."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.kernels.cpu_scan import borders_shape, scan_backward, scan_forward


def scan_summary(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, z: Tensor | None, dt_bias: Tensor | None, reset: Tensor | None,
    dt_softplus: bool, adjoint: bool,
) -> tuple[Tensor, Tensor, None]:  # fmt: skip
    """Return what the piece adds [B, D, N] and its time [B, D], as `scan_summary` of scan_summary.py says."""
    step = dt.float() if dt_bias is None else dt.float() + dt_bias
    time = (F.softplus(step, threshold=40.0) if dt_softplus else step).sum(1)
    if not adjoint:
        _, added, _ = scan_forward(x, dt, A, B, B, None, None, dt_bias, None, reset, dt_softplus)
        return added, time, None
    # The walk back reads states only for the gradients of A, dt, B and C, which nobody asks for here: zeros will do.
    batch, length, channels = x.shape
    zeros = torch.zeros(batch, channels, A.shape[1])
    borders = torch.zeros(borders_shape(batch, length, channels, A.shape[1]))
    nothing = torch.zeros_like(x)
    *_, gamma = scan_backward(x, None, nothing, dt, A, B, B, None, z, dt_bias, zeros, reset, borders, dt_softplus)
    assert gamma is not None
    return gamma, time, None
