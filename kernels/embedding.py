"""Lookup of tokens in a table of a few rows: fast and deterministic on a GPU, where every row is used very often."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.kernels.engines import check_floats, choose
from dnamamba.kernels.library import differentiate, register

LARGEST = 256  # rows of a table that the kernel takes: one tile of them


def _shapes(tokens: Tensor, weight: Tensor) -> Tensor:
    return weight.new_empty(*tokens.shape, weight.shape[1])


@register("embedding", _shapes)
def _lookup(tokens: Tensor, weight: Tensor) -> Tensor:
    from dnamamba.kernels.triton_embedding import lookup_forward  # at first use: it imports Triton

    return lookup_forward(tokens, weight)


def _backward_shapes(dout: Tensor, tokens: Tensor, letters: int) -> Tensor:
    return dout.new_empty(letters, dout.shape[-1], dtype=torch.float32)


@register("embedding_backward", _backward_shapes)
def _lookup_backward(dout: Tensor, tokens: Tensor, letters: int) -> Tensor:
    from dnamamba.kernels.triton_embedding import lookup_backward

    return lookup_backward(dout, tokens, letters)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    tokens, weight = inputs
    ctx.letters, ctx.dtype = weight.shape[0], weight.dtype
    ctx.save_for_backward(tokens)


def _differentiate(ctx: Any, dout: Tensor) -> tuple[None, Tensor]:
    (tokens,) = ctx.saved_tensors
    return None, _lookup_backward(dout, tokens, ctx.letters).to(ctx.dtype)


differentiate(_lookup, _differentiate, _save)


def embedding(tokens: Tensor, weight: Tensor, *, engine: str | None = None) -> Tensor:
    """Look tokens up in a table.

    Args:
        tokens: [B, L], uint8, int32 or int64, each below V.
        weight: [V, D]; float32, bfloat16, float16, or float64.
        engine: "triton" for at most 256 rows; "cpu" and "reference" are torch's own lookup; None: by device and rows.

    Returns:
        weight[tokens], [B, L, D] in the dtype of weight, differentiable in it. The kernel makes a row of NaN of a token
        outside the table, torch's lookup stops.

    Raises:
        ValueError: dtypes, devices or sizes that do not fit together.
    """
    op = "embedding"
    if weight.ndim != 2 or tokens.dtype not in (torch.uint8, torch.int32, torch.int64):
        raise ValueError(
            f"{op}: want tokens of uint8, int32 or int64 and weight [V, D], got {tokens.dtype} and {list(weight.shape)}"
        )
    check_floats(op, weight=weight)
    if weight.shape[0] > LARGEST:
        if engine == "triton":
            raise ValueError(f"{op}: engine='triton' takes at most {LARGEST} rows, got {weight.shape[0]}")
        engine = "reference"
    if choose(op, engine, tokens, weight) == "triton":
        out: Tensor = _lookup(tokens, weight)
        return out
    return F.embedding(tokens.int() if tokens.dtype == torch.uint8 else tokens, weight)
