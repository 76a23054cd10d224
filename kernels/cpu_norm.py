"""The CPU engine of RMSNorm: tensors in and out of the compiled kernels."""

import torch
from torch import Tensor

from dnamamba.kernels.cpu_code import Kernel
from dnamamba.kernels.cpu_jobs import LANES, NORM_TASK, Norm
from dnamamba.kernels.cpu_memory import empty
from dnamamba.kernels.cpu_threads import run_tasks

_FORWARD = Kernel("cpu_norm_kernels", "norm_forward")
_BACKWARD = Kernel("cpu_norm_kernels", "norm_backward")


def _job(weight: Tensor, total: Tensor, tensors: dict[str, Tensor | None]) -> Norm:
    addresses = dict.fromkeys(("x", "residual", "y", "dy", "dtotal", "dx", "dweight"), 0)
    addresses.update({name: 0 if t is None else t.data_ptr() for name, t in tensors.items()})
    return Norm(
        rows=total.numel() // total.shape[-1],
        channels=total.shape[-1],
        padded=weight.shape[0],
        weight=weight.data_ptr(),
        total=total.data_ptr(),
        **addresses,
    )


def _padded(weight: Tensor) -> Tensor:
    extra = -weight.shape[0] % LANES
    return torch.nn.functional.pad(weight.detach().float(), (0, extra)).contiguous()


def norm_forward(
    x: Tensor, weight: Tensor, residual: Tensor | None, eps: float, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Return y in `dtype`, None for that of x, and the float32 sum of residual and x (empty without a residual)."""
    x32 = x.detach().float().contiguous()
    residual32 = None if residual is None else residual.detach().float().contiguous()
    total = x.new_empty(0, dtype=torch.float32) if residual is None else empty(x.shape)
    y, weight32 = empty(x.shape), _padded(weight)
    job = _job(weight32, x32 if residual is None else total, {"x": x32, "residual": residual32, "y": y})
    run_tasks(_FORWARD, job, -(-job.rows // NORM_TASK), 1, eps)
    return y.to(dtype or x.dtype), total


def norm_backward(
    dy: Tensor, dtotal: Tensor | None, total: Tensor, weight: Tensor, eps: float,
    into: tuple[Tensor, Tensor | None] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the float32 gradient of `total` (which is that of x and of the residual), and dweight.

    The gradient goes into `into`, the second time in another dtype, where they are given; both contiguous.
    """
    dy = dy.detach().float().contiguous()
    dtotal = None if dtotal is None else dtotal.detach().float().contiguous()
    total = total.detach().float().contiguous()
    weight32 = _padded(weight)
    tasks = -(-total.numel() // (total.shape[-1] * NORM_TASK))
    dx, copy = into or (empty(total.shape), None)
    partial = empty((tasks, weight32.shape[0]))
    job = _job(weight32, total, {"dy": dy, "dtotal": dtotal, "dx": dx, "dweight": partial})
    run_tasks(_BACKWARD, job, tasks, 1, eps)
    if copy is not None:
        copy.copy_(dx)
    return dx, partial.sum(0)[: weight.shape[0]].to(weight.dtype)
