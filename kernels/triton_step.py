"""One decoding step on a GPU: the scan's recurrence and the convolution's, one launch each."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from dnamamba.kernels.triton_scan_math import LOG2E, sigmoid, softplus

BLOCK_D = 32


@triton.jit
def step_kernel(
    x_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, D_ptr, z_ptr, bias_ptr, state_ptr, y_ptr, new_ptr,
    x_row, dt_row, B_row, C_row, z_row,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, SOFTPLUS: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, NP)
    on = d < D
    here = on[:, None] & (n < N)[None, :]
    x = tl.load(x_ptr + b * x_row + d, mask=on, other=0.0).to(tl.float32)
    dt = tl.load(dt_ptr + b * dt_row + d, mask=on, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        dt += tl.load(bias_ptr + d, mask=on, other=0.0)
    if SOFTPLUS:
        dt, _ = softplus(dt)
    A = tl.load(A_ptr + d[:, None] * N + n[None, :], mask=here, other=0.0)
    B = tl.load(B_ptr + b * B_row + n, mask=n < N, other=0.0).to(tl.float32)
    C = tl.load(C_ptr + b * C_row + n, mask=n < N, other=0.0).to(tl.float32)
    place = (b * D + d)[:, None] * N + n[None, :]
    h = tl.load(state_ptr + place, mask=here, other=0.0)
    h = tl.exp2(dt[:, None] * A * LOG2E) * h + (dt * x)[:, None] * B[None, :]
    tl.store(new_ptr + place, h, mask=here)
    y = tl.sum(tl.where(here, h * C[None, :], 0.0), 1)
    if D_ptr is not None:
        y += tl.load(D_ptr + d, mask=on, other=0.0) * x
    if z_ptr is not None:
        z = tl.load(z_ptr + b * z_row + d, mask=on, other=0.0).to(tl.float32)
        y *= z * sigmoid(z)
    tl.store(y_ptr + b * D + d, y.to(y_ptr.dtype.element_ty), mask=on)


@triton.jit
def conv_step_kernel(
    x_ptr, tail_ptr, w_ptr, bias_ptr, y_ptr, new_ptr, x_row,
    D: tl.constexpr, W: tl.constexpr, SILU: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    on = d < D
    x = tl.load(x_ptr + b * x_row + d, mask=on, other=0.0).to(tl.float32)
    total = x * tl.load(w_ptr + d * W + W - 1, mask=on, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        total += tl.load(bias_ptr + d, mask=on, other=0.0).to(tl.float32)
    for i in tl.static_range(W - 1):
        row = tail_ptr + (b * (W - 1) + i) * D + d
        value = tl.load(row, mask=on, other=0.0).to(tl.float32)
        total += value * tl.load(w_ptr + d * W + i, mask=on, other=0.0).to(tl.float32)
        if i > 0:
            tl.store(new_ptr + (b * (W - 1) + i - 1) * D + d, value.to(new_ptr.dtype.element_ty), mask=on)
    if W > 1:
        tl.store(new_ptr + (b * (W - 1) + W - 2) * D + d, x.to(new_ptr.dtype.element_ty), mask=on)
    if SILU:
        total *= sigmoid(total)
    tl.store(y_ptr + b * D + d, total.to(y_ptr.dtype.element_ty), mask=on)


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _float(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float().contiguous()


def _rows(tensor: Any) -> tuple[Any, int]:
    """A [B, width] tensor whose rows are dense, in place where they are (halves of a projection); and their stride."""
    if tensor is not None and tensor.stride(1) != 1:
        tensor = tensor.contiguous()
    return tensor, 0 if tensor is None else tensor.stride(0)


def scan_step(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, dt_softplus: bool, into: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return y [B, D] in the dtype of x and the new state [B, D, N] float32, written into `into` where it is given."""
    (batch, channels), states = x.shape, A.shape[1]
    (x, x_row), (dt, dt_row), (z, z_row) = _rows(x), _rows(dt), _rows(z)
    (B, B_row), (C, C_row) = _rows(B), _rows(C)
    y = torch.empty(batch, channels, dtype=x.dtype, device=x.device)
    new = torch.empty(batch, channels, states, dtype=torch.float32, device=x.device) if into is None else into
    step_kernel[(batch, triton.cdiv(channels, BLOCK_D))](
        x, dt, _float(A), B, C, _float(D), z, _float(dt_bias), _float(state), y, new,
        x_row, dt_row, B_row, C_row, z_row,
        D=channels, N=states, NP=triton.next_power_of_2(states), SOFTPLUS=dt_softplus, BLOCK_D=BLOCK_D, num_warps=1,
    )  # fmt: skip
    return y, new


def conv_step(
    x: Tensor, tail: Tensor, weight: Tensor, bias: Tensor | None, activation: bool, into: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return y [B, D] in the dtype of x and the new tail [B, W-1, D], written into `into` where it is given."""
    batch, channels = x.shape
    x, x_row = _rows(x)
    y = torch.empty(batch, channels, dtype=x.dtype, device=x.device)
    new = torch.empty(tail.shape, dtype=x.dtype, device=x.device) if into is None else into
    conv_step_kernel[(batch, triton.cdiv(channels, BLOCK_D))](
        x, _dense(tail), _dense(weight), _dense(bias), y, new, x_row,
        D=channels, W=weight.shape[1], SILU=activation, BLOCK_D=BLOCK_D, num_warps=1,
    )  # fmt: skip
    return y, new
