"""Cross-entropy of a linear head, slice by slice along the sequence: the logits never exist whole."""

from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_floats, check_shape, choose
from dnamamba.kernels.library import differentiate, register


def _engine(name: str) -> ModuleType:
    return import_module(f"dnamamba.kernels.{name}_cross_entropy")  # at first use: one of them imports Triton


def _loss_shapes(
    hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int, engine: str
) -> tuple[Tensor, Tensor]:
    return hidden.new_empty((), dtype=torch.float32), targets.new_empty(())


@register("linear_cross_entropy", _loss_shapes)
def _loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int, engine: str
) -> tuple[Tensor, Tensor]:
    total, count = _engine(engine).loss_forward(hidden, weight, targets, ignore_index, letters)
    return total, count


def _loss_backward_shapes(
    dloss: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int, engine: str
) -> tuple[Tensor, Tensor]:
    return hidden.new_empty(hidden.shape), weight.new_empty(weight.shape)


@register("linear_cross_entropy_backward", _loss_backward_shapes)
def _loss_backward(
    dloss: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int, engine: str
) -> tuple[Tensor, Tensor]:
    dhidden, dweight = _engine(engine).loss_backward(dloss, hidden, weight, targets, ignore_index, letters)
    return dhidden, dweight


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    hidden, weight, targets, *ctx.settings = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(hidden, weight, targets)


def _differentiate(ctx: Any, dloss: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    # The logits are made again: they are cheap at 16 tokens, and nothing of their size is kept.
    return *_loss_backward(dloss, *ctx.saved_tensors, *ctx.settings), None, None, None, None


differentiate(_loss, _differentiate, _save)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignore_index: int = -100,
    letters: int | None = None,
    engine: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum -log softmax(hidden weight^T)[target] over the targets that are not `ignore_index`.

    Args:
        hidden: [B, L, D]; float32, bfloat16, float16, or float64 (reference only).
        weight: the head, [V, D].
        targets: [B, L] int64, each in [0, letters) or `ignore_index`. Any other target makes the sum NaN.
        letters: the softmax runs over the first `letters` tokens only (renormalised over A, C, G, T); None is all V.
        engine: "triton", "cpu", "reference", or None: by device.

    Returns:
        The sum in nats, a float32 scalar differentiable in hidden and weight, and the number of targets that counted,
        an int64 scalar.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    op = "linear_cross_entropy"
    if hidden.ndim != 3 or min(hidden.shape) < 1:
        raise ValueError(f"{op}: hidden must be [B, L, D], each at least 1, got {list(hidden.shape)}")
    if weight.ndim != 2 or weight.shape[1] != hidden.shape[2] or weight.shape[0] < 1:
        raise ValueError(f"{op}: weight must be [V, D={hidden.shape[2]}], got {list(weight.shape)}")
    check_shape(op, "targets", targets, tuple(hidden.shape[:2]), "[B, L]")
    if targets.dtype != torch.int64:
        raise ValueError(f"{op}: targets must be int64, got {targets.dtype}")
    if letters is not None and not 1 <= letters <= weight.shape[0]:
        raise ValueError(f"{op}: letters must be in 1..V={weight.shape[0]}, got {letters}")
    check_floats(op, hidden=hidden, weight=weight)
    engine = choose(op, engine, hidden, weight, targets)
    if engine == "reference":
        return reference.linear_cross_entropy(hidden, weight, targets, ignore_index=ignore_index, letters=letters)
    letters = weight.shape[0] if letters is None else letters
    total, count = _loss(hidden, weight, targets, ignore_index, letters, engine)
    return total, count
