"""The compiled causal convolution with SiLU, forward and backward: one task is a tile of time of one sequence."""

from typing import Any

from dnamamba.kernels.cpu_compile import compiled, inlined
from dnamamba.kernels.cpu_jobs import CONV_TASK, CONV_TILE, LANES, TAPS, Conv
from dnamamba.kernels.cpu_math import sigmoid
from dnamamba.kernels.cpu_scan_layout import prefetch_rows
from dnamamba.kernels.cpu_vector import broadcast, fma, load, load_byte, load_some, store, store_some, zeros


@inlined
def _resets(job: Conv, batch: int, t: int) -> bool:
    return job.reset != 0 and t >= 0 and load_byte(job.reset, batch * job.length + t) != 0


@inlined
def _input(job: Conv, batch: int, t: int, channel: int, count: int) -> Any:
    """Input t, for t < 0 from the tail; zeros before everything known."""
    if t >= 0:
        return load_some(job.x, batch * job.x_batch + t * job.x_row + channel, count)
    if job.tail != 0 and t > -job.width:
        return load_some(job.tail, (batch * (job.width - 1) + job.width - 1 + t) * job.channels + channel, count)
    return zeros()


@inlined
def _before(job: Conv, batch: int, start: int, channel: int, count: int) -> Any:
    """What output `start` sees of the three inputs before it, but for a reset at `start` itself."""
    x1, x2, x3 = zeros(), zeros(), zeros()
    if job.width > 1:
        x1 = _input(job, batch, start - 1, channel, count)
        if job.width > 2 and not _resets(job, batch, start - 1):
            x2 = _input(job, batch, start - 2, channel, count)
            if job.width > 3 and not _resets(job, batch, start - 2):
                x3 = _input(job, batch, start - 3, channel, count)
    return x1, x2, x3


@inlined
def _shifted(job: Conv, x0: Any, x1: Any, x2: Any) -> Any:
    """One step later; a register that the kernel is too narrow for stays zero (a zero tap times infinity is NaN)."""
    none = zeros()
    return (x0 if job.width > 1 else none), (x1 if job.width > 2 else none), (x2 if job.width > 3 else none)


@compiled
def conv_forward(job: Any, task: int, scratch: int) -> None:
    tasks = -(-job.length // CONV_TASK)
    batch, begin = task // tasks, task % tasks * CONV_TASK
    end = min(begin + CONV_TASK, job.length)
    for start in range(begin, end, CONV_TILE):
        stop = min(start + CONV_TILE, end)
        prefetch_rows(job.x + 4 * (batch * job.x_batch + start * job.x_row), job.x_row, stop - start, 0, job.channels)
        for channel in range(0, job.channels, LANES):
            count = min(LANES, job.channels - channel)
            w0, w1 = load(job.weight, channel), load(job.weight, job.padded + channel)
            w2, w3 = load(job.weight, 2 * job.padded + channel), load(job.weight, 3 * job.padded + channel)
            bias = load(job.bias, channel)
            x1, x2, x3 = _before(job, batch, start, channel, count)
            for t in range(start, stop):
                if _resets(job, batch, t):
                    x1, x2, x3 = zeros(), zeros(), zeros()
                x0 = load_some(job.x, batch * job.x_batch + t * job.x_row + channel, count)
                value = fma(w0, x0, fma(w1, x1, fma(w2, x2, fma(w3, x3, bias))))
                if job.silu:
                    value = value * sigmoid(value)
                store_some(job.y, (batch * job.length + t) * job.channels + channel, value, count)
                x1, x2, x3 = _shifted(job, x0, x1, x2)


@inlined
def _activation_gradient(
    job: Conv, batch: int, start: int, stop: int, channel: int, count: int, sums: int, scratch: int
) -> None:
    """Fill scratch with the gradient before SiLU of all outputs that see the tile; add up dweight."""
    w0, w1 = load(job.weight, channel), load(job.weight, job.padded + channel)
    w2, w3 = load(job.weight, 2 * job.padded + channel), load(job.weight, 3 * job.padded + channel)
    bias, one = load(job.bias, channel), broadcast(1.0)
    s0, s1, s2 = load(sums, 0), load(sums, job.padded), load(sums, 2 * job.padded)
    s3, s4 = load(sums, 3 * job.padded), load(sums, 4 * job.padded)
    x1, x2, x3 = _before(job, batch, start, channel, count)
    for t in range(start, min(stop + job.width - 1, job.length)):
        if _resets(job, batch, t):
            x1, x2, x3 = zeros(), zeros(), zeros()
        x0 = load_some(job.x, batch * job.x_batch + t * job.x_row + channel, count)
        grad = load_some(job.dy, (batch * job.length + t) * job.channels + channel, count)
        if job.silu:
            value = fma(w0, x0, fma(w1, x1, fma(w2, x2, fma(w3, x3, bias))))
            s = sigmoid(value)
            grad = grad * fma(value * s, one - s, s)
        store(scratch, (t - start) * LANES, grad)
        if t < stop:
            s0, s1, s2, s3 = fma(grad, x0, s0), fma(grad, x1, s1), fma(grad, x2, s2), fma(grad, x3, s3)
            s4 = s4 + grad
        x1, x2, x3 = _shifted(job, x0, x1, x2)
    store(sums, 0, s0)
    store(sums, job.padded, s1)
    store(sums, 2 * job.padded, s2)
    store(sums, 3 * job.padded, s3)
    store(sums, 4 * job.padded, s4)


@inlined
def _input_gradient(job: Conv, batch: int, start: int, stop: int, channel: int, count: int, scratch: int) -> None:
    """Walk the scratch back: dx of the tile, and of the tail before the first tile."""
    w0, w1 = load(job.weight, channel), load(job.weight, job.padded + channel)
    w2, w3 = load(job.weight, 2 * job.padded + channel), load(job.weight, 3 * job.padded + channel)
    g1, g2, g3 = zeros(), zeros(), zeros()
    last = min(stop + job.width - 1, job.length) - 1
    first = 1 - job.width if start == 0 and job.dtail != 0 else start
    for back in range(last - first + 1):
        t = last - back
        g0 = load(scratch, (t - start) * LANES) if t >= 0 else zeros()
        total = fma(w0, g0, fma(w1, g1, fma(w2, g2, w3 * g3)))
        if 0 <= t < stop:
            store_some(job.dx, (batch * job.length + t) * job.channels + channel, total, count)
        elif t < 0:
            store_some(job.dtail, (batch * (job.width - 1) + job.width - 1 + t) * job.channels + channel, total, count)
        g1, g2, g3 = _shifted(job, g0, g1, g2)
        if _resets(job, batch, t):  # no output from here on sees an earlier input
            g1, g2, g3 = zeros(), zeros(), zeros()


@compiled
def conv_backward(job: Any, task: int, scratch: int) -> None:
    tasks = -(-job.length // CONV_TASK)
    batch, begin = task // tasks, task % tasks * CONV_TASK
    end = min(begin + CONV_TASK, job.length)
    sums = job.dweight + 4 * task * (TAPS + 1) * job.padded
    for i in range(0, (TAPS + 1) * job.padded, LANES):
        store(sums, i, zeros())
    for start in range(begin, end, CONV_TILE):
        stop = min(start + CONV_TILE, end)
        prefetch_rows(job.x + 4 * (batch * job.x_batch + start * job.x_row), job.x_row, stop - start, 0, job.channels)
        rows = job.dy + 4 * (batch * job.length + start) * job.channels
        prefetch_rows(rows, job.channels, stop - start, 0, job.channels)
        for channel in range(0, job.channels, LANES):
            count = min(LANES, job.channels - channel)
            _activation_gradient(job, batch, start, stop, channel, count, sums + 4 * channel, scratch)
            _input_gradient(job, batch, start, stop, channel, count, scratch)
