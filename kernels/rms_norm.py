"""RMSNorm fused with the residual addition; the residual stream stays in float32."""

from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_floats, check_shape, choose
from dnamamba.kernels.library import differentiate, register


def _engine(name: str) -> ModuleType:
    return import_module(f"dnamamba.kernels.{name}_norm")  # at first use: it imports numba or Triton


def _norm_shapes(x: Tensor, weight: Tensor, residual: Tensor | None, eps: float, engine: str) -> tuple[Tensor, Tensor]:
    total = x.new_empty(0 if residual is None else x.shape, dtype=torch.float32)
    return x.new_empty(x.shape), total


@register("rms_norm", _norm_shapes)
def _norm(x: Tensor, weight: Tensor, residual: Tensor | None, eps: float, engine: str) -> tuple[Tensor, Tensor]:
    y, total = _engine(engine).norm_forward(x, weight, residual, eps)
    return y, total


def _norm_backward_shapes(
    dy: Tensor, dtotal: Tensor | None, total: Tensor, weight: Tensor, eps: float, engine: str
) -> tuple[Tensor, Tensor]:
    return total.new_empty(total.shape, dtype=torch.float32), weight.new_empty(weight.shape)


@register("rms_norm_backward", _norm_backward_shapes)
def _norm_backward(
    dy: Tensor, dtotal: Tensor | None, total: Tensor, weight: Tensor, eps: float, engine: str
) -> tuple[Tensor, Tensor]:
    dx, dweight = _engine(engine).norm_backward(dy, dtotal, total, weight, eps)
    return dx, dweight


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, residual, ctx.eps, ctx.engine = inputs
    ctx.x_dtype, ctx.residual_dtype = x.dtype, None if residual is None else residual.dtype
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x if residual is None else output[1], weight)


def _differentiate(ctx: Any, dy: Tensor | None, dtotal: Tensor | None) -> tuple[Tensor | None, ...]:
    total, weight = ctx.saved_tensors
    if dy is None:
        dy = torch.zeros_like(total)
    dx, dweight = _norm_backward(dy, dtotal, total, weight, ctx.eps, ctx.engine)
    dresidual = None if ctx.residual_dtype is None else dx.to(ctx.residual_dtype)
    return dx.to(ctx.x_dtype), dweight, dresidual, None, None


differentiate(_norm, _differentiate, _save)


def rms_norm(
    x: Tensor, weight: Tensor, *, residual: Tensor | None = None, eps: float = 1e-5, engine: str | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """Normalise the last axis by its root mean square: y = r / sqrt(mean(r^2) + eps) * weight, r = residual + x.

    Args:
        x: [..., D]; float32, bfloat16, float16, or float64 (reference only).
        weight: [D].
        residual: the residual stream so far, the shape of x, float32.
        eps: added to the mean square.
        engine: "triton", "cpu", "reference", or None: by device.

    Returns:
        y in the dtype of x when `residual` is None; else the pair of y and the new residual stream r in float32.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (arXiv 1910.07467).
    """
    op = "rms_norm"
    if x.ndim < 1 or x.numel() == 0:
        raise ValueError(f"{op}: x must be [..., D] and not empty, got {list(x.shape)}")
    check_shape(op, "weight", weight, (x.shape[-1],), "[D]")
    check_shape(op, "residual", residual, tuple(x.shape), "the shape of x")
    check_floats(op, x=x, weight=weight, residual=residual)
    engine = choose(op, engine, x, weight, residual)
    if engine == "reference":
        y, total = reference.rms_norm(x, weight, residual=residual, eps=eps)
    else:
        y, total = _norm(x, weight, residual, eps, engine)
    return y if residual is None else (y, total)
