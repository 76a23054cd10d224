"""The selective scan on a GPU: which kernels run, on which chunks of the sequence, with which scratch memory.

Where batch x channels fills the machine, one walk over the whole length does. Where it does not, the length is cut into
chunks that run side by side; triton_scan_chunks.py finds the state each one starts from.
"""

from typing import Any, NamedTuple

import torch
import triton.language as tl
from torch import Tensor

from dnamamba.kernels import triton_scan_plan as plan
from dnamamba.kernels.triton_scan_backward import (
    STAGES,
    SUMMED,
    gradient_kernel,
    sum_rows_kernel,
    sum_tiles_kernel,
)
from dnamamba.kernels.triton_scan_chunks import UNROLL as CHUNK_UNROLL
from dnamamba.kernels.triton_scan_chunks import carry_kernel, chunk_kernel, order_kernel
from dnamamba.kernels.triton_scan_forward import STAGES as FORWARD_STAGES
from dnamamba.kernels.triton_scan_forward import output_kernel
from dnamamba.kernels.triton_scan_plan import Sizes, multiprocessors

CARRY_UNROLL = 8
SUM_SIZE = 512  # values of a program that adds up the tiles' dB and dC: small, as each of its loads waits for the last
SUM_WIDTH = 32  # channels of a program that adds up what each batch row and chunk has for dA, dD and dbias
REGISTERS_SORTED = 128  # for a walk through scattered rows ptxas would take 240: half as many programs at a time
_WORDS = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


class Walk(NamedTuple):
    """What each chunk does to the state (adjoint: to gamma), as `walk_chunks` found it; carrying it uses it up."""

    T: int
    added: Tensor
    times: Tensor


def borders_shape(B: int, L: int, D: int, N: int) -> tuple[int, int, int, int]:
    """Shape of the float32 states that the forward saves for the backward: before every 64th step, [B, L/64, N, D]."""
    return B, -(-L // plan.BLOCK), N, D


def border_states(borders: Tensor, blocks: Tensor, channels: int, states: int) -> Tensor:
    """States before steps 64 * `blocks`, [B, n, D, N], out of the borders that the forward returned."""
    return borders[:, blocks].transpose(2, 3)


def _has_ptx(x: Tensor) -> bool:
    """Whether kernels on this tensor are compiled by NVIDIA's tools: they know prefetches and register limits."""
    return x.is_cuda and torch.version.hip is None


def _rows(t: Tensor | None) -> Tensor | None:
    """The tensor as the kernels read it: any batch and length stride, the last axis dense."""
    return t if t is None or t.stride(-1) == 1 or t.shape[-1] == 1 else t.contiguous()


def _packs(t: Tensor) -> bool:
    """Whether rows of B or C can be read as 32-bit words of two values."""
    even = all(size % 2 == 0 for size in (t.shape[-1], t.stride(0), t.stride(1), t.storage_offset()))
    return t.dtype in _WORDS and even and t.stride(-1) == 1


def _as_words(*rows: Tensor) -> tuple[Any, ...]:
    """B, C or both as the kernels read them: 32-bit words of two values where they can be.

    Returns:
        The dtype in a word, or None; the tensors, viewed as int32 where they are words.
    """
    if not all(map(_packs, rows)) or len({t.dtype for t in rows}) > 1:
        return None, *rows
    return _WORDS[rows[0].dtype], *(t.view(torch.int32) for t in rows)


def _strides(t: Tensor | None) -> tuple[int, int]:
    return (0, 0) if t is None else (t.stride(0), t.stride(1))


def _cuts(reset: Tensor | None, T: int) -> Tensor | None:
    """Which chunks hold a reset, uint8 [B, chunks]."""
    if reset is None:
        return None
    padded = torch.nn.functional.pad(reset, (0, -reset.shape[1] % T))
    return padded.view(reset.shape[0], -1, T).any(-1).to(torch.uint8)


def walk_chunks(
    size: Sizes, T: int, x: Tensor, dt: Tensor, z: Tensor | None, rows: Tensor, A: Tensor | None,
    dt_bias: Tensor | None, reset_bytes: Tensor | None, dt_softplus: bool, adjoint: bool, *, unneeded: int = 0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What each chunk of T steps adds to the state, [B, chunks, N, D], and its time, [B, chunks, D]; float32.

    Args:
        unneeded: so many chunks, the last ones (adjoint: the first), are not walked: nothing starts from them.
    """
    chunks = -(-size.L // T)
    walked = chunks - unneeded
    states = torch.empty(size.B, chunks, size.N, size.D, dtype=torch.float32, device=x.device)
    times = torch.empty(size.B, chunks, size.D, dtype=torch.float32, device=x.device)
    words, rows = _as_words(rows)
    (sxb, sx), (sdb, sd), (szb, sz), (sbb, sb) = _strides(x), _strides(dt), _strides(z), _strides(rows)
    block = 0 if dt_bias is None else size.sorted(T)
    tiles, order = size.tiles, None
    if block:
        blocks = -(-size.D // block)
        tiles = blocks * (block // size.BD)
        order = torch.empty(blocks * block, dtype=torch.int32, device=x.device)
        order_kernel[(blocks,)](
            A, dt_bias, order, D=size.D, N=size.N, NP=size.NP, SORTED=block, SOFTPLUS=dt_softplus, num_warps=1
        )  # fmt: skip
    limit = {"maxnreg": REGISTERS_SORTED} if block and _has_ptx(x) else {}
    chunk_kernel[(tiles * size.B * walked,)](
        x, dt, z, rows, A, dt_bias, reset_bytes, states, times, order,
        size.L, T, chunks, unneeded if adjoint else 0, walked, multiprocessors(x.device), sxb, sdb, szb, sbb,
        SX=sx, SD=sd, SZ=sz, SB=sb, D=size.D, N=size.N, NP=size.NP, NG=size.groups(T, adjoint, block > 0), BD=size.BD,
        BLOCK=plan.BLOCK, U=CHUNK_UNROLL, WORDS=words, PREFETCH=_has_ptx(x), SOFTPLUS=dt_softplus, ADJOINT=adjoint,
        SORTED=block, EVEN=size.even and size.D % (block or 1) == 0, num_warps=1, **limit,
    )  # fmt: skip
    return states, times


def carry_states(
    size: Sizes, added: Tensor, times: Tensor, cuts: Tensor | None, A: Tensor | None, start: Tensor | None,
    adjoint: bool, *, pieces: int = 1,
) -> Tensor:  # fmt: skip
    """The state that enters each chunk of so many pieces, given what each piece adds: [B, chunks, D, N].

    Adjoint: gamma, [B, chunks, N, D], in the place of `added` where a chunk is one piece.

    Args:
        added, times: of each piece, as `walk_chunks` returns them.
        cuts: which pieces hold a reset, uint8 [B, pieces in all].
        start: the state that enters the first chunk (`adjoint`: the last); None is zero.
    """
    n_pieces = added.shape[1]
    chunks = -(-n_pieces // pieces)
    state = (size.N, size.D) if adjoint else (size.D, size.N)
    enters = added if adjoint and pieces == 1 else added.new_empty(size.B, chunks, *state)
    carry_kernel[(size.tiles * size.B,)](
        added, times, cuts, A, start, enters, n_pieces, chunks, pieces,
        D=size.D, N=size.N, NP=size.NP, BD=size.BD, U=CARRY_UNROLL, ADJOINT=adjoint, EVEN=size.even, num_warps=1,
    )  # fmt: skip
    return enters


def _chunk_starts(
    size: Sizes, T: int, x: Tensor, dt: Tensor, z: Tensor | None, rows: Tensor, A: Tensor | None,
    dt_bias: Tensor | None, reset: Tensor | None, reset_bytes: Tensor | None, start: Tensor | None,
    dt_softplus: bool, adjoint: bool, walk: Walk | None,
) -> Tensor:  # fmt: skip
    """The state that enters each chunk, as `carry_states` has it: h before its first step, or gamma after its last."""
    if walk is not None:
        return carry_states(size, walk.added, walk.times, _cuts(reset, T), A, start, adjoint)
    pieces = plan.pick_pieces(size, T, multiprocessors(x.device))
    steps = T // pieces
    outermost = pieces if adjoint else -(-(size.L % T or T) // steps)
    added, times = walk_chunks(
        size, steps, x, dt, z, rows, A, dt_bias, reset_bytes, dt_softplus, adjoint, unneeded=outermost
    )  # fmt: skip
    return carry_states(size, added, times, _cuts(reset, steps), A, start, adjoint, pieces=pieces)


def _by_state(t: Tensor | None) -> Tensor | None:
    """[.., D, N] as float32 [.., N, D]."""
    return None if t is None else t.detach().float().transpose(-1, -2).contiguous()


def _by_channel(t: Tensor | None) -> Tensor | None:
    """[.., D, N] as float32, dense."""
    return None if t is None else t.detach().float().contiguous()


def scan_forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None, dt_softplus: bool,
    *, chunk_length: int | None = None, walk: Walk | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Run the scan; arguments as in `selective_scan`, already validated.

    Args:
        chunk_length: steps a chunk, a multiple of 64; None picks it from the shape.
        walk: over the same inputs, from `scan_summary`; it is used up.

    Returns:
        y [B, L, D] in the dtype of x, the state after the last step [B, D, N] float32, and the states the backward
        starts its recomputation from (`borders_shape`).
    """
    size = Sizes.of(x, A)
    x, dt, z, B, C = _rows(x), _rows(dt), _rows(z), _rows(B), _rows(C)  # type: ignore[assignment]
    reset_bytes = None if reset is None else reset.contiguous().view(torch.uint8)
    machine = multiprocessors(x.device)
    T = walk.T if walk else chunk_length or plan.plan_forward(size, x.element_size(), machine)
    chunks = -(-size.L // T)
    if chunks == 1:
        start = _by_channel(initial_state)  # no kernel before the walk
    else:
        start = _chunk_starts(
            size, T, x, dt, None, B, _by_state(A), dt_bias, reset, reset_bytes, _by_state(initial_state), dt_softplus,
            adjoint=False, walk=walk,
        )  # fmt: skip
    y = torch.empty(size.B, size.L, size.D, dtype=x.dtype, device=x.device)
    final = torch.empty(size.B, size.D, size.N, dtype=torch.float32, device=x.device)
    borders = torch.empty(borders_shape(size.B, size.L, size.D, size.N), dtype=torch.float32, device=x.device)
    words, B, C = _as_words(B, C)
    (sxb, sx), (sdb, sd), (szb, sz) = _strides(x), _strides(dt), _strides(z)
    (sbb, sb), (scb, sc) = _strides(B), _strides(C)
    width = size.BD // 2 if plan.is_narrow(size, chunks, machine) else size.BD
    output_kernel[(-(-size.D // width) * size.B * chunks,)](
        x, dt, z, B, C, _by_channel(A), D, dt_bias, reset_bytes, start, y, borders, final,
        size.L, T, chunks, sxb, sdb, szb, sbb, scb, SX=sx, SD=sd, SZ=sz, SB=sb, SC=sc, D=size.D, N=size.N, NP=size.NP,
        BD=width, BLOCK=plan.BLOCK, STAGES=FORWARD_STAGES, WORDS=words, SOFTPLUS=dt_softplus, EVEN=size.even,
        num_warps=1,
    )  # fmt: skip
    return y, final, borders


def scan_backward(
    dy: Tensor, dfinal_state: Tensor | None, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None, z: Tensor | None, dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None,
    borders: Tensor, dt_softplus: bool, *, chunk_length: int | None = None,
    into: tuple[Tensor, Tensor, Tensor | None] | None = None, y: Tensor | None = None, walk: Walk | None = None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of `scan_forward`, given those of y and of the final state, and the borders it returned.

    Args:
        chunk_length: steps a chunk, a multiple of 64; None picks it from the shape.
        into: where the gradients of x, dt and z go, [B, L, D] with a dense last axis; they may be dy, dt and z
            themselves, which are then overwritten.
        y: contiguous [B, L, D], filled with the scan's output once more, for a caller who has not kept it.
        walk: over the same inputs, from the adjoint `scan_summary`; it is used up.

    Returns:
        The gradients of x, dt, A, B, C, D, z, dt_bias and initial_state, each in its tensor's dtype, None for None.
    """
    size = Sizes.of(x, A)
    x, dt, z, B, C, dy = _rows(x), _rows(dt), _rows(z), _rows(B), _rows(C), _rows(dy)  # type: ignore[assignment]
    reset_bytes = None if reset is None else reset.contiguous().view(torch.uint8)
    A_nd = _by_state(A)
    machine = multiprocessors(x.device)
    warps, budget, T = plan.plan_backward(size, x.element_size(), machine)
    T = walk.T if walk else chunk_length or T
    slots = machine * warps
    chunks = -(-size.L // T)
    gamma = _by_state(dfinal_state)
    if chunks > 1:
        gamma = _chunk_starts(
            size, T, dy, dt, z, C, A_nd, dt_bias, reset, reset_bytes, gamma, dt_softplus, adjoint=True, walk=walk
        )  # fmt: skip

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=x.device)

    rows = size.B * chunks
    if into is None:
        dz = None if z is None else empty(*x.shape, dtype=z.dtype)
        into = empty(*x.shape, dtype=x.dtype), empty(*x.shape, dtype=dt.dtype), dz
    dx, ddt, dz = into
    dB, dC = empty(*B.shape, dtype=B.dtype), empty(*B.shape, dtype=C.dtype)
    words, B, C = _as_words(B, C)
    # A chunk's sum for dA takes the place of the gamma it started from, which only its own program reads.
    dA = empty(rows, size.N, size.D) if chunks == 1 or gamma is None else gamma.view(rows, size.N, size.D)
    dD, dbias = empty(rows, size.D), empty(rows, size.D)
    dstart = None if initial_state is None else empty(size.B, size.N, size.D)
    at_once = max(1, budget // (size.tiles * T * 2 * size.N * 4))
    if at_once * size.tiles > slots:  # whole waves
        at_once = at_once * size.tiles // slots * slots // size.tiles
    at_once = min(at_once, rows)
    partial = empty(size.tiles, at_once, T, 2, size.N)
    programs = min(slots, at_once * size.tiles)
    scratch = empty(programs, plan.BLOCK // 2 + 1, size.NP, size.BD)
    (sxb, sx), (sdb, sd), (szb, sz) = _strides(x), _strides(dt), _strides(z)
    (sbb, sb), (scb, sc), (sgb, sg) = _strides(B), _strides(C), _strides(dy)
    (odxb, odx), (oddb, odd), (odzb, odz) = _strides(dx), _strides(ddt), _strides(dz)
    for first in range(0, rows, at_once):
        last = min(first + at_once, rows)
        gradient_kernel[(min(programs, (last - first) * size.tiles),)](
            x, dt, z, B, C, A_nd, D, dt_bias, reset_bytes, dy, borders, gamma,
            dx, ddt, dz, y, partial, dA, dD, dbias, dstart, scratch,
            size.L, T, chunks, first, last, sxb, sdb, szb, sbb, scb, sgb, odxb, oddb, odzb,
            SX=sx, SD=sd, SZ=sz, SB=sb, SC=sc, SG=sg, ODX=odx, ODD=odd, ODZ=odz, D=size.D, N=size.N, NP=size.NP,
            BD=size.BD, BLOCK=plan.BLOCK, STAGES=STAGES, WORDS=words, SOFTPLUS=dt_softplus, EVEN=size.even, num_warps=1,
        )  # fmt: skip
        sum_tiles_kernel[((last - first) * -(-T * 2 * size.N // SUM_SIZE),)](
            partial, dB, dC, size.L, T, chunks, first, last, size.tiles, N=size.N, SIZE=SUM_SIZE,
        )  # fmt: skip
    del partial, scratch  # the sums below take memory of their own
    sum_A, sum_D, sum_bias = (
        None if t is None else torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (A, D, dt_bias)
    )
    sum_rows_kernel[((size.N + 2) * -(-size.D // SUM_WIDTH),)](
        dA, dD, dbias, sum_A, sum_D, sum_bias, rows,
        D=size.D, N=size.N, BD=SUM_WIDTH, SUMMED=SUMMED, num_warps=8,
    )  # fmt: skip
    if initial_state is not None and dstart is not None:
        dstart = dstart.transpose(1, 2).to(initial_state.dtype).contiguous()
    return dx, ddt, sum_A, dB, dC, sum_D, dz, sum_bias, dstart
