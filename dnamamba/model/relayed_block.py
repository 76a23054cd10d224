"""A planned block on one piece of a sequence: what crosses to and from the other pieces, around the block's own plan.

Forward, the convolution's tail comes in before the convolution, the state before the scan. Backward, the gradient of
the state after this piece comes in first; that of its last inputs last, since the next piece knows it only when it is
through its own backward: it is small, and what it adds is linear, so it is added then.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dnamamba.kernels.causal_conv import new_tail
from dnamamba.kernels.relay import Relay, hide_behind_resets, taken_over
from dnamamba.kernels.scan_summary import ScanSummary, scan_summary
from dnamamba.model.block_backward import run_backward
from dnamamba.model.block_plan import Border, CastWeights, Kept, Plan, Weights, by_hand, split_batch, split_length


class RelayedBlock(torch.autograd.Function):
    """The planned block with a relay. With recompute = "all" it keeps what "cheap" keeps: the scan's states too."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, relay: Relay, x: Tensor, residual: Tensor | None, tail: Tensor | None,
        start: Tensor | None, reset: Tensor | None, *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        if plan.recompute == "all":
            plan = plan._replace(recompute="cheap")
        w = plan.cast(Weights(*weights))
        taps = w.conv.shape[1]
        with by_hand(x.device):
            normed, stream = plan.norm(x, residual, w)
            before, z = plan.branches(normed, w)
            given = None if tail is None else tail.to(plan.dtype)
            came, last_tail, _ = relay.pass_tail(new_tail(before, None, reset, taps - 1), given)
            x_conv = plan.convolve(before, w, came, reset)
            inside = [
                new_tail(before[:, : span.start], came, None if reset is None else reset[:, : span.start], taps - 1)
                for span in split_length(x.shape[1], w.dt_proj.shape[0])[1:]
            ]
            low = x_conv @ w.x_proj.t()
            dt = plan.time_steps(low, w)
            kept = Kept(normed, before, z, x_conv, low, dt, None, None)
            A, B = plan.scan_inputs(kept, w, None, None)[2:4]
            summary = scan_summary(x_conv, dt, A, B, dt_bias=w.dt_bias, reset=reset, engine=plan.engine)
            state, last_state, ctx.pieces = relay.pass_state(summary, A, start)
            inputs = plan.scan_inputs(kept, w, state, reset)
            y, _, borders = plan.kernels("scan").scan_forward(*inputs, True, **taken_over(summary))
            del inputs, summary
            out = y @ w.out_proj.t()
            kept = kept._replace(y=y, borders=borders).only(plan.keeps)
        ctx.plan, ctx.relay, ctx.dtypes = plan, relay, (x.dtype, None if residual is None else residual.dtype)
        ctx.given = [None if t is None or not relay.is_first else t.dtype for t in (tail, start)]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(stream, came, state, reset, *weights, *kept, *inside)
        return out, stream, last_tail.float(), last_state

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, dout: Tensor | None, dstream: Tensor | None, dtail: Tensor | None, dstate: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        stream, came, state, reset, *rest = ctx.saved_tensors
        plan, relay, count = ctx.plan, ctx.relay, len(Weights._fields)
        w, kept = Weights(*rest[:count]), Kept(*rest[count : count + len(Kept._fields)])
        starts = [Border(came, state), *(Border(t, None) for t in rest[count + len(Kept._fields) :])]
        x_dtype, residual_dtype = ctx.dtypes
        if dout is None:
            dout = torch.zeros(stream.shape, dtype=plan.dtype, device=stream.device)
        with by_hand(stream.device):
            cast = plan.cast(w)
            adjoint, summaries = _adjoint_summary(plan, cast, kept, stream, reset, starts, dout)
            dafter = relay.return_state(adjoint, cast.A, dstate, ctx.pieces)
            dtotal, copy, dstart, dweights = run_backward(
                plan, w, kept, stream, starts, reset, dout, dstream, Border(None, dafter),
                None if x_dtype == torch.float32 else x_dtype, summaries,
            )  # fmt: skip
            B, taps, D = stream.shape[0], cast.conv.shape[1], cast.conv.shape[0]
            dcame = stream.new_zeros(B, taps - 1, D, dtype=plan.dtype) if dstart.tail is None else dstart.tail
            dlast = relay.return_tail(dcame, None if dtail is None else dtail.to(dcame.dtype))
            dlast = hide_behind_resets(dlast, reset)
            dweights = _add_last_inputs(plan, cast, stream, dlast, dtotal, copy, dweights)
        dx = dtotal if copy is None else copy
        dresidual = None if residual_dtype is None else dtotal.to(residual_dtype)
        dgiven = [
            None if dtype is None or grad is None else grad.to(dtype)
            for dtype, grad in zip(ctx.given, (dstart.tail, dstart.state), strict=True)
        ]
        grads = (grad.to(weight.dtype) for grad, weight in zip(dweights, w, strict=True))
        return None, None, dx, dresidual, *dgiven, None, *grads


def _adjoint_summary(
    plan: Plan, w: CastWeights, kept: Kept, stream: Tensor, reset: Tensor | None, starts: list[Border], dout: Tensor
) -> tuple[ScanSummary, list[ScanSummary]]:
    """What the whole piece does to the gradient of the state after it; and its spans, in the order of the backward."""
    (B, L), (D, rank), N = stream.shape[:2], w.dt_proj.shape, w.A.shape[1]
    groups, spans = [], []
    for rows in split_batch(B, L, D):
        total: ScanSummary | None = None
        for span, start in reversed(list(zip(split_length(L, D), starts, strict=True))):
            at = (rows, span)
            hidden = None if reset is None else reset[at]
            low, dt, z = (None if t is None else t[at] for t in (kept.low, kept.dt, kept.z))
            if low is None or z is None:
                normed, _ = plan.norm(stream[at], None, w)
                to_x, to_z = w.in_proj.chunk(2)
                z = normed @ to_z.t()
                if low is None:
                    low = plan.convolve(normed @ to_x.t(), w, start.rows(rows).tail, hidden) @ w.x_proj.t()
            if dt is None:
                dt = plan.time_steps(low, w)
            C = torch.split(low, [rank, N, N], -1)[2]
            one = scan_summary(
                dout[at] @ w.out_proj, dt, w.A, C,
                z=z, dt_bias=w.dt_bias, reset=hidden, adjoint=True, engine=plan.engine,
            )  # fmt: skip
            spans.append(one)
            total = one if total is None else total.then(one, w.A)
        assert total is not None
        groups.append(total)
    return ScanSummary(*(torch.cat(parts) for parts in zip(*(group[:3] for group in groups), strict=True))), spans


def _add_last_inputs(
    plan: Plan, w: CastWeights, stream: Tensor, dlast: Tensor, dtotal: Tensor, copy: Tensor | None, dweights: Weights
) -> Weights:
    """Add what a gradient of the convolution's last inputs brings: to the stream's, in place, and to the weights'."""
    last = slice(stream.shape[1] - dlast.shape[1], None)
    stream = stream[:, last].contiguous()
    normed, _ = plan.norm(stream, None, w)
    to_x = w.in_proj[: dlast.shape[2]]
    dstream, dnorm = plan.kernels("norm").norm_backward(dlast @ to_x, None, stream, w.norm, plan.eps)
    dtotal[:, last] += dstream
    if copy is not None:
        copy[:, last] = dtotal[:, last].to(copy.dtype)
    din_proj = dweights.in_proj.clone()
    din_proj[: dlast.shape[2]] += dlast.flatten(0, 1).float().t() @ normed.flatten(0, 1).float()
    return dweights._replace(in_proj=din_proj, norm=dweights.norm + dnorm)
