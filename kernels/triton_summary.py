"""The summary of a piece on a GPU: the scan's own chunk and carry kernels, and one more carry past the last chunk."""

import torch
import triton
from torch import Tensor

from dnamamba.kernels import triton_scan
from dnamamba.kernels.triton_scan import CARRY_UNROLL, FORWARD
from dnamamba.kernels.triton_scan_chunks import UNROLL, carry_kernel, chunk_kernel


def scan_summary(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, z: Tensor | None, dt_bias: Tensor | None, reset: Tensor | None,
    dt_softplus: bool, adjoint: bool, *, chunk_length: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return what the piece adds [B, D, N] and its time [B, D], as `scan_summary` of scan_summary.py says.

    The time of a channel may be too short where 2^-25 of a state is left at most: the walk has stopped there.

    Args:
        chunk_length: steps a chunk, a multiple of triton_scan.BLOCK; None picks it from the shape.
    """
    size = triton_scan._Sizes(x, A)
    x, dt, z, B = (triton_scan._rows(t) for t in (x, dt, z if adjoint else None, B))  # type: ignore[assignment]
    reset_bytes = None if reset is None else reset.contiguous().view(torch.uint8)
    A_nd = triton_scan._by_state(A)
    assert A_nd is not None
    T = chunk_length or size.chunk_length(triton_scan._multiprocessors(x.device), *FORWARD)
    chunks = triton.cdiv(size.L, T)
    states = torch.empty(size.B, chunks, size.N, size.D, dtype=torch.float32, device=x.device)
    times = torch.empty(size.B, chunks, size.D, dtype=torch.float32, device=x.device)
    (sxb, sx), (sdb, sd), (szb, sz), (sbb, sb) = (triton_scan._strides(t) for t in (x, dt, z, B))
    chunk_kernel[(size.tiles * size.B * chunks,)](
        x, dt, z, B, A_nd, dt_bias, reset_bytes, states, times,
        size.L, T, chunks, 0, chunks, sxb, sdb, szb, sbb,
        SX=sx, SD=sd, SZ=sz, SB=sb, D=size.D, N=size.N, NP=size.NP, NG=size.groups, BD=size.BD,
        BLOCK=triton_scan.BLOCK, U=UNROLL, PREFETCH=triton_scan._has_ptx(x), SOFTPLUS=dt_softplus,
        ADJOINT=adjoint, EVEN=size.even, num_warps=1,
    )  # fmt: skip
    last = 0 if adjoint else chunks - 1  # the chunk that is walked last
    added = states[:, last]
    if chunks > 1:
        added, cuts = added.clone(), triton_scan._cuts(reset, T)
        carry_kernel[(size.tiles * size.B,)](
            states, times, cuts, A_nd, None, chunks,
            D=size.D, N=size.N, NP=size.NP, BD=size.BD, U=CARRY_UNROLL, ADJOINT=adjoint, EVEN=size.even, num_warps=1,
        )  # fmt: skip
        carried = torch.exp(A_nd * times[:, last, None]) * states[:, last]  # states hold now what enters each chunk
        added += carried if cuts is None else torch.where(cuts[:, last, None, None] != 0, 0.0, carried)
    return added.transpose(1, 2).contiguous(), times.sum(1)
