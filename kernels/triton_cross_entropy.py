"""Cross-entropy of a linear head on a GPU: logits stay in registers, their gradient exists slice by slice.

The logits are products in float32 (three of TF32: all bits of a float32). Their gradient is rounded to the dtype of
the input, as the gradients it makes are.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

from dnamamba.kernels.weight_gradient import weight_gradient

_SLICE = 2**24  # of dlogits that exist at once: 32 MiB in bfloat16


@triton.jit
def loss_kernel(
    hidden_ptr, weight_ptr, target_ptr, scale_ptr, loss_ptr, dlogits_ptr, rows, ignore_index,
    D: tl.constexpr, V: tl.constexpr, ROWS: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """The loss of each row, or with BACKWARD the gradient of its logits times the scalar in `scale_ptr`."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    v = tl.arange(0, BLOCK_V)
    logits = tl.zeros([ROWS, BLOCK_V], tl.float32)
    for start in range(0, D, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)
        hidden = tl.load(
            hidden_ptr + row[:, None] * D + d[None, :], mask=(row < rows)[:, None] & (d < D)[None, :], other=0.0
        )
        weight = tl.load(weight_ptr + v[None, :] * D + d[:, None], mask=(v < V)[None, :] & (d < D)[:, None], other=0.0)
        logits += tl.dot(hidden.to(tl.float32), weight.to(tl.float32), input_precision=PRECISION)
    logits = tl.where((v < V)[None, :], logits, float("-inf"))
    top = tl.max(logits, 1)
    power = tl.exp(logits - top[:, None])
    total = tl.sum(power, 1)
    target = tl.load(target_ptr + row, mask=row < rows, other=ignore_index)
    counts = target != ignore_index
    chosen = v[None, :] == target[:, None]
    if BACKWARD:
        scale = tl.load(scale_ptr).to(tl.float32)
        grad = (power / total[:, None] - tl.where(chosen, 1.0, 0.0)) * scale
        grad = tl.where(counts[:, None], grad, 0.0)
        grad = grad.to(dlogits_ptr.dtype.element_ty)
        tl.store(dlogits_ptr + row[:, None] * V + v[None, :], grad, mask=(row < rows)[:, None] & (v < V)[None, :])
    else:
        loss = top + tl.log(total) - tl.sum(tl.where(chosen, logits, 0.0), 1)
        loss = tl.where((target >= 0) & (target < V), loss, float("nan"))
        tl.store(loss_ptr + row, tl.where(counts, loss, 0.0), mask=row < rows)


def _launch(
    hidden: Tensor, head: Tensor, targets: Tensor, scale: Tensor | None, loss: Tensor | None,
    dlogits: Tensor | None, ignore_index: int,
) -> None:  # fmt: skip
    """`hidden` [rows, D], `head` [letters, D], both dense."""
    (rows, D), letters = hidden.shape, head.shape[0]
    block_v = max(16, triton.next_power_of_2(letters))
    small = block_v <= 64
    tile = 64 if small else 32
    precision = "ieee" if torch.version.hip else "tf32x3"
    loss_kernel[(triton.cdiv(rows, tile),)](
        hidden, head, targets, scale, loss, dlogits, rows, ignore_index,
        D=D, V=letters, ROWS=tile, BLOCK_V=block_v, BLOCK_D=64 if small else 32,
        PRECISION=precision, BACKWARD=dlogits is not None,
    )  # fmt: skip


def loss_forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int
) -> tuple[Tensor, Tensor]:
    """Return the float32 sum of the losses and the int64 count."""
    losses = torch.empty(targets.shape, dtype=torch.float32, device=hidden.device)
    rows = hidden.detach().flatten(0, 1).contiguous()
    _launch(rows, weight.detach()[:letters].contiguous(), targets.contiguous(), None, losses, None, ignore_index)
    return losses.sum(), (targets != ignore_index).sum()


def loss_backward(
    dloss: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int
) -> tuple[Tensor, Tensor]:
    """Return dhidden and dweight; slice by slice, so that the logits' gradient never exists whole."""
    rows, targets = hidden.detach().flatten(0, 1).contiguous(), targets.flatten().contiguous()
    head = weight.detach()[:letters].contiguous()
    dhidden = torch.empty(hidden.shape, dtype=hidden.dtype, device=hidden.device)
    out = dhidden.view(-1, hidden.shape[-1])
    dweight = torch.zeros(weight.shape, dtype=torch.float32, device=hidden.device)
    step = max(1, _SLICE // letters)
    matrix = head.to(hidden.dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        for first in range(0, rows.shape[0], step):
            part = rows[first : first + step]
            dlogits = torch.empty(part.shape[0], letters, dtype=hidden.dtype, device=hidden.device)
            _launch(part, head, targets[first : first + step], dloss, None, dlogits, ignore_index)
            torch.mm(dlogits, matrix, out=out[first : first + step])
            dweight[:letters] += weight_gradient(dlogits, part)
    return dhidden, dweight.to(weight.dtype)
