"""Convolution and scan over one piece of a sequence whose other pieces are elsewhere: on other GPUs, say.

A relay knows the other pieces. It brings what enters this one: the last inputs of the convolution and the state of the
scan; and in the backward pass the gradient of what leaves it. Nothing here knows how.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.causal_conv import FAST_WIDTH, hidden_inputs, new_tail
from dnamamba.kernels.engines import check_shape, choose
from dnamamba.kernels.scan_summary import ScanSummary, scan_summary


class Passage(NamedTuple):
    """What a relay brings to a piece on the way forward."""

    before: Tensor | None
    """What enters the piece; None is zeros, the start of a sequence."""
    last: Tensor
    """What leaves the last piece of the sequence, the same on every piece."""
    pieces: Any = None
    """What the relay wants back in the backward pass."""


class Relay(Protocol):
    """Joins the pieces of a sequence. Every piece must make the same calls in the same order.

    `given` is what came before the whole sequence; only the first piece's counts, and only it gets a gradient. `last`
    exists once a piece, so its gradient is the sum over the pieces.
    """

    @property
    def is_first(self) -> bool:
        """Whether this piece is the first of its sequence."""

    def pass_tail(self, own: Tensor, given: Tensor | None) -> Passage:
        """Pass on the last inputs of the convolution, [B, W-1, D]; resets have hidden some already."""

    def return_tail(self, dbefore: Tensor, dlast: Tensor | None) -> Tensor:
        """The gradient of `own`, given those of what `pass_tail` brought."""

    def pass_state(self, summary: ScanSummary, A: Tensor, given: Tensor | None) -> Passage:
        """Pass on the state of the scan, [B, D, N]."""

    def return_state(self, summary: ScanSummary, A: Tensor, dlast: Tensor | None, pieces: Any) -> Tensor:
        """The gradient of the state after this piece, given the piece's adjoint summary."""


def hide_behind_resets(dtail: Tensor, reset: Tensor | None) -> Tensor:
    """The gradient of a piece's last inputs [B, W-1, D]: what a reset hid from the next piece gets nothing from it."""
    if reset is None:
        return dtail
    return dtail.masked_fill(hidden_inputs(reset, dtail.shape[1])[:, :, None], 0.0)


def taken_over(summary: ScanSummary) -> dict[str, Any]:
    """The summary's walk as a keyword of the engine's scan, where it left one."""
    return {} if summary.walk is None else {"walk": summary.walk}


def _module(engine: str, op: str) -> ModuleType:
    return import_module(f"dnamamba.kernels.{engine}_{op}")  # at first use: it imports numba or Triton


def _reference_gradients(
    op: Callable[..., Tensor | tuple[Tensor, ...]], inputs: Sequence[Tensor | None], grads: Sequence[Tensor]
) -> list[Tensor | None]:
    """Gradients of op(*inputs), computed once more with autograd; None where the input is None."""
    leaves = [None if t is None else t.detach().requires_grad_() for t in inputs]
    with torch.enable_grad():
        outputs = op(*leaves)
    found = iter(torch.autograd.grad(outputs, [t for t in leaves if t is not None], grads, allow_unused=True))
    return [None if t is None else next(found) for t in leaves]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, given: Tensor | None, reset: Tensor | None,
        activation: str | None, relay: Relay, engine: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        first = x.shape[1] - (weight.shape[1] - 1)
        before, last, _ = relay.pass_tail(new_tail(x, None, reset, x.shape[1] - first), given)
        if engine == "reference":
            y, _ = reference.causal_conv1d(x, weight, bias, activation=activation, initial_tail=before, reset=reset)
        else:
            y = _module(engine, "conv").conv_forward(x, weight, bias, before, reset, activation == "silu")
        ctx.save_for_backward(x, weight, bias, before, reset)
        ctx.relay, ctx.engine, ctx.activation, ctx.first = relay, engine, activation, first
        ctx.is_given = given is not None and relay.is_first
        ctx.set_materialize_grads(False)
        return y, last

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dlast: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, bias, before, reset = ctx.saved_tensors
        dy = torch.zeros_like(x) if dy is None else dy
        if ctx.engine == "reference":

            def op(*t: Tensor) -> Tensor:
                keys = {"activation": ctx.activation, "initial_tail": t[3], "reset": reset}
                return reference.causal_conv1d(*t[:3], **keys)[0]

            dx, dweight, dbias, dbefore = _reference_gradients(op, (x, weight, bias, before), [dy])
        else:
            backward = _module(ctx.engine, "conv").conv_backward
            dx, dweight, dbias, dbefore = backward(dy, x, weight, bias, before, reset, ctx.activation == "silu")
        here = x.new_zeros(x.shape[0], x.shape[1] - ctx.first, x.shape[2]) if dbefore is None else dbefore
        dtail = ctx.relay.return_tail(here, dlast)
        assert dx is not None
        dx[:, ctx.first :] += hide_behind_resets(dtail, reset)
        return dx, dweight, dbias, dbefore if ctx.is_given else None, None, None, None, None


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
        dt_bias: Tensor | None, given: Tensor | None, reset: Tensor | None, dt_softplus: bool, relay: Relay,
        engine: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        summary = scan_summary(x, dt, A, B, dt_bias=dt_bias, dt_softplus=dt_softplus, reset=reset, engine=engine)
        before, last, ctx.pieces = relay.pass_state(summary, A, given)
        if engine == "reference":
            borders = None
            y, _ = reference.selective_scan(
                x, dt, A, B, C,
                D=D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus, initial_state=before, reset=reset,
            )  # fmt: skip
        else:
            forward = _module(engine, "scan").scan_forward
            y, _, borders = forward(
                x, dt, A, B, C, D, z, dt_bias, before, reset, dt_softplus, **taken_over(summary)
            )  # fmt: skip
        ctx.save_for_backward(x, dt, A, B, C, D, z, dt_bias, before, reset, borders)
        ctx.relay, ctx.engine, ctx.dt_softplus = relay, engine, dt_softplus
        ctx.is_given = given is not None and relay.is_first
        ctx.set_materialize_grads(False)
        return y, last

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dlast: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, reset, borders = ctx.saved_tensors
        x, dt, A, _, C, _, z, dt_bias, _ = inputs
        dy = torch.zeros_like(x) if dy is None else dy
        summary = scan_summary(
            dy, dt, A, C,
            z=z, dt_bias=dt_bias, dt_softplus=ctx.dt_softplus, reset=reset, adjoint=True, engine=ctx.engine,
        )  # fmt: skip
        dfinal = ctx.relay.return_state(summary, A, dlast, ctx.pieces)
        if ctx.engine == "reference":

            def op(*t: Tensor) -> tuple[Tensor, Tensor]:
                keys = {"D": t[5], "z": t[6], "dt_bias": t[7], "initial_state": t[8]}
                return reference.selective_scan(*t[:5], **keys, reset=reset, dt_softplus=ctx.dt_softplus)

            grads = _reference_gradients(op, inputs, [dy, dfinal])
        else:
            backward = _module(ctx.engine, "scan").scan_backward
            grads = backward(dy, dfinal, *inputs, reset, borders, ctx.dt_softplus, **taken_over(summary))
        *others, dbefore = grads
        return *others, dbefore if ctx.is_given else None, None, None, None, None


def relayed_conv1d(
    relay: Relay,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = "silu",
    initial_tail: Tensor | None = None,
    reset: Tensor | None = None,
    engine: str | None = None,
) -> tuple[Tensor, Tensor]:
    """`causal_conv1d` of a piece. Returns y [B, L, D] of the piece and the tail [B, W-1, D] of the whole sequence.

    Raises:
        ValueError: as causal_conv1d; or a piece of fewer than W-1 steps, which could not hand on a whole tail.
    """
    if x.shape[1] < weight.shape[1] - 1:
        raise ValueError(
            f"relayed_conv1d: a piece must hold at least W-1 = {weight.shape[1] - 1} steps, got {x.shape[1]}"
        )
    engine = "reference" if weight.shape[1] > FAST_WIDTH else choose("relayed_conv1d", engine, x, weight, bias, reset)
    y, tail = _Convolution.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, initial_tail, reset, activation, relay, engine
    )
    return y, tail


def relayed_scan(
    relay: Relay,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = True,
    initial_state: Tensor | None = None,
    reset: Tensor | None = None,
    engine: str | None = None,
) -> tuple[Tensor, Tensor]:
    """`selective_scan` of a piece. Returns y [B, L, D] of the piece and the state [B, D, N] after the whole sequence.

    Raises:
        ValueError: as selective_scan.
    """
    op = "relayed_scan"
    check_shape(op, "C", C, (*x.shape[:2], A.shape[-1]), "[B, L, N]")
    check_shape(op, "D", D, (x.shape[-1],), "[D]")
    check_shape(op, "initial_state", initial_state, (x.shape[0], x.shape[-1], A.shape[-1]), "[B, D, N]")
    engine = choose(op, engine, x, dt, A, B, C, D, z, dt_bias, initial_state, reset)
    if engine != "reference":
        A = A.float()
        D, dt_bias, initial_state = (None if t is None else t.float() for t in (D, dt_bias, initial_state))
    y, state = _Scan.apply(  # type: ignore[no-untyped-call]
        x, dt, A, B, C, D, z, dt_bias, initial_state, reset, dt_softplus, relay, engine
    )
    return y, state
