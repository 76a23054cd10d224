"""The compiled RMSNorm with residual addition, forward and backward: one task is a tile of rows."""

from typing import Any

from dnamamba.kernels.cpu_compile import compiled, inlined
from dnamamba.kernels.cpu_jobs import LANES, NORM_TASK
from dnamamba.kernels.cpu_vector import broadcast, fma, lane_sum, load, load_some, square_root, store, store_some, zeros


@inlined
def _root_mean_square(address: int, row: int, channels: int, eps: float) -> Any:
    """sqrt(mean + eps) of a row, in all lanes."""
    squares = zeros()
    for channel in range(0, channels, LANES):
        value = load_some(address, row + channel, min(LANES, channels - channel))
        squares = fma(value, value, squares)
    return square_root(lane_sum(squares) * broadcast(1.0 / channels) + broadcast(eps))


@compiled
def norm_forward(job: Any, task: int, scratch: int, eps: float) -> None:
    for i in range(task * NORM_TASK, min((task + 1) * NORM_TASK, job.rows)):
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
def norm_backward(job: Any, task: int, scratch: int, eps: float) -> None:
    """With n = total / rms: dx = (w dy - n mean(w dy n)) / rms + dtotal, dweight = sum of dy n."""
    sums = job.dweight + 4 * task * job.padded
    for channel in range(0, job.padded, LANES):
        store(sums, channel, zeros())
    for i in range(task * NORM_TASK, min((task + 1) * NORM_TASK, job.rows)):
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
