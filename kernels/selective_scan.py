"""The selective scan of Mamba: one op, three engines, differentiable, with states in and out and packed sequences."""

from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_floats, check_reset, check_shape, choose

_MAX_STATES = 64


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
    choose("selective_scan", engine, x, dt, A, B, C, D, z, dt_bias, initial_state, reset)
    y, state = reference.selective_scan(
        x, dt, A, B, C,
        D=D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus, initial_state=initial_state, reset=reset,
    )  # fmt: skip
    return (y, state) if return_final_state else y
