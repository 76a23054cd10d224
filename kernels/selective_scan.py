"""The selective scan of Mamba: one op, three engines, differentiable, with states in and out and packed sequences.

The compiled and the Triton engine are one custom op each way, so that torch.compile, autocast, DDP and activation
checkpointing see a plain differentiable op. Each engine is a module with scan_forward, scan_backward, borders_shape.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_floats, check_reset, check_shape, choose
from dnamamba.kernels.library import differentiate, register

_MAX_STATES = 64


def _engine(name: str) -> ModuleType:
    # At first use: numba takes 0.4 s to import, and Triton exists on Linux only.
    return import_module(f"dnamamba.kernels.{name}_scan")


def _scan_shapes(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None, dt_softplus: bool, engine: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    batch, length, channels = x.shape
    states = A.shape[1]
    borders = _engine(engine).borders_shape(batch, length, channels, states)
    return x.new_empty(x.shape), A.new_empty(batch, channels, states), A.new_empty(borders)


@register("selective_scan", _scan_shapes)
def _scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None, dt_softplus: bool, engine: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    y, state, borders = _engine(engine).scan_forward(x, dt, A, B, C, D, z, dt_bias, initial_state, reset, dt_softplus)
    return y, state, borders


def _scan_backward_shapes(
    dy: Tensor, dfinal: Tensor | None, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None, borders: Tensor,
    dt_softplus: bool, engine: str,
) -> list[Tensor]:  # fmt: skip
    inputs = (x, dt, A, B, C, D, z, dt_bias, initial_state)
    return [x.new_empty(0) if t is None else t.new_empty(t.shape) for t in inputs]


@register("selective_scan_backward", _scan_backward_shapes)
def _scan_backward(
    dy: Tensor, dfinal: Tensor | None, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None, borders: Tensor,
    dt_softplus: bool, engine: str,
) -> list[Tensor]:  # fmt: skip
    grads = _engine(engine).scan_backward(
        dy, dfinal, x, dt, A, B, C, D, z, dt_bias, initial_state, reset, borders, dt_softplus
    )
    return [x.new_empty(0) if grad is None else grad for grad in grads]  # an op cannot return None


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.dt_softplus, ctx.engine = inputs
    borders = output[2]
    ctx.mark_non_differentiable(borders)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, borders)


def _differentiate(ctx: Any, dy: Tensor | None, dfinal: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    *tensors, borders = ctx.saved_tensors
    inputs = tensors[:9]
    dy = torch.zeros_like(inputs[0]) if dy is None else dy
    grads = _scan_backward(dy, dfinal, *tensors, borders, ctx.dt_softplus, ctx.engine)
    # The reset, dt_softplus and the engine have none.
    return *(None if t is None else g for t, g in zip(inputs, grads, strict=True)), None, None, None


differentiate(_scan, _differentiate, _save)


def _float(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def _validate(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None,
) -> None:  # fmt: skip
    op = "selective_scan"
    if x.ndim != 3 or A.ndim != 2:
        raise ValueError(f"{op}: x must be [B, L, D] and A [D, N], got {list(x.shape)} and {list(A.shape)}")
    batch, length, channels = x.shape
    states = A.shape[1]
    if min(batch, length, channels) < 1 or not 1 <= states <= _MAX_STATES:
        raise ValueError(
            f"{op}: B, L, D must be at least 1 and N in 1..{_MAX_STATES}, got {list(x.shape)} and N={states}"
        )
    check_shape(op, "dt", dt, (batch, length, channels), "[B, L, D]")
    check_shape(op, "A", A, (channels, states), "[D, N]")
    check_shape(op, "B", B, (batch, length, states), "[B, L, N]")
    check_shape(op, "C", C, (batch, length, states), "[B, L, N]")
    check_shape(op, "D", D, (channels,), "[D]")
    check_shape(op, "z", z, (batch, length, channels), "[B, L, D]")
    check_shape(op, "dt_bias", dt_bias, (channels,), "[D]")
    check_shape(op, "initial_state", initial_state, (batch, channels, states), "[B, D, N]")
    check_reset(op, reset, (batch, length))
    check_floats(op, x=x, dt=dt, A=A, B=B, C=C, D=D, z=z, dt_bias=dt_bias, initial_state=initial_state)


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
    return_final_state: bool = False,
    engine: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Run h[t] = exp(dt[t] A) h[t-1] + dt[t] B[t] x[t], y[t] = (C[t] . h[t] + D x[t]) SiLU(z[t]).

    Args:
        x: input, [B, L, D]; float32, bfloat16, float16, or float64 (reference only). Any strides.
        dt: step before bias and softplus, [B, L, D].
        A: [D, N], negative, N in 1..64.
        B, C: [B, L, N].
        D: skip weight, [D].
        z: gate, [B, L, D].
        dt_bias: added to dt before softplus, [D].
        dt_softplus: whether softplus makes the step positive.
        initial_state: h before the first step, [B, D, N] float32; zeros when None.
        reset: [B, L] bool; where true the state is zero before that step. It selects: a NaN before it does not leak.
        return_final_state: also return the state after the last step.
        engine: "triton", "cpu", "reference", or None: by device.

    Returns:
        y [B, L, D] in the dtype of x; with `return_final_state` the pair of y and the state [B, D, N] in float32.
        Every float input, the initial state too, gets its gradient, also through the final state.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
        RuntimeError: a GPU without the C compiler that Triton needs.

    Source: Gu and Dao, Mamba (arXiv 2312.00752), algorithm 2 with the discretisation of its public code.
    """
    _validate(x, dt, A, B, C, D, z, dt_bias, initial_state, reset)
    engine = choose("selective_scan", engine, x, dt, A, B, C, D, z, dt_bias, initial_state, reset)
    if engine == "reference":
        y, state = reference.selective_scan(
            x, dt, A, B, C,
            D=D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus, initial_state=initial_state, reset=reset,
        )  # fmt: skip
    else:
        y, state, _ = _scan(
            x, dt, A.float(), B, C, _float(D), z, _float(dt_bias), _float(initial_state), reset, dt_softplus, engine
        )
    return (y, state) if return_final_state else y
