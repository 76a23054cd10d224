"""One decoding step from a state: the scan's and the convolution's recurrence for a single token.

Without gradients on a GPU. On the CPU a step is a handful of small torch calls, which compiled code would not beat by
much, so that engine is the reference.
"""

from importlib import import_module
from types import ModuleType

from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.causal_conv import check_convolution
from dnamamba.kernels.engines import check_floats, check_shape, choose


def _triton() -> ModuleType:
    return import_module("dnamamba.kernels.triton_step")  # at first use: Triton exists on Linux only


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
    engine: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Advance `selective_scan` by one step; no gradients in the fast engines.

    Args:
        x, dt, z: [B, D]; float32, bfloat16, float16, or float64 (reference only).
        A: [D, N].
        B, C: [B, N].
        state: h before the step, [B, D, N] float32; it is not changed.
        D, dt_bias: [D].
        dt_softplus: whether softplus makes the step positive.
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
    if choose(op, engine, x, dt, A, B, C, state, D, z, dt_bias) == "triton":
        return _triton().scan_step(x, dt, A, B, C, state, D, z, dt_bias, dt_softplus)  # type: ignore[no-any-return]
    return reference.selective_step(x, dt, A, B, C, state, D=D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus)


def causal_conv1d_step(
    x: Tensor,
    tail: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = "silu",
    engine: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Advance `causal_conv1d` by one step; no gradients in the fast engines.

    Args:
        x: [B, D].
        tail: the W-1 inputs before x, [B, W-1, D]; it is not changed.
        weight: [D, W].
        bias: [D].
        activation: "silu" or None.
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
    if choose(op, engine, x, tail, weight, bias) == "triton":
        return _triton().conv_step(x, tail, weight, bias, activation == "silu")  # type: ignore[no-any-return]
    return reference.causal_conv1d_step(x, tail, weight, bias, activation=activation)
