"""Low-rank adapters: W + (alpha / r) U V in place of W, U and V alone trained, and the product merged when it is saved.

Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (arXiv 2106.09685).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dnamamba.model import MambaLM

ADAPTED = ("in_proj", "x_proj", "out_proj")
"""Projections of a mixer that get an adapter."""


class LowRank(nn.Module):
    """Adds a product of rank `rank` to a weight [out, in]. It starts at zero."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        out, into = weight.shape
        rank = min(rank, out, into)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, into, device=weight.device))
        self.up = nn.Parameter(torch.zeros(out, rank, device=weight.device))
        nn.init.uniform_(self.down, -1 / math.sqrt(into), 1 / math.sqrt(into))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down)


def add_adapters(model: MambaLM, rank: int, alpha: float) -> None:
    """Freeze a language model and put an adapter on the projections of every block."""
    model.requires_grad_(False)
    for layer in model.backbone.layers:
        for name in ADAPTED:
            linear = getattr(layer.mixer, name)
            parametrize.register_parametrization(linear, "weight", LowRank(linear.weight, rank, alpha))


def merge_adapters(model: MambaLM) -> None:
    """Put every adapter's product into its weight and take the adapter off; without adapters nothing happens."""
    for layer in model.backbone.layers:
        for name in ADAPTED:
            linear = getattr(layer.mixer, name)
            if parametrize.is_parametrized(linear, "weight"):
                parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)
    model.requires_grad_(True)
