"""A block of the model with a plan for its backward: what is kept for it, and what is computed again.

Forward and backward of norm, projections, convolution, scan and gate stand here as one autograd function that calls the
kernels. `Block.plain` says the same in modules and is what this must equal. docs/model.md has the table of bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dnamamba.kernels.causal_conv import FAST_WIDTH, new_tail
from dnamamba.kernels.engines import FLOATS, choose
from dnamamba.model.state import LayerState
from dnamamba.model.weight_gradient import weight_gradient

if TYPE_CHECKING:
    from dnamamba.model.block import Block

Recompute = Literal["none", "cheap", "all"]
"""What the backward computes again: nothing; all but the scan (norm, projections, convolution); the scan as well."""
RECOMPUTE: tuple[Recompute, ...] = ("none", "cheap", "all")


class _Weights(NamedTuple):
    norm: Tensor  # [d_model]
    in_proj: Tensor  # [2 D, d_model]
    conv: Tensor  # [D, 1, W]
    conv_bias: Tensor  # [D]
    x_proj: Tensor  # [rank + 2 N, D]
    dt_proj: Tensor  # [D, rank]
    dt_bias: Tensor  # [D]
    A_log: Tensor  # [D, N]
    D: Tensor  # [D]
    out_proj: Tensor  # [d_model, D]


class _Inner(NamedTuple):
    """What lies between the residual stream and the scan."""

    normed: Tensor  # [B, L, d_model]
    xz: Tensor  # [B, L, 2 D]: the convolution's input and the gate
    x: Tensor  # [B, L, D], convolved
    low: Tensor  # [B, L, rank + 2 N]: dt before its projection, B, C
    dt: Tensor  # [B, L, D]


class _Plan(NamedTuple):
    """A call's constants."""

    engine: str
    dtype: torch.dtype  # of the matrix work
    eps: float
    recompute: Recompute

    def kernels(self, part: str) -> Any:
        return import_module(f"dnamamba.kernels.{self.engine}_{part}")

    def norm(self, x: Tensor, residual: Tensor | None, w: _Weights) -> tuple[Tensor, Tensor]:
        """The normed stream in the dtype of the matrix work, and the stream."""
        normed, total = self.kernels("norm").norm_forward(x, w.norm, residual, self.eps, self.dtype)
        return normed, x if residual is None else total

    def inner(self, normed: Tensor, w: _Weights, tail: Tensor | None, reset: Tensor | None) -> _Inner:
        D, rank = w.dt_proj.shape
        xz = normed @ w.in_proj.to(self.dtype).t()
        x = self.kernels("conv").conv_forward(xz[..., :D], w.conv.squeeze(1), w.conv_bias, tail, reset, True)
        low = x @ w.x_proj.to(self.dtype).t()
        return _Inner(normed, xz, x, low, low[..., :rank] @ w.dt_proj.to(self.dtype).t())

    def scan_inputs(
        self, inner: _Inner, w: _Weights, start: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        (D, rank), N = w.dt_proj.shape, w.A_log.shape[1]
        _, B, C = torch.split(inner.low, [rank, N, N], -1)
        A = -w.A_log.float().exp()
        return inner.x, inner.dt, A, B, C, w.D.float(), inner.xz[..., D:], w.dt_bias.float(), start, reset


@contextmanager
def _by_hand(device: torch.device) -> Iterator[None]:
    """Every dtype is chosen here: no autocast on top."""
    with torch.autocast(device.type, enabled=False):
        yield


class _PlannedBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, x: Tensor, residual: Tensor | None, tail: Tensor | None, start: Tensor | None,
        reset: Tensor | None, *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        w = _Weights(*weights)
        D, taps = w.dt_proj.shape[0], w.conv.shape[2]
        with _by_hand(x.device):
            normed, stream = plan.norm(x, residual, w)
            early = None if tail is None else tail.to(plan.dtype)
            inner = plan.inner(normed, w, early, reset)
            y, final, borders = plan.kernels("scan").scan_forward(*plan.scan_inputs(inner, w, start, reset), True)
            out = y @ w.out_proj.to(plan.dtype).t()
            new = new_tail(inner.xz[..., :D], early, reset, taps - 1).float()
        kept = {"none": (y, borders, *inner), "cheap": (y, borders), "all": ()}[plan.recompute]
        ctx.plan, ctx.dtypes = plan, (x.dtype, None if residual is None else residual.dtype)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(stream, tail, start, reset, *weights, *kept)
        return out, stream, new, final

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, dout: Tensor | None, dstream: Tensor | None, dnew: Tensor | None, dfinal: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        stream, tail, start, reset, *rest = ctx.saved_tensors
        plan, w, kept = ctx.plan, _Weights(*rest[: len(_Weights._fields)]), rest[len(_Weights._fields) :]
        if dout is None:
            dout = torch.zeros(stream.shape, dtype=plan.dtype, device=stream.device)
        with _by_hand(stream.device):
            early = None if tail is None else tail.to(plan.dtype)
            inner = _Inner(*kept[2:]) if kept[2:] else plan.inner(plan.norm(stream, None, w)[0], w, early, reset)
            y, borders = kept[:2] if kept else (None, None)
            dtotal, dtail, dstart, dweights = _backward(
                plan, w, inner, (dout, dstream, dnew, dfinal), stream, y, borders, early, start, reset
            )
        x_dtype, residual_dtype = ctx.dtypes
        dresidual = None if residual_dtype is None else dtotal.to(residual_dtype)
        dtail = None if tail is None or dtail is None else dtail.to(tail.dtype)
        cast = (grad.to(weight.dtype) for grad, weight in zip(dweights, w, strict=True))
        return None, dtotal.to(x_dtype), dresidual, dtail, dstart, None, *cast


def _backward(
    plan: _Plan, w: _Weights, inner: _Inner, grads: tuple[Tensor, Tensor | None, Tensor | None, Tensor | None],
    stream: Tensor, y: Tensor | None, borders: Tensor | None, tail: Tensor | None, start: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, _Weights]:  # fmt: skip
    """Gradients of stream (float32), tail, start and weights. Large tensors are let go of at their last use."""
    dout, dstream, dnew, dfinal = grads
    (D, rank), dtype = w.dt_proj.shape, plan.dtype
    normed, xz, x, low, dt = inner
    inputs = plan.scan_inputs(inner, w, start, reset)
    if y is None or borders is None:
        y, _, borders = plan.kernels("scan").scan_forward(*inputs, True)
    dout_proj = weight_gradient(dout.flatten(0, 1), y.flatten(0, 1))
    del y
    dy = dout @ w.out_proj.to(dtype)
    dx, ddt, dA, dB, dC, dD, dz, ddt_bias, dstart = plan.kernels("scan").scan_backward(
        dy, dfinal, *inputs, borders, True
    )
    dA_log = dA * inputs[2]  # A = -exp(A_log)
    del dy, dt, inner, inputs, borders
    dlow = torch.cat([ddt @ w.dt_proj.to(dtype), dB, dC], -1)
    ddt_proj = weight_gradient(ddt.flatten(0, 1), low[..., :rank].flatten(0, 1))
    del ddt, dB, dC, low
    dx.flatten(0, 1).addmm_(dlow.flatten(0, 1), w.x_proj.to(dtype))
    dx_proj = weight_gradient(dlow.flatten(0, 1), x.flatten(0, 1))
    del x, dlow
    before = xz[..., :D]
    dbefore, dconv, dconv_bias, dtail = plan.kernels("conv").conv_backward(
        dx, before, w.conv.squeeze(1), w.conv_bias, tail, reset, True
    )
    del dx
    if dnew is not None:
        dtail = _add_tail_gradient(dnew, before, tail, reset, dbefore, dtail)
    del before, xz
    to_x, to_z = w.in_proj.to(dtype).chunk(2)
    dnormed = dbefore.flatten(0, 1) @ to_x
    dnormed.addmm_(dz.flatten(0, 1), to_z)
    halves = (weight_gradient(half.flatten(0, 1), normed.flatten(0, 1)) for half in (dbefore, dz))
    din_proj = torch.cat(list(halves))
    del dbefore, dz, normed
    dtotal, dnorm = plan.kernels("norm").norm_backward(dnormed.view(stream.shape), dstream, stream, w.norm, plan.eps)
    dweights = _Weights(dnorm, din_proj, dconv[:, None], dconv_bias, dx_proj, ddt_proj, ddt_bias, dA_log, dD, dout_proj)
    return dtotal, dtail, dstart, dweights


def _add_tail_gradient(
    dnew: Tensor, before: Tensor, tail: Tensor | None, reset: Tensor | None, dbefore: Tensor, dtail: Tensor | None
) -> Tensor | None:
    """Send the gradient of the tail that went out to the inputs in it: `dbefore`, in place, and the tail's gradient."""
    count = dnew.shape[1]
    with torch.enable_grad():
        last = before[:, -count:].detach().requires_grad_()
        came = None if tail is None else tail.detach().requires_grad_()
        new = new_tail(last, came, None if reset is None else reset[:, -count:], count)
        wanted = [last] if came is None else [last, came]
        dlast, *dcame = torch.autograd.grad(new, wanted, dnew.to(new.dtype), allow_unused=True)
    dbefore[:, -count:] += dlast
    if dcame and dcame[0] is not None and dtail is not None:
        dtail = dtail + dcame[0]
    return dtail


def _plain_modules(block: "Block") -> bool:
    """Whether the block is made of what it came with: no adapter, parametrisation or hook on its parts."""
    mixer = block.mixer
    linears = (mixer.in_proj, mixer.x_proj, mixer.dt_proj, mixer.out_proj)
    parts = (block.norm, mixer, *linears, mixer.conv1d)
    hooked = any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in parts)
    return not hooked and all(type(part) is nn.Linear for part in linears) and type(mixer.conv1d) is nn.Conv1d


def _matrix_dtype(x: Tensor, weight: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def is_planned(block: "Block", x: Tensor, state: LayerState | None) -> bool:
    """Whether the plan covers this call; `Block.plain` takes the rest.

    It covers training in float32, bfloat16 and float16 on a GPU or a CPU, outside torch.compile, by unchanged modules.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type not in ("cuda", "cpu"):
        return False
    carried = () if state is None else (state.conv, state.ssm)
    weight = block.mixer.in_proj.weight
    return (
        all(t.dtype in FLOATS for t in (x, *block.parameters(), *carried))
        and (torch.is_autocast_enabled(x.device.type) or x.dtype == weight.dtype)
        and block.mixer.conv1d.weight.shape[2] <= FAST_WIDTH
        and block.mixer.relay is None  # pieces elsewhere have a say in both directions
        and _plain_modules(block)
    )


def run_planned(
    block: "Block", x: Tensor, residual: Tensor | None, state: LayerState | None, reset: Tensor | None,
    recompute: Recompute,
) -> tuple[Tensor, Tensor, LayerState]:  # fmt: skip
    """`Block.forward`, which says what goes in and comes out, by the plan."""
    mixer = block.mixer
    assert mixer.conv1d.bias is not None
    weights = _Weights(
        block.norm.weight, mixer.in_proj.weight, mixer.conv1d.weight, mixer.conv1d.bias, mixer.x_proj.weight,
        mixer.dt_proj.weight, mixer.dt_proj.bias, mixer.A_log, mixer.D, mixer.out_proj.weight,
    )  # fmt: skip
    engine = choose("block", None, x, residual, reset, *weights)
    plan = _Plan(engine, _matrix_dtype(x, weights.in_proj), block.norm.eps, recompute)
    tail, start = (None, None) if state is None else (state.conv, state.ssm)
    out, stream, new, final = _PlannedBlock.apply(  # type: ignore[no-untyped-call]
        plan, x, residual, tail, start, reset, *weights
    )
    return out, stream, LayerState(new, final)
