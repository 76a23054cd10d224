"""A block of the model with a plan for its backward: what is kept for it, and what is computed again.

Forward and backward of norm, projections, convolution, scan and gate stand here as one autograd function that calls the
kernels. `Block.plain` says the same in modules and is what this must equal. docs/model.md has the table of bytes.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dnamamba.kernels.causal_conv import FAST_WIDTH, new_tail
from dnamamba.kernels.engines import FLOATS, choose
from dnamamba.model.block_backward import run_backward
from dnamamba.model.block_plan import (
    Border,
    CastWeights,
    Kept,
    Plan,
    Recompute,
    Weights,
    by_hand,
    is_one_piece,
    split_batch,
    split_length,
)
from dnamamba.model.config import SELECTIVE
from dnamamba.model.mixer import MambaMixer
from dnamamba.model.relayed_block import RelayedBlock
from dnamamba.model.state import LayerState

if TYPE_CHECKING:
    from dnamamba.model.block import Block, RMSNorm


def _run(
    plan: Plan, w: CastWeights, normed: Tensor, start: Border, reset: Tensor | None, cuts: list[int]
) -> tuple[Tensor, list[Border], Kept]:
    """The block behind its norm: output, what follows each of `cuts` (the tail) and the end, what is kept."""
    taps = w.conv.shape[1]
    before, z = plan.branches(normed, w)
    x = plan.convolve(before, w, start.tail, reset)
    after = [
        Border(new_tail(before[:, :cut], start.tail, None if reset is None else reset[:, :cut], taps - 1), None)
        for cut in (*cuts, normed.shape[1])
    ]
    low = x @ w.x_proj.t()
    dt = plan.time_steps(low, w)
    kept = Kept(normed, before, z, x, low, dt, None, None)
    del normed, before
    kept = kept.only((*plan.keeps, "x", "dt", "low", "z"))
    y, state, borders = plan.kernels("scan").scan_forward(*plan.scan_inputs(kept, w, start.state, reset), True)
    kept = kept._replace(y=y, borders=borders).only(plan.keeps)
    del x, z, low, dt, borders
    after[-1] = after[-1]._replace(state=state)
    return y @ w.out_proj.t(), after, kept


def _run_in_pieces(
    plan: Plan, w: CastWeights, normed: Tensor, start: Border, reset: Tensor | None
) -> tuple[Tensor, list[Border]]:
    """`_run` as the backward will repeat it: output, and what follows each span. Nothing but that is kept."""
    B, L, D = *normed.shape[:2], w.dt_proj.shape[0]
    if is_one_piece(B, L, D):
        return _run(plan, w, normed, start, reset, [])[:2]
    out = torch.empty(B, L, w.out_proj.shape[0], dtype=plan.dtype, device=normed.device)
    after = []
    for rows in split_batch(B, L, D):
        before = [start.rows(rows)]
        for span in split_length(L, D):
            at = (rows, span)
            out[at], ends, _ = _run(plan, w, normed[at], before[-1], None if reset is None else reset[at], [])
            before += ends
        after.append(before[1:])
    return out, [Border.joined(parts) for parts in zip(*after, strict=True)]


class _PlannedBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, x: Tensor, residual: Tensor | None, tail: Tensor | None, start: Tensor | None,
        reset: Tensor | None, *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        w = plan.cast(Weights(*weights))
        with by_hand(x.device):
            normed, stream = plan.norm(x, residual, w)
            first = Border(None if tail is None else tail.to(plan.dtype), start)
            if plan.recompute == "all":
                kept = Kept(*[None] * len(Kept._fields))
                out, after = _run_in_pieces(plan, w, normed, first, reset)
            else:
                cuts = [span.start for span in split_length(x.shape[1], w.dt_proj.shape[0])[1:]]
                out, after, kept = _run(plan, w, normed, first, reset, cuts)
        *inside, last = after
        ctx.plan, ctx.dtypes = plan, (x.dtype, None if residual is None else residual.dtype)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(stream, tail, start, reset, *weights, *kept, *(t for border in inside for t in border))
        assert last.tail is not None
        assert last.state is not None
        return out, stream, last.tail.float(), last.state

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, dout: Tensor | None, dstream: Tensor | None, dnew: Tensor | None, dfinal: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        stream, tail, start, reset, *rest = ctx.saved_tensors
        plan, count = ctx.plan, len(Weights._fields)
        w, kept = Weights(*rest[:count]), Kept(*rest[count : count + len(Kept._fields)])
        inside = rest[count + len(Kept._fields) :]
        starts = [Border(None if tail is None else tail.to(plan.dtype), start)]
        starts += [Border(*pair) for pair in zip(inside[::2], inside[1::2], strict=True)]
        x_dtype, residual_dtype = ctx.dtypes
        if dout is None:
            dout = torch.zeros(stream.shape, dtype=plan.dtype, device=stream.device)
        with by_hand(stream.device):
            dtotal, copy, dstart, dweights = run_backward(
                plan, w, kept, stream, starts, reset, dout, dstream, Border(dnew, dfinal),
                None if x_dtype == torch.float32 else x_dtype,
            )  # fmt: skip
        dx = dtotal if copy is None else copy
        dresidual = None if residual_dtype is None else dtotal.to(residual_dtype)
        dtail = None if tail is None or dstart.tail is None else dstart.tail.to(tail.dtype)
        dstate = None if start is None or dstart.state is None else dstart.state.to(start.dtype)
        cast = (grad.to(weight.dtype) for grad, weight in zip(dweights, w, strict=True))
        return None, dx, dresidual, dtail, dstate, None, *cast


def _plain_modules(norm: nn.Module, mixer: MambaMixer) -> bool:
    """Whether a block is made of what it came with: no adapter, parametrisation or hook on its parts."""
    linears = (mixer.in_proj, mixer.x_proj, mixer.dt_proj, mixer.out_proj)
    parts = (norm, mixer, *linears, mixer.conv1d)
    hooked = any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in parts)
    return not hooked and all(type(part) is nn.Linear for part in linears) and type(mixer.conv1d) is nn.Conv1d


def _matrix_dtype(x: Tensor, weight: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def is_planned(block: "Block", x: Tensor, state: LayerState | None) -> bool:
    """Whether the plan covers this call; `Block.plain` takes the rest.

    It covers the mixer "mamba" with all its selection, in float32, bfloat16 and float16 on a GPU or a CPU, outside
    torch.compile, by unchanged modules.
    """
    mixer = block.mixer
    if not isinstance(mixer, MambaMixer) or mixer.config.selective != SELECTIVE:
        return False
    if torch.compiler.is_compiling() or x.device.type not in ("cuda", "cpu") or not _plain_modules(block.norm, mixer):
        return False
    carried = () if state is None else (state.conv, state.ssm)
    weights = _weights_of(block.norm, mixer)
    return (
        all(t.dtype in FLOATS for t in (x, *weights, *carried))
        and (torch.is_autocast_enabled(x.device.type) or x.dtype == weights.in_proj.dtype)
        and weights.conv.shape[2] <= FAST_WIDTH
    )


def _weights_of(norm: "RMSNorm", mixer: MambaMixer) -> Weights:
    assert mixer.conv1d.bias is not None
    return Weights(
        norm.weight, mixer.in_proj.weight, mixer.conv1d.weight, mixer.conv1d.bias, mixer.x_proj.weight,
        mixer.dt_proj.weight, mixer.dt_proj.bias, mixer.A_log, mixer.D, mixer.out_proj.weight,
    )  # fmt: skip


def run_planned(
    block: "Block", x: Tensor, residual: Tensor | None, state: LayerState | None, reset: Tensor | None,
    recompute: Recompute,
) -> tuple[Tensor, Tensor, LayerState]:  # fmt: skip
    """`Block.forward`, which says what goes in and comes out, by the plan."""
    mixer = block.mixer
    assert isinstance(mixer, MambaMixer)
    weights = _weights_of(block.norm, mixer)
    engine = choose("block", None, x, residual, reset, *weights)
    if not torch.is_grad_enabled():
        recompute = "all"  # nothing is kept for a backward that does not come
    plan = Plan(engine, _matrix_dtype(x, weights.in_proj), block.norm.eps, recompute, block.held)
    tail, start = (None, None) if state is None else (state.conv, state.ssm)
    inputs: tuple[Any, ...] = (x, residual, tail, start, reset, *weights)
    function: Any = _PlannedBlock
    if mixer.relay is not None:
        function, inputs = RelayedBlock, (mixer.relay, *inputs)
    out, stream, new, final = function.apply(plan, *inputs)
    return out, stream, LayerState(new, final)
