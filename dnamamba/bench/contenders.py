"""What mixes a sequence along its length: our scan, and what else could stand in its place at the same width."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from dnamamba.bench.limits import STATES
from dnamamba.kernels import selective_scan

HEAD = 64
"""Width of an attention head."""
Inputs = dict[str, Tensor]


def scan_inputs(
    batch: int, channels: int, length: int, dtype: torch.dtype, device: str, *, slow: bool = False
) -> Inputs:
    """Arguments of `selective_scan`: steps as Mamba initialises them, or (`slow`) every step about 1e-3."""
    draw = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, device=device, dtype=dtype)

    steps = torch.exp(torch.rand(channels, generator=draw, device=device) * math.log(100) + math.log(1e-3))
    if slow:
        steps = torch.full_like(steps, 1e-3)
    return {
        "x": normal(batch, length, channels),
        "dt": normal(batch, length, channels) * (0.05 if slow else 0.5),
        "A": -torch.arange(1.0, STATES + 1, device=device).repeat(channels, 1),
        "B": normal(batch, length, STATES),
        "C": normal(batch, length, STATES),
        "D": torch.ones(channels, device=device),
        "z": normal(batch, length, channels),
        "dt_bias": steps + torch.log(-torch.expm1(-steps)),
    }


@dataclass(frozen=True)
class Contender:
    """One way to mix [1, L, width] along L."""

    name: str
    op: Callable[..., Tensor]
    """Called with the inputs by name; gives the output, through which gradients flow."""
    inputs: Callable[[int], Inputs]
    """Length -> inputs, all of which receive gradients."""
    memory: int
    """Bytes a step that a forward and backward hold at their peak, about: what does not fit is not tried."""


def contenders(width: int, dtype: torch.dtype, device: str) -> list[Contender]:
    """Ours first, then its rivals, which get their inputs in the layout that each likes best."""
    size = dtype.itemsize

    def scan(length: int) -> Inputs:
        return scan_inputs(1, width, length, dtype, device)

    def heads(length: int) -> Inputs:
        shape = (1, width // HEAD, length, HEAD) if width % HEAD == 0 else (1, 1, length, width)
        return {name: torch.randn(shape, device=device, dtype=dtype) for name in "qkv"}

    def filters(length: int) -> Inputs:
        return {name: torch.randn(width, length, device=device) for name in ("x", "kernel")}

    found = [Contender("scan", selective_scan_of, scan, 12 * width * size)]
    for name, backend in ATTENTIONS[device].items():
        found.append(Contender(name, attention_by(backend), heads, 12 * width * size))
    found.append(Contender("FFT convolution", long_convolution, filters, 16 * 2 * width * 4))
    found.append(Contender("plain torch scan", plain_scan, scan, 8 * width * STATES * 4))
    return found


ATTENTIONS = {
    "cuda": {"FlashAttention": SDPBackend.FLASH_ATTENTION, "cuDNN attention": SDPBackend.CUDNN_ATTENTION},
    "cpu": {"attention": SDPBackend.FLASH_ATTENTION},
}
"""torch's own, causal and without the quadratic matrix. The projections around it are not counted; nor are ours."""


def selective_scan_of(**inputs: Tensor) -> Tensor:
    """Our scan."""
    y = selective_scan(**inputs)  # type: ignore[arg-type]
    assert isinstance(y, Tensor)
    return y


def attention_by(backend: SDPBackend) -> Callable[..., Tensor]:
    """Causal attention of [1, heads, L, head] by one of torch's backends."""

    def attend(**inputs: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(inputs["q"], inputs["k"], inputs["v"], is_causal=True)

    return attend


def long_convolution(**inputs: Tensor) -> Tensor:
    """A filter as long as the sequence in every channel, [width, L], float32: what an S4 or Hyena layer computes.

    The making of the filter is not counted.
    """
    x, kernel = inputs["x"], inputs["kernel"]
    padded = 2 * x.shape[-1]
    y: Tensor = torch.fft.irfft(torch.fft.rfft(x, padded) * torch.fft.rfft(kernel, padded), padded)
    return y[..., : x.shape[-1]]


def plain_scan(**inputs: Tensor) -> Tensor:
    """The recurrence in plain torch, a handful of calls a step: the reference engine."""
    y = selective_scan(**inputs, engine="reference")  # type: ignore[arg-type]
    assert isinstance(y, Tensor)
    return y


def forward_of(contender: Contender, inputs: Inputs) -> Callable[[], Any]:
    """A call without gradients."""

    def run() -> None:
        with torch.no_grad():
            contender.op(**inputs)

    return run


def both_of(contender: Contender, inputs: Inputs) -> Callable[[], Any]:
    """A forward and the gradients of all inputs."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    with torch.no_grad():
        upstream = torch.ones_like(contender.op(**inputs))

    def run() -> None:
        torch.autograd.grad(contender.op(**leaves), list(leaves.values()), upstream)

    return run
