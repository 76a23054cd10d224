"""Embedding, blocks and final norm: tokens in, features out, the state handed through."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dnamamba.kernels import embedding
from dnamamba.model.block import Block, RMSNorm
from dnamamba.model.block_plan import RECOMPUTE, CastOnce, Recompute
from dnamamba.model.config import ModelConfig
from dnamamba.model.init import draw_embedding
from dnamamba.model.state import LayerState, ModelState


class Backbone(nn.Module):
    """A stack of Mamba blocks. Names of parameters are those of mamba-ssm's `MixerModel`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self._recompute: Recompute = "none"
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm_f = RMSNorm(config)
        draw_embedding(self.embedding.weight, config.embedding_std)

    @property
    def recompute(self) -> Recompute:
        """What training computes again in the backward: "none", "cheap" (all but the scan), or "all" of a block.

        The same numbers from less memory; docs/model.md has bytes and times. False and True are "none" and "all".
        """
        return self._recompute

    @recompute.setter
    def recompute(self, what: Recompute | bool) -> None:
        what = ("none", "all")[what] if isinstance(what, bool) else what
        if what not in RECOMPUTE:
            raise ValueError(f"recompute: want one of {', '.join(RECOMPUTE)}, got {what!r}")
        self._recompute = what

    @contextmanager
    def holding_weights(self) -> Iterator[None]:
        """Within, no weight changes: what kernels want made of a block's weights is made once, not in every call."""
        layers = [layer for layer in self.layers if isinstance(layer, Block)]
        for layer in layers:
            # Of sharded weights (FSDP: a DTensor has placements) whole copies would be kept, against its purpose.
            layer.held = None if hasattr(layer.norm.weight, "placements") else CastOnce()
        try:
            yield
        finally:
            for layer in layers:
                layer.held = None

    def forward(
        self, tokens: Tensor, state: ModelState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, ModelState]:
        """Features of a piece of the sequence.

        Args:
            tokens: [B, L], uint8 or int64, L >= 1.
            state: what came before the piece; None is the start of a sequence.
            reset: [B, L] bool, True at the first token of every sequence packed into a row but the one it starts with.

        Returns:
            Features [B, L, d_model], normed, and the state after the piece.

        Raises:
            ValueError: shapes or dtypes that do not fit.
        """
        self._check(tokens, state, reset)
        x = embedding(tokens, self.embedding.weight)  # [B, L, d_model]
        residual: Tensor | None = None
        after: list[LayerState] = []
        for i, layer in enumerate(self.layers):
            before = None if state is None else state.layers[i]
            x, residual, new = layer(x, residual, before, reset, self.recompute)
            after.append(new)
        features, _ = self.norm_f(x, residual)
        return features, ModelState(tuple(after))

    def _check(self, tokens: Tensor, state: ModelState | None, reset: Tensor | None) -> None:
        if tokens.ndim != 2 or tokens.shape[1] == 0 or tokens.dtype not in (torch.uint8, torch.int32, torch.int64):
            raise ValueError(
                f"tokens: want [B, L] of uint8 or int64 with L >= 1, got {tuple(tokens.shape)} {tokens.dtype}"
            )
        if reset is not None and (reset.shape != tokens.shape or reset.dtype != torch.bool):
            raise ValueError(f"reset: want {tuple(tokens.shape)} bool, got {tuple(reset.shape)} {reset.dtype}")
        if state is not None and (len(state.layers), state.batch) != (self.config.n_layers, tokens.shape[0]):
            raise ValueError(
                f"state: want {self.config.n_layers} blocks and a batch of {tokens.shape[0]}, "
                f"got {len(state.layers)} and {state.batch}"
            )
