"""The backward of a planned block, piece by piece: batch rows in any order, spans of the length last to first.

A span hands the span before it the gradients of the state and of the convolution's tail that it started from. So what
the backward holds beside the kept tensors does not grow with the length, and the gradients are those of the whole.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dnamamba.kernels.causal_conv import hidden_inputs
from dnamamba.kernels.relay import taken_over
from dnamamba.kernels.scan_summary import ScanSummary
from dnamamba.kernels.weight_gradient import weight_gradient
from dnamamba.model.block_plan import Border, CastWeights, Kept, Plan, Weights, is_one_piece, split_batch, split_length


class _Piece(NamedTuple):
    """A piece's part of everything that goes into the backward, and where its part of the results goes."""

    kept: Kept
    stream: Tensor
    reset: Tensor | None
    dout: Tensor
    dstream: Tensor | None
    into: tuple[Tensor, Tensor | None]


def run_backward(
    plan: Plan, weights: Weights, kept: Kept, stream: Tensor, starts: Sequence[Border], reset: Tensor | None,
    dout: Tensor, dstream: Tensor | None, dend: Border, copy: torch.dtype | None,
    summaries: Sequence[ScanSummary] = (),
) -> tuple[Tensor, Tensor | None, Border, Weights]:  # fmt: skip
    """Gradients of a planned block.

    Args:
        plan, weights, kept, stream, reset: as the forward had and left them.
        starts: what each span of `split_length` started from.
        dout, dstream, dend: gradients of output, stream and what came after the last step.
        copy: a second dtype in which the stream's gradient is wanted, or None.
        summaries: of each piece, in the order they are taken here, where another has made them; they are used up.

    Returns:
        The gradient of the stream (float32), its copy, that of the first start, and those of the weights (float32).
    """
    B, L, D = stream.shape[0], stream.shape[1], weights.dt_proj.shape[0]
    w = plan.cast(weights)
    dtotal = torch.empty(stream.shape, dtype=torch.float32, device=stream.device)
    second = None if copy is None else torch.empty(stream.shape, dtype=copy, device=stream.device)
    sums: list[Tensor] | None = None
    dstarts, known = [], iter(summaries)
    if is_one_piece(B, L, D):
        piece = _Piece(kept, stream, reset, dout, dstream, (dtotal, second))
        dstart, grads = _piece_backward(plan, w, piece, starts[0], dend, next(known, None))
        return dtotal, second, dstart, grads
    for rows in split_batch(B, L, D):
        later = dend.rows(rows)
        for span, start in reversed(list(zip(split_length(L, D), starts, strict=True))):
            borders = None if kept.borders is None else plan.borders_of(kept.borders, rows, span)
            if start.state is None and span.start > 0:
                # The borders say the state itself; that there is one before the span asks for its gradient.
                start = start._replace(state=w.D.new_zeros(()).expand(B, *w.A.shape))
            at = (rows, span)
            piece = _Piece(
                Kept._make([*(None if t is None else t[at] for t in kept[:-1]), borders]), stream[at],
                None if reset is None else reset[at], dout[at], None if dstream is None else dstream[at],
                (dtotal[at], None if second is None else second[at]),
            )  # fmt: skip
            later, grads = _piece_backward(plan, w, piece, start.rows(rows), later, next(known, None))
            sums = list(grads) if sums is None else [total.add_(grad) for total, grad in zip(sums, grads, strict=True)]
        dstarts.append(later)
    assert sums is not None
    return dtotal, second, Border.joined(dstarts), Weights(*sums)


def _recomputed(plan: Plan, w: CastWeights, piece: _Piece, start: Border) -> tuple[Kept, bool]:
    """The piece with all that the projections and the convolution make, and whether dt may be written over."""
    kept = piece.kept
    if kept.dt is not None:
        return kept, False
    normed, _ = plan.norm(piece.stream, None, w)
    before, z = plan.branches(normed, w)
    x = plan.convolve(before, w, start.tail, piece.reset)
    low = x @ w.x_proj.t() if kept.low is None else kept.low
    return Kept(normed, before, z, x, low, plan.time_steps(low, w), kept.y, kept.borders), True


def _piece_backward(
    plan: Plan, w: CastWeights, piece: _Piece, start: Border, dend: Border, summary: ScanSummary | None
) -> tuple[Border, Weights]:
    """Gradients of the piece's start and its part of the weights'. Large tensors are let go of at their last use."""
    (D, rank), scan = w.dt_proj.shape, plan.kernels("scan")
    kept, own = _recomputed(plan, w, piece, start)
    normed, before, z, x, low, dt = kept[:6]
    assert normed is not None
    assert before is not None
    assert x is not None
    assert low is not None
    assert dt is not None
    inputs = plan.scan_inputs(kept, w, start.state, piece.reset)
    y, borders = kept.y, kept.borders
    if borders is None:
        y, _, borders = scan.scan_forward(*inputs, True)
    dy = piece.dout @ w.out_proj
    dxz = torch.empty(*dy.shape[:2], 2 * D, dtype=dy.dtype, device=dy.device)
    given = (dy, dend.state, *inputs, borders, True)
    walked: dict[str, Any] = {} if summary is None else taken_over(summary)
    if plan.engine == "triton":
        output = torch.empty_like(dy) if y is None else None
        places = dy, dt if own else torch.empty_like(dt), dxz[..., D:]
        dx, ddt, dA, dB, dC, dD, _, ddt_bias, dstate = scan.scan_backward(*given, into=places, y=output, **walked)
        y = output if y is None else y
    else:
        dx, ddt, dA, dB, dC, dD, dz, ddt_bias, dstate = scan.scan_backward(*given)
        dxz[..., D:] = dz
        del dz
    assert y is not None
    dA_log = dA * w.A  # A = -exp(A_log)
    dout_proj = weight_gradient(piece.dout.flatten(0, 1), y.flatten(0, 1))
    del y, dy, dt, z, borders, inputs, given, kept
    dlow = torch.cat([ddt @ w.dt_proj, dB, dC], -1)
    ddt_proj = weight_gradient(ddt.flatten(0, 1), low[..., :rank].flatten(0, 1))
    dx.flatten(0, 1).addmm_(dlow.flatten(0, 1), w.x_proj)
    dx_proj = weight_gradient(dlow.flatten(0, 1), x.flatten(0, 1))
    del ddt, dB, dC, low, x, dlow
    dbefore = dxz[..., :D]
    _, dconv, dconv_bias, dtail = plan.kernels("conv").conv_backward(
        dx, before, w.conv, w.conv_bias, start.tail, piece.reset, True, into=dbefore
    )
    if dend.tail is not None and dend.tail.shape[1]:
        dtail = _add_tail_gradient(dend.tail, piece.reset, dbefore, dtail)
    del dx, before
    dnormed = dxz @ w.in_proj
    din_proj = weight_gradient(dxz.flatten(0, 1), normed.flatten(0, 1))
    _, dnorm = plan.kernels("norm").norm_backward(
        dnormed, piece.dstream, piece.stream, w.norm, plan.eps, into=piece.into
    )
    grads = Weights(dnorm, din_proj, dconv[:, None], dconv_bias, dx_proj, ddt_proj, ddt_bias, dA_log, dD, dout_proj)
    return Border(dtail, dstate), Weights(*(grad.float() for grad in grads))


def _add_tail_gradient(dnew: Tensor, reset: Tensor | None, dbefore: Tensor, dtail: Tensor | None) -> Tensor | None:
    """Send the gradient of the tail that went out to the inputs in it: `dbefore`, in place, and the tail's gradient."""
    count = dnew.shape[1]
    dnew = dnew.to(dbefore.dtype)
    if reset is not None:
        dnew = dnew.masked_fill(hidden_inputs(reset, count)[:, :, None], 0.0)
    known = min(count, dbefore.shape[1])
    dbefore[:, -known:] += dnew[:, count - known :]
    if known < count and dtail is not None:  # a piece shorter than the tail: some of it had come in
        dtail = torch.cat([dtail[:, :known], dtail[:, known:] + dnew[:, : count - known]], 1)
    return dtail
