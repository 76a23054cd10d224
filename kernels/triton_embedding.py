"""Lookup in a small table on a GPU, and its gradient: a product with one-hot rows, summed in a fixed order."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 64  # tokens of a tile
_PART = 1024  # tokens that one program of the backward adds up


@triton.jit
def lookup_kernel(token_ptr, weight_ptr, out_ptr, rows, V, D: tl.constexpr, ROWS: tl.constexpr, BLOCK_D: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    token = tl.load(token_ptr + row, mask=row < rows, other=0).to(tl.int64)[:, None]
    here = (row < rows)[:, None] & (d < D)
    known = (token >= 0) & (token < V)  # others become NaN: an address outside the table is not read
    value = tl.load(weight_ptr + token * D + d, mask=here & known, other=float("nan"))
    tl.store(out_ptr + row[:, None] * D + d, value, mask=here)


@triton.jit
def lookup_backward_kernel(
    token_ptr, dout_ptr, dweight_ptr, rows,
    V: tl.constexpr, D: tl.constexpr, PART: tl.constexpr, ROWS: tl.constexpr, BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The sum of a part of the rows by token, [programs, V, D]."""
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    v = tl.arange(0, BLOCK_V)[:, None]
    first = tl.program_id(0).to(tl.int64) * PART
    total = tl.zeros([BLOCK_V, BLOCK_D], tl.float32)
    for start in tl.range(0, PART, ROWS):
        row = first + start + tl.arange(0, ROWS)
        token = tl.load(token_ptr + row, mask=row < rows, other=-1).to(tl.int32)
        dout = tl.load(dout_ptr + row[:, None] * D + d, mask=(row < rows)[:, None] & (d < D), other=0.0)
        chosen = tl.where(token[None, :] == v, 1.0, 0.0)
        total += tl.dot(chosen, dout.to(tl.float32), input_precision=PRECISION)
    place = dweight_ptr + (tl.program_id(0).to(tl.int64) * V + v) * D + d
    tl.store(place, total, mask=(v < V) & (d < D))


def lookup_forward(tokens: Tensor, weight: Tensor) -> Tensor:
    """Return weight[tokens], [B, L, D] in the dtype of weight; NaN for a token outside the table."""
    V, D = weight.shape
    tokens = tokens.contiguous()
    out = torch.empty(*tokens.shape, D, dtype=weight.dtype, device=weight.device)
    rows, block = tokens.numel(), min(128, triton.next_power_of_2(D))
    lookup_kernel[(triton.cdiv(rows, ROWS), triton.cdiv(D, block))](
        tokens, weight.detach().contiguous(), out, rows, V, D=D, ROWS=ROWS, BLOCK_D=block
    )
    return out


def lookup_backward(dout: Tensor, tokens: Tensor, letters: int) -> Tensor:
    """Return the table's gradient [letters, D], float32."""
    D, rows = dout.shape[-1], tokens.numel()
    block_v = max(16, triton.next_power_of_2(letters))
    block_d = min(max(16, triton.next_power_of_2(D)), 128 if block_v <= 64 else 32)
    programs = triton.cdiv(rows, _PART)
    partial = torch.empty(programs, letters, D, dtype=torch.float32, device=dout.device)
    lookup_backward_kernel[(programs, triton.cdiv(D, block_d))](
        tokens.contiguous(), dout.contiguous(), partial, rows, V=letters, D=D, PART=_PART, ROWS=ROWS,
        BLOCK_V=block_v, BLOCK_D=block_d, PRECISION="ieee" if torch.version.hip else "tf32x3",
        num_warps=4 if block_v <= 64 else 8,
    )  # fmt: skip
    return partial.sum(0)
