"""The weights before training, as in the Mamba paper's code. All draw from torch's global generator."""

import math

import torch
from torch import Tensor, nn

from dnamamba.model.config import ModelConfig


@torch.no_grad()
def draw_linear(weight: Tensor, scale: float = 1.0) -> None:
    """Fill a projection [out, in] from U(-1, 1) / sqrt(in), torch's own default, times `scale`."""
    bound = scale / math.sqrt(weight.shape[1])
    nn.init.uniform_(weight, -bound, bound)


@torch.no_grad()
def draw_output(weight: Tensor, n_layers: int) -> None:
    """Fill out_proj: with 1 / sqrt(n_layers) the residual stream's variance does not grow with depth."""
    draw_linear(weight, 1 / math.sqrt(n_layers))


@torch.no_grad()
def draw_convolution(weight: Tensor, bias: Tensor) -> None:
    """Fill a depthwise convolution [D, 1, W] and its bias [D] from U(-1, 1) / sqrt(W), torch's default."""
    bound = 1 / math.sqrt(weight.shape[2])
    nn.init.uniform_(weight, -bound, bound)
    nn.init.uniform_(bias, -bound, bound)


@torch.no_grad()
def draw_step_size(weight: Tensor, bias: Tensor, config: ModelConfig) -> None:
    """Fill dt_proj, weight [D, rank] and bias [D].

    softplus(bias) is log-uniform in [dt_min, dt_max] and at least dt_floor: the bias alone sets the channel's memory,
    about 1/dt bases for its slowest state. The channels stand in the order of their steps, slow ones first: an order
    means nothing to the model, but the GPU scan walks neighbouring channels together, and where all of them forget fast
    it can stop early. The weight, U(-1, 1) / sqrt(rank), keeps the variance of its input.
    """
    bound = config.rank**-0.5
    nn.init.uniform_(weight, -bound, bound)
    draw_step_bias(bias, config)


@torch.no_grad()
def draw_step_bias(bias: Tensor, config: ModelConfig) -> None:
    """Fill the bias [D] of the step sizes, as `draw_step_size` says."""
    low, high = math.log(config.dt_min), math.log(config.dt_max)
    dt = (torch.rand_like(bias) * (high - low) + low).exp().clamp_min(config.dt_floor).sort().values
    bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus, exact for small dt as well


@torch.no_grad()
def fill_decay(A_log: Tensor) -> None:
    """Fill A_log [D, N] with log(1 .. N) in every channel, so that A = -1 .. -N (S4D-real)."""
    A_log.copy_(torch.arange(1, A_log.shape[1] + 1, dtype=A_log.dtype, device=A_log.device).log().expand_as(A_log))


@torch.no_grad()
def draw_static(B: Tensor | None, C: Tensor | None) -> None:
    """Fill B with ones and C from N(0, 1) where they do not follow from the input (S4D's start)."""
    if B is not None:
        nn.init.ones_(B)
    if C is not None:
        nn.init.normal_(C)


@torch.no_grad()
def draw_embedding(weight: Tensor, std: float) -> None:
    """Fill the embedding [V, d_model], which is the head as well, from N(0, std)."""
    nn.init.normal_(weight, 0.0, std)
