"""The CPU engine of the causal convolution: tensors in and out of the compiled kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.kernels.cpu_code import Kernel
from dnamamba.kernels.cpu_jobs import CONV_TASK, CONV_TILE, LANES, TAPS, Conv
from dnamamba.kernels.cpu_memory import empty
from dnamamba.kernels.cpu_threads import run_tasks

_FORWARD = Kernel("cpu_conv_kernels", "conv_forward")
_BACKWARD = Kernel("cpu_conv_kernels", "conv_backward")


def _rows(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().to(torch.float32)
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


class _Prepared:
    """A call's tensors as the compiled kernels want them; they must live as long as their addresses are used."""

    def __init__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None
    ) -> None:
        channels, self.width = weight.shape
        self.padded = -(-channels // LANES) * LANES
        self.x = _rows(x)
        newest_first = weight.detach().float().t().flip(0)
        self.weight = F.pad(newest_first, (0, self.padded - channels, 0, TAPS - self.width)).contiguous()
        self.bias = torch.zeros(self.padded)
        if bias is not None:
            self.bias[:channels] = bias.detach()
        self.tail = None if tail is None else tail.detach().float().contiguous()
        self.reset = None if reset is None else reset.detach().contiguous()
        self.tasks = x.shape[0] * -(-x.shape[1] // CONV_TASK)

    def job(self, activation: bool, **results: Tensor | None) -> Conv:
        addresses = dict.fromkeys(("y", "dy", "dx", "dtail", "dweight"), 0)
        addresses.update({name: 0 if t is None else t.data_ptr() for name, t in results.items()})
        return Conv(
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
            reset=0 if self.reset is None else self.reset.data_ptr(),
            **addresses,
        )


def conv_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None, activation: bool
) -> Tensor:
    """Return y [B, L, D] in the dtype of x."""
    call = _Prepared(x, weight, bias, tail, reset)
    y = empty(x.shape)
    run_tasks(_FORWARD, call.job(activation, y=y), call.tasks, LANES)
    return y.to(x.dtype)


def conv_backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None,
    activation: bool, into: Tensor | None = None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return dx (in `into` where it is given), dweight, dbias, dtail; None where the input was None."""
    call = _Prepared(x, weight, bias, tail, reset)
    dy = dy.detach().float().contiguous()
    dx = empty(x.shape)
    dtail = None if tail is None else empty(tail.shape)
    partial = empty((call.tasks, TAPS + 1, call.padded))
    job = call.job(activation, dy=dy, dx=dx, dtail=dtail, dweight=partial)
    run_tasks(_BACKWARD, job, call.tasks, (CONV_TILE + TAPS) * LANES)
    sums = partial.sum(0)[:, : x.shape[2]]
    return (
        dx.to(x.dtype) if into is None else into.copy_(dx),
        sums[: call.width].flip(0).t().to(weight.dtype).clone(memory_format=torch.contiguous_format),
        None if bias is None else sums[-1].to(bias.dtype).clone(),
        None if dtail is None or tail is None else dtail.to(tail.dtype),
    )
