"""What one piece of a sequence does to the state that comes into it: all that the other pieces have to know of it.

A piece turns a state h into exp(A * time) * h + added, or into `added` alone where it holds a reset. The gradient of
the state runs through it the other way, by the same law. So pieces on several devices exchange one such summary each
way, carry it over the pieces in between, and scan their own piece from the state that follows.
"""

from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_floats, check_reset, check_shape, choose


class ScanSummary(NamedTuple):
    """What a piece does to a state, or (adjoint) to the gradient of the state after it."""

    added: Tensor
    """The state after the piece when it starts from zero, [B, D, N]; float32, float64 in the reference."""
    time: Tensor
    """The sum of the steps, [B, D], in the dtype of `added`; less where even so nothing of a state is left."""
    cut: Tensor
    """Whether the piece holds a reset, [B] bool: no sum of steps can say "nothing is left"."""
    walk: Any = None
    """What the engine's scan of the same piece can take over from the summary (`walk` of its scan_forward and
    scan_backward, which use it up); None where it has to walk anew."""

    def carry(self, A: Tensor, state: Tensor | None) -> Tensor:
        """The state after the piece, [B, D, N], given the one before it; None is zero. A is [D, N]."""
        if state is None:
            return self.added
        kept = torch.exp(A.to(self.time.dtype) * self.time[:, :, None]) * state
        return torch.where(self.cut[:, None, None], 0.0, kept) + self.added  # selects: a NaN before a reset is dropped

    def then(self, following: "ScanSummary", A: Tensor) -> "ScanSummary":
        """The summary of this piece and the one that the state (or its gradient) comes to next."""
        return ScanSummary(following.carry(A, self.added), self.time + following.time, self.cut | following.cut)


def _engine(name: str) -> ModuleType:
    return import_module(f"dnamamba.kernels.{name}_summary")  # at first use: it imports numba or Triton


def scan_summary(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    *,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = True,
    reset: Tensor | None = None,
    adjoint: bool = False,
    engine: str | None = None,
) -> ScanSummary:
    """Summarise a piece of `selective_scan` without its outputs. Not differentiable.

    Args:
        x: input, [B, L, D]; the gradient of the scan's output when `adjoint`.
        dt: step before bias and softplus, [B, L, D].
        A: [D, N].
        B: [B, L, N]; the scan's C when `adjoint`.
        z: gate of the output, [B, L, D]; it matters to the adjoint only.
        dt_bias: [D].
        dt_softplus: whether softplus makes the step positive.
        reset: [B, L] bool; where true the state is zero before that step.
        adjoint: summarise what the piece does to the gradient of the state, from its end to its start.
        engine: "triton", "cpu", "reference", or None: by device.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    op = "scan_summary"
    if x.ndim != 3 or A.ndim != 2 or min(x.shape) < 1:
        raise ValueError(f"{op}: x must be [B, L, D] and A [D, N], got {list(x.shape)} and {list(A.shape)}")
    batch, length, channels = x.shape
    check_shape(op, "dt", dt, (batch, length, channels), "[B, L, D]")
    check_shape(op, "A", A, (channels, A.shape[1]), "[D, N]")
    check_shape(op, "B", B, (batch, length, A.shape[1]), "[B, L, N]")
    check_shape(op, "z", z, (batch, length, channels), "[B, L, D]")
    check_shape(op, "dt_bias", dt_bias, (channels,), "[D]")
    check_reset(op, reset, (batch, length))
    check_floats(op, x=x, dt=dt, A=A, B=B, z=z, dt_bias=dt_bias)
    engine = choose(op, engine, x, dt, A, B, z, dt_bias, reset)
    with torch.no_grad():
        walk = None
        if engine == "reference":
            added, time = reference.scan_summary(
                x, dt, A, B, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus, reset=reset, adjoint=adjoint
            )
        else:
            added, time, walk = _engine(engine).scan_summary(
                x, dt, A.float(), B, z, None if dt_bias is None else dt_bias.float(), reset, dt_softplus, adjoint
            )
        cut = torch.zeros(batch, dtype=torch.bool, device=x.device) if reset is None else reset.any(1)
    return ScanSummary(added, time, cut, walk)
