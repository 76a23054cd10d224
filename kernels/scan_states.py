"""The selective scan, and the states along its way: before any of every 64th step.

The engines save these states for the backward in any case, so that asking for them costs a copy.
"""

from importlib import import_module
from itertools import pairwise

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_shape, choose

STEPS = 64
"""Steps between two states that can be had."""


def scan_with_states(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    blocks: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_state: Tensor | None = None,
    engine: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`selective_scan` with softplus and without resets. Not differentiable.

    Args:
        x, dt, A, B, C, D, z, dt_bias, initial_state, engine: as there.
        blocks: which states are wanted, int64 [n], rising: those before the steps 64 * blocks, each below L.

    Returns:
        y [B, L, D]; the state after the last step [B, D, N]; the wanted states [B, n, D, N].

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    op = "scan_with_states"
    batch, length, channels = x.shape
    check_shape(op, "dt", dt, (batch, length, channels), "[B, L, D]")
    check_shape(op, "z", z, (batch, length, channels), "[B, L, D]")
    check_shape(op, "initial_state", initial_state, (batch, channels, A.shape[1]), "[B, D, N]")
    engine = choose(op, engine, x, dt, A, B, C, D, z, dt_bias, initial_state)
    with torch.no_grad():
        if engine == "reference":
            return _in_pieces(x, dt, A, B, C, D, z, dt_bias, initial_state, blocks)
        module = import_module(f"dnamamba.kernels.{engine}_scan")  # at first use: it imports numba or Triton
        floats = [None if t is None else t.float() for t in (D, dt_bias, initial_state)]
        y, state, borders = module.scan_forward(x, dt, A.float(), B, C, floats[0], z, floats[1], floats[2], None, True)
        return y, state, module.border_states(borders, blocks, channels, A.shape[1])


def _in_pieces(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, state: Tensor | None, blocks: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """By the reference, cut where a state is wanted."""
    wanted = [STEPS * block for block in blocks.tolist()]
    cuts = sorted({0, *wanted, x.shape[1]})
    ys: list[Tensor] = []
    at: dict[int, Tensor | None] = {0: state}
    for start, end in pairwise(cuts):
        piece = slice(start, end)
        y, state = reference.selective_scan(
            x[:, piece], dt[:, piece], A, B[:, piece], C[:, piece],
            D=D, z=None if z is None else z[:, piece], dt_bias=dt_bias, initial_state=state,
        )  # fmt: skip
        ys.append(y)
        at[end] = state
    assert state is not None
    kept = [torch.zeros_like(state) if (h := at[step]) is None else h.to(state.dtype) for step in wanted]
    shape = (state.shape[0], 0, *state.shape[1:])
    return torch.cat(ys, 1), state, torch.stack(kept, 1) if kept else state.new_empty(shape)
