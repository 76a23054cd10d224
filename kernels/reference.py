"""Every op in plain torch, untuned, in the dtype it is given: these functions define what the kernels must compute.

float64 input is computed in float64, everything else in float32. All are differentiable through autograd.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def _working_dtype(*tensors: Tensor | None) -> torch.dtype:
    return torch.float64 if any(t is not None and t.dtype == torch.float64 for t in tensors) else torch.float32


def _activated(dt: Tensor, dt_bias: Tensor | None, dt_softplus: bool) -> Tensor:
    if dt_bias is not None:
        dt = dt + dt_bias
    # log1p(exp(v)) keeps its digits for very negative v; past 40 the 1 is below float64's last bit.
    return F.softplus(dt, threshold=40.0) if dt_softplus else dt


def selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = True,
    initial_state: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Walk h[t] = exp(dt[t] A) h[t-1] + dt[t] B[t] x[t], y[t] = C[t] . h[t] + D x[t], times SiLU(z[t]).

    Args:
        x, dt, z: [B, L, D].
        A: [D, N].
        B, C: [B, L, N].
        D, dt_bias: [D].
        initial_state: [B, D, N].
        reset: [B, L] bool; where true the state is zero before that step.

    Returns:
        y [B, L, D] in the dtype of x, and the state after the last step [B, D, N] in the working dtype.

    Source: Gu and Dao, Mamba (arXiv 2312.00752), algorithm 2 with the discretisation of its public code.
    """
    dtype = _working_dtype(x, dt, A, B, C)
    step = _activated(dt.to(dtype), None if dt_bias is None else dt_bias.to(dtype), dt_softplus)
    u, A, B, C = (t.to(dtype) for t in (x, A, B, C))
    batch, length, channels = x.shape
    h = u.new_zeros(batch, channels, A.shape[1]) if initial_state is None else initial_state.to(dtype)
    outputs = []
    for t in range(length):
        if reset is not None:
            h = torch.where(reset[:, t, None, None], torch.zeros_like(h), h)  # selects: a NaN before it is dropped
        drive = (step[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        h = torch.exp(step[:, t, :, None] * A) * h + drive  # [B, D, N]
        outputs.append((h * C[:, t, None, :]).sum(-1))
    y = torch.stack(outputs, 1)
    if D is not None:
        y = y + D.to(dtype) * u
    if z is not None:
        y = y * F.silu(z.to(dtype))
    return y.to(x.dtype), h


def scan_summary(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    *,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = True,
    reset: Tensor | None = None,
    adjoint: bool = False,
) -> tuple[Tensor, Tensor]:
    """What a piece adds to the state, [B, D, N], and the sum of its steps, [B, D], in the working dtype.

    Adjoint, with dout for x and C for B, the same of the gradient: from the last step to the first, with
    dy = dout SiLU(z), gamma[t] = exp(dt[t] A) (gamma[t+1] + dy[t] C[t]); a reset at t makes gamma[t] zero.
    """
    dtype = _working_dtype(x, dt, A, B)
    step = _activated(dt.to(dtype), None if dt_bias is None else dt_bias.to(dtype), dt_softplus)
    x, A, B = (t.to(dtype) for t in (x, A, B))
    if adjoint and z is not None:
        x = x * F.silu(z.to(dtype))
    length = x.shape[1]
    h = x.new_zeros(x.shape[0], x.shape[2], A.shape[1])
    for t in reversed(range(length)) if adjoint else range(length):
        decay = torch.exp(step[:, t, :, None] * A)  # [B, D, N]
        if adjoint:
            h = decay * (h + x[:, t, :, None] * B[:, t, None, :])
        if reset is not None:
            h = torch.where(reset[:, t, None, None], torch.zeros_like(h), h)
        if not adjoint:
            h = decay * h + (step[:, t] * x[:, t])[:, :, None] * B[:, t, None, :]
    return h, step.sum(1)


def selective_step(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = True,
) -> tuple[Tensor, Tensor]:
    """One step of `selective_scan`: x, dt, z [B, D]; B, C [B, N]; state [B, D, N]. Returns y [B, D] and the state."""
    y, state = selective_scan(
        x[:, None], dt[:, None], A, B[:, None], C[:, None],
        D=D, z=None if z is None else z[:, None], dt_bias=dt_bias, dt_softplus=dt_softplus, initial_state=state,
    )  # fmt: skip
    return y[:, 0], state


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = "silu",
    initial_tail: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Depthwise convolution that looks back: y[t] = act(bias + sum_j weight[:, W-1-j] x[t-j]), j < W.

    Args:
        x: [B, L, D].
        weight: [D, W]; the last column meets the newest input.
        bias: [D].
        activation: "silu" or None.
        initial_tail: the W-1 inputs before x, [B, W-1, D]; zeros when None.
        reset: [B, L] bool; nothing before a reset is seen at it or after it.

    Returns:
        y [B, L, D] in the dtype of x, and the tail [B, W-1, D]: the last W-1 inputs, zeros where a reset hides them.
    """
    dtype = _working_dtype(x, weight)
    batch, length, channels = x.shape
    width = weight.shape[1]
    tail = x.new_zeros(batch, width - 1, channels) if initial_tail is None else initial_tail.to(x.dtype)
    seen = torch.cat([tail, x], 1)  # [B, W-1+L, D]
    if reset is not None:
        # A segment number a position; inputs of another segment than the reader's are not seen.
        segment = torch.cat([reset.new_zeros(batch, width - 1, dtype=torch.long), reset.long().cumsum(1)], 1)
    y = torch.zeros(batch, length, channels, dtype=dtype, device=x.device)
    for j in range(width):
        tap = seen[:, j : j + length]
        if reset is not None:
            same = segment[:, j : j + length] == segment[:, width - 1 :]
            tap = torch.where(same[:, :, None], tap, torch.zeros_like(tap))
        y = y + tap.to(dtype) * weight[:, j].to(dtype)
    if bias is not None:
        y = y + bias.to(dtype)
    if activation == "silu":
        y = F.silu(y)
    new_tail = seen[:, length:]
    if reset is not None:
        new_tail = torch.where(
            (segment[:, length:] == segment[:, -1:])[:, :, None], new_tail, torch.zeros_like(new_tail)
        )
    return y.to(x.dtype), new_tail


def causal_conv1d_step(
    x: Tensor, tail: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str | None = "silu"
) -> tuple[Tensor, Tensor]:
    """One step of `causal_conv1d`: x [B, D], tail [B, W-1, D]. Returns y [B, D] and the new tail."""
    y, tail = causal_conv1d(x[:, None], weight, bias, activation=activation, initial_tail=tail)
    return y[:, 0], tail


def rms_norm(x: Tensor, weight: Tensor, *, residual: Tensor | None = None, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """r = residual + x; y = r / sqrt(mean(r^2) + eps) * weight over the last axis.

    Returns:
        y in the dtype of x, and r in float32 (float64 for float64 input); both of the shape of x.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (arXiv 1910.07467).
    """
    dtype = _working_dtype(x, weight)
    total = x.to(dtype) if residual is None else residual.to(dtype) + x.to(dtype)
    y = total * torch.rsqrt(total.square().mean(-1, keepdim=True) + eps) * weight.to(dtype)
    return y.to(x.dtype), total


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, ignore_index: int = -100, letters: int | None = None
) -> tuple[Tensor, Tensor]:
    """Sum of -log softmax(hidden weight^T)[target] over the targets that are not `ignore_index`.

    Args:
        hidden: [B, L, D].
        weight: [V, D].
        targets: [B, L] int64, each in [0, letters) or `ignore_index`; any other makes the sum NaN.
        letters: the softmax runs over the first `letters` tokens only; None is all V.

    Returns:
        The sum in nats (a scalar in the working dtype) and how many targets counted (int64 scalar).
    """
    dtype = _working_dtype(hidden, weight)
    letters = weight.shape[0] if letters is None else letters
    with torch.autocast(hidden.device.type, enabled=False):
        logp = (hidden.to(dtype) @ weight[:letters].to(dtype).T).log_softmax(-1)  # [B, L, letters]
    picked = logp.gather(2, targets.clamp(0, letters - 1)[:, :, None])[:, :, 0]
    picked = torch.where((targets >= 0) & (targets < letters), picked, torch.nan)
    counts = targets != ignore_index
    return -torch.where(counts, picked, 0.0).sum(), counts.sum()
