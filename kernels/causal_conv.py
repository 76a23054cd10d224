"""Depthwise causal convolution with SiLU, a carried tail and resets, in [B, L, D] without a transpose."""

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_floats, check_reset, check_shape, choose
from dnamamba.kernels.library import differentiate, register

_MAX_WIDTH = 8
FAST_WIDTH = 4  # taps in registers


def _engine(name: str) -> ModuleType:
    return import_module(f"dnamamba.kernels.{name}_conv")  # at first use: it imports numba or Triton


def _conv_shapes(
    x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None, silu: bool, engine: str
) -> Tensor:
    return x.new_empty(x.shape)


@register("causal_conv1d", _conv_shapes)
def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None, silu: bool, engine: str
) -> Tensor:
    y: Tensor = _engine(engine).conv_forward(x, weight, bias, tail, reset, silu)
    return y


def _conv_backward_shapes(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None,
    silu: bool, engine: str,
) -> list[Tensor]:  # fmt: skip
    return [x.new_empty(0) if t is None else t.new_empty(t.shape) for t in (x, weight, bias, tail)]


@register("causal_conv1d_backward", _conv_backward_shapes)
def _conv_backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None,
    silu: bool, engine: str,
) -> list[Tensor]:  # fmt: skip
    grads = _engine(engine).conv_backward(dy, x, weight, bias, tail, reset, silu)
    return [x.new_empty(0) if grad is None else grad for grad in grads]  # an op cannot return None


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.silu, ctx.engine = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    grads = _conv_backward(dy, *tensors, ctx.silu, ctx.engine)
    # The reset, silu and the engine have none.
    return *(None if t is None else g for t, g in zip(tensors[:4], grads, strict=True)), None, None, None


differentiate(_conv, _differentiate, _save)


def new_tail(x: Tensor, initial_tail: Tensor | None, reset: Tensor | None, count: int) -> Tensor:
    """The last `count` inputs, zeros where a reset hides them or none is known."""
    batch, length, channels = x.shape
    known = x[:, max(0, length - count) :]
    before = count - known.shape[1]
    if before == 0 < count:
        tail = known.clone()  # a view would keep all of x
    else:
        earlier = x.new_zeros(batch, before, channels) if initial_tail is None else initial_tail[:, count - before :]
        tail = torch.cat([earlier.to(x.dtype), known], 1)
    return tail if reset is None else tail.masked_fill(hidden_inputs(reset, count)[:, :, None], 0.0)


def hidden_inputs(reset: Tensor, count: int) -> Tensor:
    """Which of the last `count` inputs a reset hides from what comes next, [B, count] bool: those that one follows."""
    recent = reset[:, max(0, reset.shape[1] - count) :]
    if recent.shape[1] < count:
        recent = torch.cat([reset.new_zeros(reset.shape[0], count - recent.shape[1]), recent], 1)
    return (recent[:, None] & _later(count, reset.device)).any(-1)


@cache
def _later(count: int, device: torch.device) -> Tensor:
    """Row i: the inputs after input i, [count, count] bool."""
    return torch.ones(count, count, dtype=torch.bool).triu(1).to(device)


def check_convolution(op: str, channels: int, weight: Tensor, bias: Tensor | None, activation: str | None) -> int:
    """Check weight [D, W], bias [D] and activation against D channels; return the width W."""
    if weight.ndim != 2 or weight.shape[0] != channels or not 1 <= weight.shape[1] <= _MAX_WIDTH:
        raise ValueError(f"{op}: weight must be [D={channels}, W] with W in 1..{_MAX_WIDTH}, got {list(weight.shape)}")
    check_shape(op, "bias", bias, (channels,), "[D]")
    if activation not in ("silu", None):
        raise ValueError(f"{op}: activation must be 'silu' or None, got {activation!r}")
    return weight.shape[1]


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = "silu",
    initial_tail: Tensor | None = None,
    reset: Tensor | None = None,
    return_tail: bool = False,
    engine: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Convolve each channel with its own W taps, looking back: y[t] = act(bias + sum_j weight[:, W-1-j] x[t-j]).

    Args:
        x: [B, L, D]; float32, bfloat16, float16, or float64 (reference only). Any strides.
        weight: [D, W], W in 1..8; the last column meets the newest input.
        bias: [D].
        activation: "silu" or None.
        initial_tail: the W-1 inputs before x, [B, W-1, D]; zeros when None.
        reset: [B, L] bool; nothing before a reset is seen at it or after it.
        return_tail: also return the last W-1 inputs, to be the next call's `initial_tail`.
        engine: "triton", "cpu", "reference", or None: by device, and the reference for more than 4 taps.

    Returns:
        y [B, L, D] in the dtype of x; with `return_tail` the pair of y and the tail [B, W-1, D] (zeros where a reset
        hides an input). Differentiable in x, weight, bias and the tail, in and out.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    op = "causal_conv1d"
    if x.ndim != 3 or min(x.shape) < 1:
        raise ValueError(f"{op}: x must be [B, L, D], each at least 1, got {list(x.shape)}")
    batch, length, channels = x.shape
    width = check_convolution(op, channels, weight, bias, activation)
    check_shape(op, "initial_tail", initial_tail, (batch, width - 1, channels), "[B, W-1, D]")
    check_reset(op, reset, (batch, length))
    check_floats(op, x=x, weight=weight, bias=bias, initial_tail=initial_tail)
    if width > FAST_WIDTH and engine not in (None, "reference"):
        raise ValueError(f"{op}: engine={engine!r} takes at most {FAST_WIDTH} taps, got {width}")
    engine = "reference" if width > FAST_WIDTH else engine
    engine = choose(op, engine, x, weight, bias, initial_tail, reset)
    if engine == "reference":
        y, tail = reference.causal_conv1d(
            x, weight, bias, activation=activation, initial_tail=initial_tail, reset=reset
        )
        return (y, tail) if return_tail else y
    y = _conv(x, weight, bias, initial_tail if width > 1 else None, reset, activation == "silu", engine)
    return (y, new_tail(x, initial_tail, reset, width - 1)) if return_tail else y
