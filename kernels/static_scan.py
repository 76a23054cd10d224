"""The scan of a time-invariant diagonal state space, as matrix products over chunks of the sequence.

Step size, B and C are the same at every step but each channel has its own. So what a chunk of T steps does is one fixed
matrix a channel: T x T from inputs to outputs, N x T from inputs to what the chunk adds to the state, T x N from the
state that enters to the outputs. The states at the chunks' borders follow each other through `selective_scan`.

A sequence that begins inside a row begins a chunk: zeros fill the chunk before its first step, where its state is zero.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.kernels.engines import check_floats, check_reset, check_shape
from dnamamba.kernels.selective_scan import selective_scan

CHUNK = 64
"""Steps of a chunk: the products cost (T + 2 N) multiplications a value, the states N / T values a value."""


class _Layout(NamedTuple):
    """Chunks that hold no border between two sequences, right-aligned in every row."""

    chunks: int
    seen: Tensor
    """How many steps of its first chunk see the initial state, [B]."""
    at: Tensor | None = None
    """The slot of each step, [B, L]; None: the last L slots in order."""
    fresh: Tensor | None = None
    """Which chunks begin a sequence, [B, chunks]."""


def _layout(x: Tensor, T: int, reset: Tensor | None) -> _Layout:
    batch, length, _ = x.shape
    if reset is None:  # filled on the device: a number from the host could not go into a CUDA graph
        return _Layout(-(-length // T), torch.full((batch,), (length - 1) % T + 1, device=x.device))
    step = torch.arange(length, device=reset.device)
    segment = (reset | (step == 0)).cumsum(1) - 1  # [B, L]
    lengths = torch.zeros_like(segment).scatter_add_(1, segment, torch.ones_like(segment))
    before = (-lengths % T).cumsum(1)  # slots left empty up to the first step of each segment
    total = length + before[:, -1]
    chunks = int(total.max()) // T  # the host waits for the device here
    at = step + before.gather(1, segment) + (chunks * T - total)[:, None]
    fresh = torch.zeros(batch, chunks + 1, dtype=torch.bool, device=reset.device)
    fresh.scatter_(1, torch.where(reset, at // T, chunks), True)
    return _Layout(chunks, torch.where(reset[:, 0], 0, (lengths[:, 0] - 1) % T + 1), at, fresh[:, :-1])


class _Matrices(NamedTuple):
    """What a chunk does, for every channel."""

    within: Tensor  # [D, T, T]: inputs to outputs
    into: Tensor  # [D, N, T]: inputs to the state after the chunk
    out: Tensor  # [D, N, T]: the state before the chunk to the outputs


def _matrices(step: Tensor, A: Tensor, B: Tensor, C: Tensor, T: int) -> _Matrices:
    times = torch.arange(T + 1, device=A.device)
    powers = ((step[:, None] * A)[:, :, None] * times).exp()  # [D, N, T + 1]
    gain = step[:, None] * B
    kernel = torch.einsum("dn,dnt->dt", C * gain, powers[..., :-1])
    # Row t of the padded kernel's windows is K[t - T + 1 .. t]: the flip makes column s meet K[t - s].
    within = F.pad(kernel, (T - 1, 0)).unfold(1, T, 1).flip(-1)
    return _Matrices(within, gain[:, :, None] * powers[..., :-1].flip(-1), C[:, :, None] * powers[..., 1:])


def _carry(added: Tensor, step: Tensor, A: Tensor, T: int, fresh: Tensor | None) -> tuple[Tensor | None, Tensor]:
    """The state that enters each chunk, None for zero, and the one after the last; `added` is [B, chunks, D, N]."""
    B, chunks, D, N = added.shape
    if chunks == 1:
        return None, added[:, 0]
    time = T * step[:, None].expand(D, N)
    one = added.new_ones(1).expand(B, chunks, 1)
    after, final = selective_scan(
        (added / time).reshape(B, chunks, D * N), time.reshape(-1).expand(B, chunks, -1), A.reshape(-1, 1), one, one,
        dt_softplus=False, reset=fresh, return_final_state=True,
    )  # fmt: skip
    enters = F.pad(after[:, :-1], (0, 0, 1, 0))
    if fresh is not None:
        enters = torch.where(fresh[:, :, None], 0.0, enters)
    return enters.view(B, chunks, D, N), final.view(B, D, N)


def _by_channel(values: Tensor) -> Tensor:
    """[B, chunks, T, D] -> [D, T, B * chunks]."""
    return values.permute(3, 2, 0, 1).flatten(2)


def _with_start(added: Tensor, start: Tensor, decay: Tensor, T: int, layout: _Layout) -> Tensor:
    """What each chunk adds, [B, chunks, D, N], and in a row's first one what is left of the initial state after it."""
    left = start * (layout.seen[:, None, None] * decay).exp()
    if layout.at is None:
        return torch.cat([added[:, :1] + left[:, None], added[:, 1:]], 1)
    first = torch.arange(layout.chunks, device=added.device) == layout.at[:, :1] // T
    return added + torch.where(first[:, :, None, None], left[:, None], 0.0)


def _scan(
    x: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, start: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    batch, L, D = x.shape
    N, T = A.shape[1], min(CHUNK, L)
    layout = _layout(x, T, reset)
    chunks, slots, seen = layout.chunks, layout.chunks * T, layout.seen[:, None, None]
    at = None if layout.at is None else layout.at[:, :, None].expand_as(x)
    packed = F.pad(x, (0, 0, slots - L, 0)) if at is None else x.new_zeros(batch, slots, D).scatter(1, at, x)
    matrices = _matrices(step, A, B, C, T)
    both = torch.cat([matrices.within, matrices.into], 1)
    y, added = torch.split(torch.bmm(both, _by_channel(packed.view(batch, chunks, T, D))), [T, N], 1)
    added = added.view(D, N, batch, chunks).permute(2, 3, 0, 1)  # [B, chunks, D, N]
    if start is not None:
        start = torch.where(seen > 0, start, 0.0)  # chosen here: a NaN would outlive a product with 0
        added = _with_start(added, start, step[:, None] * A, T, layout)
    enters, final = _carry(added, step, A, T, layout.fresh)
    if enters is not None:
        y = torch.baddbmm(y, matrices.out.transpose(1, 2), _by_channel(enters.transpose(2, 3)))
    y = y.view(D, T, batch, chunks).permute(2, 3, 1, 0).reshape(batch, slots, D)
    y = y[:, slots - L :] if at is None else y.gather(1, at)
    if start is not None:
        first = torch.einsum("bdn,dnt->btd", start, matrices.out)  # [B, T, D]
        first = torch.where(torch.arange(T, device=x.device)[:, None] < seen, first, 0.0)
        y = y + F.pad(first, (0, 0, 0, L - T))
    return y, final


def static_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    initial_state: Tensor | None = None,
    reset: Tensor | None = None,
    return_final_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Run h[t] = exp(dt A) h[t-1] + dt B x[t], y[t] = C . h[t], every channel by itself, nothing changing over time.

    The cutting of a sequence changes no number beyond rounding. The work is in float32 (float64 for float64 x) whatever
    autocast says. Everything is an ordinary torch op: any device, any number of gradients, deterministic. With a reset
    the host waits for the device once.

    Args:
        x: input, [B, L, D].
        dt: step of each channel, [D], positive.
        A: [D, N], negative.
        B, C: [D, N].
        initial_state: h before the first step, [B, D, N]; zeros when None.
        reset: [B, L] bool; where true the state is zero before that step. It selects: a NaN before it does not leak.
        return_final_state: also return the state after the last step.

    Returns:
        y [B, L, D] in the dtype of x; with `return_final_state` the pair of y and the state [B, D, N] in float32.

    Raises:
        ValueError: shapes or dtypes that do not fit together.

    Source: Gu et al., On the Parameterization and Initialization of Diagonal State Space Models (arXiv 2206.11893),
    with Mamba's discretisation; the chunks are those of Dao and Gu (arXiv 2405.21060), section 6.
    """
    op = "static_scan"
    if x.ndim != 3 or A.ndim != 2 or min(*x.shape, *A.shape) < 1:
        raise ValueError(
            f"{op}: x must be [B, L, D] and A [D, N], each at least 1, got {list(x.shape)}, {list(A.shape)}"
        )
    batch, length, channels = x.shape
    check_shape(op, "dt", dt, (channels,), "[D]")
    for name, tensor in (("A", A), ("B", B), ("C", C)):
        check_shape(op, name, tensor, (channels, A.shape[1]), "[D, N]")
    check_shape(op, "initial_state", initial_state, (batch, channels, A.shape[1]), "[B, D, N]")
    check_reset(op, reset, (batch, length))
    check_floats(op, x=x, dt=dt, A=A, B=B, C=C, initial_state=initial_state)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    with torch.autocast(x.device.type, enabled=False):
        start = None if initial_state is None else initial_state.to(dtype)
        step, A, B, C = (t.to(dtype) for t in (dt, A, B, C))
        y, final = _scan(x.to(dtype), step, A, B, C, start, reset)
    return (y.to(x.dtype), final) if return_final_state else y.to(x.dtype)
