"""The summary of a piece on a GPU: the scan's own chunk and carry kernels, and one more carry past the last chunk."""

import torch
import triton
from torch import Tensor

from dnamamba.kernels import triton_scan
from dnamamba.kernels import triton_scan_plan as plan


def scan_summary(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, z: Tensor | None, dt_bias: Tensor | None, reset: Tensor | None,
    dt_softplus: bool, adjoint: bool, *, chunk_length: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return what the piece adds [B, D, N] and its time [B, D], as `scan_summary` of scan_summary.py says.

    The time of a channel may be too short where 2^-25 of a state is left at most: the walk has stopped there.

    Args:
        chunk_length: steps a chunk, a multiple of plan.BLOCK; None picks it from the shape.
    """
    size = plan.Sizes.of(x, A)
    x, dt, z, B = (triton_scan._rows(t) for t in (x, dt, z if adjoint else None, B))  # type: ignore[assignment]
    reset_bytes = None if reset is None else reset.contiguous().view(torch.uint8)
    A_nd = triton_scan._by_state(A)
    assert A_nd is not None
    T = chunk_length or plan.pick_chunk_length(size, plan.multiprocessors(x.device), *plan.FORWARD)
    chunks = triton.cdiv(size.L, T)
    states, times = triton_scan.walk_chunks(
        size, T, x, dt, z, B, A_nd, dt_bias, reset_bytes, dt_softplus, adjoint, outermost=True
    )
    last = 0 if adjoint else chunks - 1  # the chunk that is walked last
    added = states[:, last]
    if chunks > 1:
        added, cuts = added.clone(), triton_scan._cuts(reset, T)
        enters = triton_scan.carry_states(size, states, times, cuts, A_nd, None, adjoint)
        carried = torch.exp(A_nd * times[:, last, None]) * enters[:, last]
        added += carried if cuts is None else torch.where(cuts[:, last, None, None] != 0, 0.0, carried)
    return added.transpose(1, 2).contiguous(), times.sum(1)
