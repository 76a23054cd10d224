"""RMSNorm with the residual addition on a GPU: a program holds whole rows, so every value is read and written once."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS_FLOATS = 4096  # of one tile of rows
BACKWARD_FLOATS = 2048  # three tiles are in flight at once there
_PART = 256  # rows that one program of the backward adds up


@triton.jit
def norm_kernel(
    x_ptr, residual_ptr, weight_ptr, y_ptr, total_ptr, rows, eps,
    D: tl.constexpr, ROWS: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    here = (row < rows) & (d < D)
    total = tl.load(x_ptr + row * D + d, mask=here, other=0.0).to(tl.float32)
    if residual_ptr is not None:
        total += tl.load(residual_ptr + row * D + d, mask=here, other=0.0).to(tl.float32)
        tl.store(total_ptr + row * D + d, total, mask=here)
    scale = 1.0 / tl.sqrt(tl.sum(total * total, 1) / D + eps)
    weight = tl.load(weight_ptr + d, mask=d < D, other=0.0).to(tl.float32)
    y = total * scale[:, None] * weight
    tl.store(y_ptr + row * D + d, y.to(y_ptr.dtype.element_ty), mask=here)


@triton.jit
def norm_backward_kernel(
    dy_ptr, dtotal_ptr, total_ptr, weight_ptr, dx_ptr, copy_ptr, dweight_ptr, rows, eps,
    D: tl.constexpr, PART: tl.constexpr, ROWS: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """With n = total / rms: dx = (w dy - n mean(w dy n)) / rms + dtotal; dweight [programs, D] is the sum of dy n.

    dx is written a second time, in its dtype, where `copy_ptr` is given.
    """
    d = tl.arange(0, BLOCK_D)[None, :]
    weight = tl.load(weight_ptr + d, mask=d < D, other=0.0).to(tl.float32)
    dweight = tl.zeros([ROWS, BLOCK_D], tl.float32)
    first = tl.program_id(0).to(tl.int64) * PART
    for start in range(0, PART, ROWS):
        row = first + start + tl.arange(0, ROWS)[:, None]
        here = (row < rows) & (d < D)
        total = tl.load(total_ptr + row * D + d, mask=here, other=0.0).to(tl.float32)
        dy = tl.load(dy_ptr + row * D + d, mask=here, other=0.0).to(tl.float32)
        dx = tl.zeros([ROWS, BLOCK_D], tl.float32)
        if dtotal_ptr is not None:  # asked for before the sums wait for the other two
            dx += tl.load(dtotal_ptr + row * D + d, mask=here, other=0.0).to(tl.float32)
        scale = (1.0 / tl.sqrt(tl.sum(total * total, 1) / D + eps))[:, None]
        normal = total * scale
        dweight += dy * normal
        dy *= weight
        dx += (dy - normal * (tl.sum(dy * normal, 1) / D)[:, None]) * scale
        tl.store(dx_ptr + row * D + d, dx, mask=here)
        if copy_ptr is not None:
            tl.store(copy_ptr + row * D + d, dx.to(copy_ptr.dtype.element_ty), mask=here)
    column = tl.arange(0, BLOCK_D)
    tl.store(dweight_ptr + tl.program_id(0).to(tl.int64) * D + column, tl.sum(dweight, 0), mask=column < D)


def _tile(D: int, floats: int) -> tuple[int, int]:
    """Rows and columns of a tile."""
    columns = triton.next_power_of_2(D)
    return max(1, min(32, floats // columns)), columns


def norm_forward(
    x: Tensor, weight: Tensor, residual: Tensor | None, eps: float, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Return y in `dtype`, None for that of x, and the float32 sum of residual and x (empty without a residual)."""
    x, D = x.detach().contiguous(), x.shape[-1]
    rows, (tile, columns) = x.numel() // D, _tile(D, ROWS_FLOATS)
    y = torch.empty_like(x, dtype=dtype)
    total = torch.empty(x.shape if residual is not None else 0, dtype=torch.float32, device=x.device)
    norm_kernel[(triton.cdiv(rows, tile),)](
        x, None if residual is None else residual.detach().contiguous(), weight.detach().contiguous(), y, total,
        rows, eps, D=D, ROWS=tile, BLOCK_D=columns,
    )  # fmt: skip
    return y, total


def norm_backward(
    dy: Tensor, dtotal: Tensor | None, total: Tensor, weight: Tensor, eps: float,
    into: tuple[Tensor, Tensor | None] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the float32 gradient of `total` (which is that of x and of the residual), and dweight.

    Args:
        into: where the gradient goes, float32, and where it goes once more in another dtype, or None; both contiguous.
    """
    D = total.shape[-1]
    rows, (tile, columns) = total.numel() // D, _tile(D, BACKWARD_FLOATS)
    programs = triton.cdiv(rows, _PART)
    dx, copy = into or (torch.empty(total.shape, dtype=torch.float32, device=total.device), None)
    partial = torch.empty(programs, D, dtype=torch.float32, device=total.device)
    norm_backward_kernel[(programs,)](
        dy.contiguous(), None if dtotal is None else dtotal.contiguous(), total.contiguous(), weight.contiguous(),
        dx, copy, partial, rows, eps, D=D, PART=_PART, ROWS=tile, BLOCK_D=columns,
    )  # fmt: skip
    return dx, partial.sum(0).to(weight.dtype)
