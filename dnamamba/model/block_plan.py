"""What a planned block is made of: its weights, what it may keep for its backward, the pieces the backward works on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Recompute = Literal["none", "cheap", "all"]
"""What the backward computes again: nothing; all but the scan (norm, projections, convolution); the scan as well."""
RECOMPUTE: tuple[Recompute, ...] = ("none", "cheap", "all")

PIECE = 2**26
"""Values of a [B, L, D] tensor that the backward holds at a time: 2**18 tokens of width 128, 128 MiB in bfloat16."""


GRAIN = 64
"""Steps between two states that the engines' forward keeps: a span starts at one of them."""


class Weights(NamedTuple):
    """A block's parameters, in the order of its gradients."""

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

    def cast(self, dtype: torch.dtype) -> "CastWeights":
        """As the kernels take them."""
        return CastWeights(
            self.norm, self.in_proj.to(dtype), self.conv.squeeze(1), self.conv_bias, self.x_proj.to(dtype),
            self.dt_proj.to(dtype), self.dt_bias.float(), -self.A_log.float().exp(), self.D.float(),
            self.out_proj.to(dtype),
        )  # fmt: skip


class CastWeights(NamedTuple):
    """A block's parameters as the kernels take them: matrices in the dtype of their products, the scan's in float32."""

    norm: Tensor  # [d_model]
    in_proj: Tensor  # [2 D, d_model]
    conv: Tensor  # [D, W]
    conv_bias: Tensor  # [D]
    x_proj: Tensor  # [rank + 2 N, D]
    dt_proj: Tensor  # [D, rank]
    dt_bias: Tensor  # [D]
    A: Tensor  # [D, N]: -exp(A_log)
    D: Tensor  # [D]
    out_proj: Tensor  # [d_model, D]


class CastOnce:
    """The cast weights of a block while these do not change: from the first slice of a training step to its last."""

    def __init__(self) -> None:
        self._cast: dict[torch.dtype, CastWeights] = {}

    def get(self, dtype: torch.dtype, make: Callable[[], CastWeights]) -> CastWeights:
        """What `make` gave at the first call for this dtype of the matrices."""
        if dtype not in self._cast:
            self._cast[dtype] = make()
        return self._cast[dtype]


class Kept(NamedTuple):
    """What lies between the residual stream and the block's output; None where it is to be computed again."""

    normed: Tensor | None  # [B, L, d_model]
    before: Tensor | None  # [B, L, D]: the convolution's input
    z: Tensor | None  # [B, L, D]: the gate
    x: Tensor | None  # [B, L, D], convolved
    low: Tensor | None  # [B, L, rank + 2 N]: dt before its projection, B, C
    dt: Tensor | None  # [B, L, D]
    y: Tensor | None  # [B, L, D]: the scan's gated output
    borders: Tensor | None  # the states the scan's backward starts from, as the engine lays them out

    def only(self, names: tuple[str, ...]) -> "Kept":
        """The same, with all but `names` let go of."""
        return Kept(*(t if name in names else None for name, t in zip(self._fields, self, strict=True)))


class Border(NamedTuple):
    """What crosses from one piece of a sequence into the next, or the gradient of it; None is nothing."""

    tail: Tensor | None  # [B, W-1, D]
    state: Tensor | None  # [B, D, N] float32

    def rows(self, rows: slice) -> "Border":
        """That of some rows of the batch."""
        return Border(*(None if t is None else t[rows] for t in self))

    @staticmethod
    def joined(parts: Sequence["Border"]) -> "Border":
        """That of the whole batch from those of its rows, in order."""
        if len(parts) == 1:
            return parts[0]
        return Border(*(None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)))


class Plan(NamedTuple):
    """A call's constants, and the ops that forward and backward both run."""

    engine: str
    dtype: torch.dtype  # of the matrix work
    eps: float
    recompute: Recompute
    held: CastOnce | None = None

    def cast(self, weights: Weights) -> CastWeights:
        """The weights as the kernels take them, kept from call to call where they do not change between."""
        return self._cast(weights) if self.held is None else self.held.get(self.dtype, lambda: self._cast(weights))

    def _cast(self, weights: Weights) -> CastWeights:
        w = weights.cast(self.dtype)
        # The Triton scan reads A with the states outermost: so laid out once, it is not copied in every call.
        return w._replace(A=w.A.t().contiguous().t()) if self.engine == "triton" else w

    def kernels(self, part: str) -> Any:
        """The engine's module of "norm", "conv" or "scan"."""
        return _module(self.engine, part)

    @property
    def keeps(self) -> tuple[str, ...]:
        """Names of what is kept. B and C cost little; y is free to make again where the kernel does it."""
        cheap = ("low", "borders") if self.engine == "triton" else ("low", "borders", "y")
        return {"none": Kept._fields, "cheap": cheap, "all": ()}[self.recompute]

    def norm(self, x: Tensor, residual: Tensor | None, w: CastWeights) -> tuple[Tensor, Tensor]:
        """The normed stream in the dtype of the matrix work, and the stream."""
        normed, total = self.kernels("norm").norm_forward(x, w.norm, residual, self.eps, self.dtype)
        return normed, x if residual is None else total

    def branches(self, normed: Tensor, w: CastWeights) -> tuple[Tensor, Tensor]:
        """The convolution's input and the gate, by a product each: the scan reads a dense z faster than half a row."""
        to_x, to_z = w.in_proj.chunk(2)
        return normed @ to_x.t(), normed @ to_z.t()

    def convolve(self, before: Tensor, w: CastWeights, tail: Tensor | None, reset: Tensor | None) -> Tensor:
        """x, the convolution's output."""
        x: Tensor = self.kernels("conv").conv_forward(before, w.conv, w.conv_bias, tail, reset, True)
        return x

    def time_steps(self, low: Tensor, w: CastWeights) -> Tensor:
        """dt before bias and softplus."""
        return low[..., : w.dt_proj.shape[1]] @ w.dt_proj.t()

    def scan_inputs(self, kept: Kept, w: CastWeights, start: Tensor | None, reset: Tensor | None) -> tuple[Any, ...]:
        """The scan's arguments in its order."""
        assert kept.low is not None
        rank, N = w.dt_proj.shape[1], w.A.shape[1]
        _, B, C = torch.split(kept.low, [rank, N, N], -1)
        return kept.x, kept.dt, w.A, B, C, w.D, kept.z, w.dt_bias, start, reset

    def borders_of(self, borders: Tensor, rows: slice, span: slice) -> Tensor:
        """Those of a piece that starts at a border."""
        count = self.kernels("scan").borders_shape
        first, last = (count(1, steps, 1, 1)[1] if steps else 0 for steps in (span.start, span.stop))
        return borders[rows, first:last].contiguous()


@cache
def _module(engine: str, part: str) -> Any:
    return import_module(f"dnamamba.kernels.{engine}_{part}")


def split_batch(B: int, L: int, D: int) -> list[slice]:
    """The batch in groups of whole sequences that hold at most PIECE values, one sequence at least."""
    rows = max(1, PIECE // (L * D))
    return [slice(first, min(first + rows, B)) for first in range(0, B, rows)]


def is_one_piece(B: int, L: int, D: int) -> bool:
    """Whether neither is split."""
    return B * L * D <= PIECE


def split_length(L: int, D: int) -> list[slice]:
    """The length in equal spans of at most about PIECE values, cut at multiples of GRAIN steps."""
    length = -(-L // -(-L * D // PIECE))
    length = -(-length // GRAIN) * GRAIN
    return [slice(first, min(first + length, L)) for first in range(0, L, length)]


@contextmanager
def by_hand(device: torch.device) -> Iterator[None]:
    """Every dtype is chosen here: no autocast on top."""
    with torch.autocast(device.type, enabled=False):
        yield
