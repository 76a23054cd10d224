"""How many parameters a configuration has, and the width at which another mixer has as many."""

from dataclasses import replace

import torch

from dnamamba.errors import InputError
from dnamamba.model.config import ModelConfig
from dnamamba.model.language_model import MambaLM


def count_parameters(config: ModelConfig) -> int:
    """Parameters of a model, the embedding (which is the head) included; nothing is allocated for it."""
    with torch.device("meta"):
        model = MambaLM(replace(config, n_layers=1))  # all blocks are alike
    block = sum(p.numel() for p in model.backbone.layers[0].parameters())
    return sum(p.numel() for p in model.parameters()) + (config.n_layers - 1) * block


def match_parameters(config: ModelConfig, parameters: int) -> ModelConfig:
    """The configuration with the width at which its parameters come nearest to so many, all else as it is.

    A twin that selects less than Mamba has fewer parameters at the same width; this gives them back as channels.

    Raises:
        InputError: fewer parameters than width 1 has.
    """
    low, high = 1, 2
    if count_parameters(replace(config, d_model=1)) > parameters:
        raise InputError(f"want parameters for a width of 1 or more, got {parameters:,}")
    while count_parameters(replace(config, d_model=high)) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count_parameters(replace(config, d_model=middle)) < parameters:
            low = middle
        else:
            high = middle
    widths = (replace(config, d_model=width) for width in (low, high))
    return min(widths, key=lambda one: abs(count_parameters(one) - parameters))
