"""The compiled causal convolution with SiLU, forward and backward: one task is a tile of time of one sequence."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.kernels.cpu_math import sigmoid
from dnamamba.kernels.cpu_runtime import compiled, inlined, run_tasks
from dnamamba.kernels.cpu_vector import (
    LANES,
    broadcast,
    fma,
    load,
    load_byte,
    load_some,
    prefetch,
    store,
    store_some,
    zeros,
)

TILE = 64  # steps a task: its rows stay in the second cache while the groups of channels pass over them
_HALO = 7  # steps after the tile whose outputs see the tile, for the widest kernel


class _Conv(NamedTuple):
    """One call: sizes, then addresses (0: absent) with strides in floats."""

    length: int
    channels: int
    width: int
    silu: int
    x: int
    x_batch: int
    x_row: int
    weight: int  # [W, D padded to whole groups]
    bias: int  # [D padded]
    padded: int
    tail: int  # [B, W-1, D]
    seen: int  # [B, L] bytes: how many inputs, the newest its own, an output sees
    seen_batch: int
    y: int  # [B, L, D]
    dy: int  # [B, L, D]
    dx: int  # [B, L, D]
    dtail: int  # [B, W-1, D]
    dweight: int  # [tasks, W+1, D padded]; the last row is the bias


@inlined
def _row(job: _Conv, batch: int, t: int) -> int:
    """Address of input row t, of the tail for t < 0."""
    if t >= 0:
        return job.x + 4 * (batch * job.x_batch + t * job.x_row)
    return job.tail + 4 * (batch * (job.width - 1) + job.width - 1 + t) * job.channels


@inlined
def _before_activation(job: _Conv, batch: int, t: int, seen: int, channel: int, count: int) -> Any:
    total = load(job.bias, channel)
    for j in range(seen):
        tap = load(job.weight, (job.width - 1 - j) * job.padded + channel)
        total = fma(tap, load_some(_row(job, batch, t - j), channel, count), total)
    return total


@compiled
def _conv_forward(job: Any, task: int, scratch: int) -> None:
    tiles = -(-job.length // TILE)
    batch, start = task // tiles, task % tiles * TILE
    for t in range(start, min(start + TILE, job.length)):
        seen = load_byte(job.seen, batch * job.seen_batch + t)
        out = (batch * job.length + t) * job.channels
        for channel in range(0, job.channels, LANES):
            count = min(LANES, job.channels - channel)
            value = _before_activation(job, batch, t, seen, channel, count)
            if job.silu:
                value = value * sigmoid(value)
            store_some(job.y, out + channel, value, count)


@compiled
def _conv_backward(job: Any, task: int, scratch: int) -> None:
    """dx of the tile's inputs (and of the tail, in the first tile), and the tile's part of dweight and dbias."""
    tiles = -(-job.length // TILE)
    batch, start = task // tiles, task % tiles * TILE
    stop = min(start + TILE, job.length)
    reach = min(stop + job.width - 1, job.length)  # these outputs see inputs of the tile
    first = start - (job.width - 1) if start == 0 and job.tail != 0 else start
    for t in range(start, reach):
        for channel in range(0, job.channels, LANES):
            prefetch(_row(job, batch, t), channel)
            prefetch(job.dy, (batch * job.length + t) * job.channels + channel)
    for channel in range(0, job.channels, LANES):
        count = min(LANES, job.channels - channel)
        sums = job.dweight + 4 * (task * (job.width + 1) * job.padded + channel)
        for j in range(job.width + 1):
            store(sums, j * job.padded, zeros())
        for t in range(start, reach):
            seen = load_byte(job.seen, batch * job.seen_batch + t)
            grad = load_some(job.dy, (batch * job.length + t) * job.channels + channel, count)
            if job.silu:
                value = _before_activation(job, batch, t, seen, channel, count)
                s = sigmoid(value)
                grad = grad * fma(value * s, broadcast(1.0) - s, s)
            store(scratch, (t - start) * LANES, grad)
            if t < stop:
                for j in range(seen):
                    at = (job.width - 1 - j) * job.padded
                    store(sums, at, fma(grad, load_some(_row(job, batch, t - j), channel, count), load(sums, at)))
                at = job.width * job.padded
                store(sums, at, load(sums, at) + grad)
        for t in range(first, stop):
            total = zeros()
            for j in range(max(0, start - t), min(job.width, reach - t)):
                if load_byte(job.seen, batch * job.seen_batch + t + j) <= j:
                    break  # a reset lies between: later outputs do not see this input either
                tap = load(job.weight, (job.width - 1 - j) * job.padded + channel)
                total = fma(tap, load(scratch, (t + j - start) * LANES), total)
            if t >= 0:
                store_some(job.dx, (batch * job.length + t) * job.channels + channel, total, count)
            else:
                store_some(
                    job.dtail, (batch * (job.width - 1) + job.width - 1 + t) * job.channels + channel, total, count
                )


def _rows(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().to(torch.float32)
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _seen(length: int, width: int, tail: Tensor | None, reset: Tensor | None) -> Tensor:
    """uint8 [B or 1, L]: how many inputs, the newest its own, each output sees."""
    position = torch.arange(length)
    start = torch.full((1, length), -width if tail is not None else 0)  # the first input that is known
    if reset is not None:
        start = torch.where(reset, position, start).cummax(1).values
    return (position - start + 1).clamp_max(width).to(torch.uint8)


class _Prepared:
    """A call's tensors as the compiled kernels want them; they must live as long as their addresses are used."""

    def __init__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None
    ) -> None:
        channels, self.width = weight.shape
        self.padded = -(-channels // LANES) * LANES
        self.x = _rows(x)
        self.weight = F.pad(weight.detach().float().t(), (0, self.padded - channels)).contiguous()
        self.bias = torch.zeros(self.padded)
        if bias is not None:
            self.bias[:channels] = bias.detach()
        self.tail = None if tail is None else tail.detach().float().contiguous()
        self.seen = _seen(x.shape[1], self.width, tail, reset)
        self.tasks = x.shape[0] * -(-x.shape[1] // TILE)

    def job(self, activation: bool, **results: Tensor | None) -> _Conv:
        addresses = dict.fromkeys(("y", "dy", "dx", "dtail", "dweight"), 0)
        addresses.update({name: 0 if t is None else t.data_ptr() for name, t in results.items()})
        return _Conv(
            length=self.x.shape[1],
            channels=self.x.shape[2],
            width=self.width,
            silu=int(activation),
            x=self.x.data_ptr(),
            x_batch=self.x.stride(0),
            x_row=self.x.stride(1),
            weight=self.weight.data_ptr(),
            bias=self.bias.data_ptr(),
            padded=self.padded,
            tail=0 if self.tail is None else self.tail.data_ptr(),
            seen=self.seen.data_ptr(),
            seen_batch=0 if self.seen.shape[0] == 1 else self.seen.shape[1],
            **addresses,
        )


def conv_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None, activation: bool
) -> Tensor:
    """Return y [B, L, D] in the dtype of x."""
    call = _Prepared(x, weight, bias, tail, reset)
    y = torch.empty(x.shape)
    run_tasks(_conv_forward, call.job(activation, y=y), call.tasks, LANES)
    return y.to(x.dtype)


def conv_backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None,
    activation: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return dx, dweight, dbias, dtail; None where the input was None."""
    call = _Prepared(x, weight, bias, tail, reset)
    dy = dy.detach().float().contiguous()
    dx = torch.empty(x.shape)
    dtail = None if tail is None else torch.empty(tail.shape)
    partial = torch.empty(call.tasks, call.width + 1, call.padded)
    job = call.job(activation, dy=dy, dx=dx, dtail=dtail, dweight=partial)
    run_tasks(_conv_backward, job, call.tasks, (TILE + _HALO) * LANES)
    sums = partial.sum(0)[:, : x.shape[2]]
    return (
        dx.to(x.dtype),
        sums[:-1].t().to(weight.dtype).clone(memory_format=torch.contiguous_format),
        None if bias is None else sums[-1].to(bias.dtype).clone(),
        None if dtail is None or tail is None else dtail.to(tail.dtype),
    )
