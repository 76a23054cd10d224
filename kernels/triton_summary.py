"""The summary of a piece on a GPU: the scan's own chunk and carry kernels, and one more carry past the last chunk."""

import torch
from torch import Tensor

from dnamamba.kernels import triton_scan
from dnamamba.kernels import triton_scan_plan as plan


def scan_summary(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, z: Tensor | None, dt_bias: Tensor | None, reset: Tensor | None,
    dt_softplus: bool, adjoint: bool, *, chunk_length: int | None = None,
) -> tuple[Tensor, Tensor, triton_scan.Walk | None]:  # fmt: skip
    """Return what the piece adds [B, D, N], its time [B, D], as `scan_summary` of scan_summary.py says, and the walk.

    The time of a channel may be too short where 2^-25 of a state is left at most: the walk has stopped there.

    Args:
        chunk_length: steps a chunk, a multiple of plan.BLOCK; None picks it from the shape.
    """
    size = plan.Sizes.of(x, A)
    x, dt, z, B = (triton_scan._rows(t) for t in (x, dt, z if adjoint else None, B))  # type: ignore[assignment]
    reset_bytes = None if reset is None else reset.contiguous().view(torch.uint8)
    A_nd = triton_scan._by_state(A)
    assert A_nd is not None
    machine = plan.multiprocessors(x.device)
    if adjoint:
        T = chunk_length or plan.plan_backward(size, x.element_size(), machine)[2]
    else:
        T = chunk_length or plan.plan_forward(size, x.element_size(), machine, narrow=False)
    chunks = -(-size.L // T)
    states, times = triton_scan.walk_chunks(size, T, x, dt, z, B, A_nd, dt_bias, reset_bytes, dt_softplus, adjoint)
    last = 0 if adjoint else chunks - 1  # the chunk that is walked last
    added, walk = states[:, last], None
    if chunks > 1:
        walk, cuts = triton_scan.Walk(T, states, times), triton_scan._cuts(reset, T)
        aside = states.clone() if adjoint else states  # the adjoint's are used up
        enters = triton_scan.carry_states(size, aside, times, cuts, A_nd, None, adjoint)
        entered = enters[:, last] if adjoint else enters[:, last].transpose(1, 2)
        carried = torch.exp(A_nd * times[:, last, None]) * entered
        added = added + (carried if cuts is None else torch.where(cuts[:, last, None, None] != 0, 0.0, carried))
    return added.transpose(1, 2).contiguous(), times.sum(1), walk
