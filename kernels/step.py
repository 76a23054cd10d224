"""One decoding step from a state: the scan's and the convolution's recurrence for a single token.

Without gradients on a GPU. On the CPU a step is a handful of small torch calls, which compiled code would not beat by
much, so that engine is the reference.
"""

from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.causal_conv import check_convolution
from dnamamba.kernels.engines import check_floats, check_shape, choose


def _triton() -> ModuleType:
    return import_module("dnamamba.kernels.triton_step")  # at first use: Triton exists on Linux only


def _check_into(op: str, into: Tensor | None, before: Tensor, dtype: torch.dtype) -> None:
    if into is not None and (into.shape != before.shape or into.dtype != dtype or not into.is_contiguous()):
        raise ValueError(
            f"{op}: into must be contiguous {dtype}, {list(before.shape)}, got {into.dtype}, {list(into.shape)}"
        )


def _put(new: Tensor, into: Tensor | None) -> Tensor:
    return new if into is None else into.copy_(new)


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
    into: Tensor | None = None,
    engine: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Advance `selective_scan` by one step; no gradients in the fast engines.

    Args:
        x, dt, z: [B, D]; float32, bfloat16, float16, or float64 (reference only).
        A: [D, N].
        B, C: [B, N].
        state: h before the step, [B, D, N] float32; it is changed only where it is `into`.
        D, dt_bias: [D].
        dt_softplus: whether softplus makes the step positive.
        into: where the new state is written, contiguous; it may be `state` itself. None: a tensor of its own.
        engine: "triton", "cpu", "reference", or None: by device.

    Returns:
        y [B, D] in the dtype of x and the new state [B, D, N] in float32.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    op = "selective_step"
    if x.ndim != 2 or A.ndim != 2 or min(*x.shape, *A.shape) < 1:
        raise ValueError(
            f"{op}: x must be [B, D] and A [D, N], each at least 1, got {list(x.shape)} and {list(A.shape)}"
        )
    (batch, channels), states = x.shape, A.shape[1]
    for name, tensor in (("dt", dt), ("z", z)):
        check_shape(op, name, tensor, (batch, channels), "[B, D]")
    check_shape(op, "A", A, (channels, states), "[D, N]")
    for name, tensor in (("B", B), ("C", C)):
        check_shape(op, name, tensor, (batch, states), "[B, N]")
    check_shape(op, "state", state, (batch, channels, states), "[B, D, N]")
    for name, tensor in (("D", D), ("dt_bias", dt_bias)):
        check_shape(op, name, tensor, (channels,), "[D]")
    check_floats(op, x=x, dt=dt, A=A, B=B, C=C, state=state, D=D, z=z, dt_bias=dt_bias)
    engine = choose(op, engine, x, dt, A, B, C, state, D, z, dt_bias, into)
    _check_into(op, into, state, state.dtype if engine == "reference" else torch.float32)
    if engine == "triton":
        return _triton().scan_step(x, dt, A, B, C, state, D, z, dt_bias, dt_softplus, into)  # type: ignore[no-any-return]
    y, new = reference.selective_step(x, dt, A, B, C, state, D=D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus)
    return y, _put(new, into)


def causal_conv1d_step(
    x: Tensor,
    tail: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = "silu",
    into: Tensor | None = None,
    engine: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Advance `causal_conv1d` by one step; no gradients in the fast engines.

    Args:
        x: [B, D].
        tail: the W-1 inputs before x, [B, W-1, D]; it is changed only where it is `into`.
        weight: [D, W].
        bias: [D].
        activation: "silu" or None.
        into: where the new tail is written, contiguous; it may be `tail` itself. None: a tensor of its own.
        engine: "triton", "cpu", "reference", or None: by device.

    Returns:
        y [B, D] in the dtype of x and the new tail [B, W-1, D].

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    op = "causal_conv1d_step"
    if x.ndim != 2 or min(x.shape) < 1:
        raise ValueError(f"{op}: x must be [B, D], each at least 1, got {list(x.shape)}")
    batch, channels = x.shape
    width = check_convolution(op, channels, weight, bias, activation)
    check_shape(op, "tail", tail, (batch, width - 1, channels), "[B, W-1, D]")
    check_floats(op, x=x, tail=tail, weight=weight, bias=bias)
    _check_into(op, into, tail, tail.dtype)
    if choose(op, engine, x, tail, weight, bias, into) == "triton":
        return _triton().conv_step(x, tail, weight, bias, activation == "silu", into)  # type: ignore[no-any-return]
    y, new = reference.causal_conv1d_step(x, tail, weight, bias, activation=activation)
    return y, _put(new, into)
