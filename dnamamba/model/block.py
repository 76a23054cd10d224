"""One block: RMSNorm, mixer, and the residual stream around them."""

import torch
from torch import Tensor, nn

from dnamamba.kernels import rms_norm
from dnamamba.model.config import ModelConfig
from dnamamba.model.mixer import MambaMixer
from dnamamba.model.state import LayerState


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis, the addition to the residual stream taken along."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.d_model))

    def forward(self, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Add `x` to the residual stream (the stream starts with `x` where it is None) and norm the sum.

        Returns:
            The normed stream and the stream itself, float32, both [B, L, d_model].
        """
        if residual is None:
            normed = rms_norm(x, self.weight, eps=self.eps)
            assert isinstance(normed, Tensor)
            return normed, x
        both = rms_norm(x, self.weight, residual=residual, eps=self.eps)
        assert isinstance(both, tuple)
        return both


class Block(nn.Module):
    """residual + mixer(norm(residual)); the addition waits for the next block's norm, which reads the stream anyway."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config)
        self.mixer = MambaMixer(config)

    def forward(
        self, x: Tensor, residual: Tensor | None, state: LayerState | None, reset: Tensor | None
    ) -> tuple[Tensor, Tensor, LayerState]:
        """Run the block on the output `x` of the one before, [B, L, d_model].

        Returns:
            This block's own output, not yet added to the stream; the stream it is to be added to; the new state.
        """
        normed, residual = self.norm(x, residual)
        out, state = self.mixer(normed, state, reset)
        return out, residual, state
