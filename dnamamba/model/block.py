"""One block: RMSNorm, mixer, and the residual stream around them."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dnamamba.kernels import rms_norm
from dnamamba.model.block_plan import CastOnce, Recompute
from dnamamba.model.config import ModelConfig
from dnamamba.model.mixers import make_mixer
from dnamamba.model.planned_block import is_planned, run_planned
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
        self.mixer = make_mixer(config)
        self.held: CastOnce | None = None
        """Cast weights, while `Backbone.holding_weights` says that these do not change."""

    def forward(
        self,
        x: Tensor,
        residual: Tensor | None,
        state: LayerState | None,
        reset: Tensor | None,
        recompute: Recompute = "none",
    ) -> tuple[Tensor, Tensor, LayerState]:
        """Run the block on the output `x` of the one before, [B, L, d_model].

        Args:
            x: output of the block before, or the embedding, [B, L, d_model].
            residual: the stream `x` is to be added to, float32; None where `x` begins it.
            state: what came before the piece; None is the start of a sequence.
            reset: [B, L] bool, True where a new sequence starts; None where none does.
            recompute: what the backward computes again instead of having it kept.

        Returns:
            This block's own output, not yet added to the stream; the stream it is to be added to; the new state.
        """
        if is_planned(self, x, state):
            return run_planned(self, x, residual, state, reset, recompute)
        if recompute == "none" or not torch.is_grad_enabled():
            return self.plain(x, residual, state, reset)
        # Nothing in a block draws random numbers, so there is no generator state to put back.
        out, stream, new = checkpoint(
            self.plain, x, residual, state, reset, use_reentrant=False, preserve_rng_state=False
        )
        return out, stream, new

    def plain(
        self, x: Tensor, residual: Tensor | None, state: LayerState | None, reset: Tensor | None
    ) -> tuple[Tensor, Tensor, LayerState]:
        """`forward` in modules, autograd keeping what it likes: the reference of the plan, and what runs without it."""
        normed, residual = self.norm(x, residual)
        out, state = self.mixer(normed, state, reset)
        return out, residual, state
