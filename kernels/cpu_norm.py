"""The compiled RMSNorm with residual addition, forward and backward: one task is a tile of rows."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dnamamba.kernels.cpu_runtime import compiled, inlined, run_tasks
from dnamamba.kernels.cpu_vector import (
    LANES,
    broadcast,
    fma,
    lane_sum,
    load,
    load_some,
    square_root,
    store,
    store_some,
    zeros,
)

_TILE = 512  # rows a task


class _Norm(NamedTuple):
    """One call: sizes, then addresses (0: absent) of dense tensors."""

    rows: int
    channels: int
    padded: int
    x: int  # [rows, D]
    residual: int  # [rows, D]
    weight: int  # [D padded to whole groups]
    y: int  # [rows, D]
    total: int  # [rows, D]: residual + x
    dy: int  # [rows, D]
    dtotal: int  # [rows, D]: gradient that reaches `total` from later layers
    dx: int  # [rows, D]
    dweight: int  # [tasks, D padded]


@inlined
def _root_mean_square(address: int, row: int, channels: int, eps: float) -> Any:
    """sqrt(mean + eps) of a row, in all lanes."""
    squares = zeros()
    for channel in range(0, channels, LANES):
        value = load_some(address, row + channel, min(LANES, channels - channel))
        squares = fma(value, value, squares)
    return square_root(lane_sum(squares) * broadcast(1.0 / channels) + broadcast(eps))


@compiled
def _norm_forward(job: Any, task: int, scratch: int, eps: float) -> None:
    for i in range(task * _TILE, min((task + 1) * _TILE, job.rows)):
        row = i * job.channels
        source = job.x
        if job.residual != 0:
            source = job.total
            for channel in range(0, job.channels, LANES):
                count = min(LANES, job.channels - channel)
                value = load_some(job.x, row + channel, count) + load_some(job.residual, row + channel, count)
                store_some(job.total, row + channel, value, count)
        scale = broadcast(1.0) / _root_mean_square(source, row, job.channels, eps)
        for channel in range(0, job.channels, LANES):
            count = min(LANES, job.channels - channel)
            value = load_some(source, row + channel, count) * scale * load(job.weight, channel)
            store_some(job.y, row + channel, value, count)


@compiled
def _norm_backward(job: Any, task: int, scratch: int, eps: float) -> None:
    """With n = total / rms: dx = (w dy - n mean(w dy n)) / rms + dtotal, dweight = sum of dy n."""
    sums = job.dweight + 4 * task * job.padded
    for channel in range(0, job.padded, LANES):
        store(sums, channel, zeros())
    for i in range(task * _TILE, min((task + 1) * _TILE, job.rows)):
        row = i * job.channels
        scale = broadcast(1.0) / _root_mean_square(job.total, row, job.channels, eps)
        along = zeros()
        for channel in range(0, job.channels, LANES):
            count = min(LANES, job.channels - channel)
            grad = load_some(job.dy, row + channel, count)
            normal = load_some(job.total, row + channel, count) * scale
            store(sums, channel, fma(grad, normal, load(sums, channel)))
            along = fma(grad * load(job.weight, channel), normal, along)
        mean = lane_sum(along) * broadcast(1.0 / job.channels)
        for channel in range(0, job.channels, LANES):
            count = min(LANES, job.channels - channel)
            grad = load_some(job.dy, row + channel, count) * load(job.weight, channel)
            normal = load_some(job.total, row + channel, count) * scale
            value = (grad - normal * mean) * scale
            if job.dtotal != 0:
                value = value + load_some(job.dtotal, row + channel, count)
            store_some(job.dx, row + channel, value, count)


def _job(weight: Tensor, total: Tensor, tensors: dict[str, Tensor | None]) -> _Norm:
    addresses = dict.fromkeys(("x", "residual", "y", "dy", "dtotal", "dx", "dweight"), 0)
    addresses.update({name: 0 if t is None else t.data_ptr() for name, t in tensors.items()})
    return _Norm(
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


def norm_forward(x: Tensor, weight: Tensor, residual: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """Return y in the dtype of x, and the float32 sum of residual and x (empty without a residual)."""
    x32 = x.detach().float().contiguous()
    residual32 = None if residual is None else residual.detach().float().contiguous()
    total = x.new_empty(0, dtype=torch.float32) if residual is None else torch.empty(x.shape)
    y, weight32 = torch.empty(x.shape), _padded(weight)
    job = _job(weight32, x32 if residual is None else total, {"x": x32, "residual": residual32, "y": y})
    run_tasks(_norm_forward, job, -(-job.rows // _TILE), 1, eps)
    return y.to(x.dtype), total


def norm_backward(
    dy: Tensor, dtotal: Tensor | None, total: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Return the float32 gradient of `total` (which is that of x and of the residual), and dweight."""
    dy = dy.detach().float().contiguous()
    dtotal = None if dtotal is None else dtotal.detach().float().contiguous()
    total = total.detach().float().contiguous()
    weight32 = _padded(weight)
    tasks = -(-total.numel() // (total.shape[-1] * _TILE))
    dx, partial = torch.empty(total.shape), torch.empty(tasks, weight32.shape[0])
    job = _job(weight32, total, {"dy": dy, "dtotal": dtotal, "dx": dx, "dweight": partial})
    run_tasks(_norm_backward, job, tasks, 1, eps)
    return dx, partial.sum(0)[: weight.shape[0]].to(weight.dtype)
