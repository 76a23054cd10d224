"""A forward pass that also tells the states along the way, and takes rows of unequal length.

What forks a state needs: one long row whose states are kept at many places, and then many short rows, each of its own
length, that go on from there. No gradients.
"""

from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from dnamamba.kernels import causal_conv1d, embedding
from dnamamba.kernels.scan_states import STEPS, scan_with_states
from dnamamba.model.backbone import Backbone
from dnamamba.model.block import Block
from dnamamba.model.mixer import MixerOps
from dnamamba.model.state import LayerState, ModelState

GRID = STEPS
"""Tokens between two places whose states can be kept."""


class Reading(NamedTuple):
    """What a pass found."""

    features: Tensor
    """[B, L, d_model], normed; of a row shorter than L, what stands past its end means nothing."""
    state: ModelState
    """After each row's last token."""
    kept: ModelState
    """States before the tokens 64 * `keep`, of the rows one after the other: [B * n, ..]."""


@torch.no_grad()
def read(
    backbone: Backbone,
    tokens: Tensor,
    state: ModelState | None = None,
    *,
    keep: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Reading:
    """Read a piece of each row.

    Args:
        backbone: of the model.
        tokens: [B, L], L >= 1, any token past a row's own length.
        state: what came before; None is the start of a sequence.
        keep: int64 [n], rising, 64 * keep < L: the places before which states are kept. None keeps none.
        lengths: int64 [B], tokens of each row, 1..L. None is L for all. A step past a row's end takes no time: it
            leaves the row's state as it is, bit for bit.
    """
    blocks = torch.zeros(0, dtype=torch.int64, device=tokens.device) if keep is None else keep
    if backbone.config.mixer != "mamba":
        return _read_in_pieces(backbone, tokens, state, blocks, lengths)
    past = None
    if lengths is not None:
        past = torch.arange(tokens.shape[1], device=tokens.device) >= lengths[:, None]  # [B, L]
    x = embedding(tokens, backbone.embedding.weight)
    residual: Tensor | None = None
    after: list[LayerState] = []
    kept: list[LayerState] = []
    for i, layer in enumerate(cast(list[Block], backbone.layers)):
        watch = _Watch(blocks, lengths, past)
        x, residual = layer.norm(x, residual)
        x, new = layer.mixer(x, None if state is None else state.layers[i], None, MixerOps(watch.convolve, watch.scan))
        after.append(new)
        kept.append(LayerState(watch.tails.to(new.ssm.dtype).flatten(0, 1), watch.states.flatten(0, 1)))
    features, _ = backbone.norm_f(x, residual)
    return Reading(features, ModelState(tuple(after)), ModelState(tuple(kept)))


def _read_in_pieces(
    backbone: Backbone, tokens: Tensor, state: ModelState | None, blocks: Tensor, lengths: Tensor | None
) -> Reading:
    """For mixers that cannot be watched: cut where a state is wanted, rows of one length together. Slower."""
    batch, length = tokens.shape
    if lengths is not None and bool((lengths != length).any()):
        features = backbone.norm_f.weight.new_zeros(batch, length, backbone.config.d_model)
        groups, order = [], []
        for count in torch.unique(lengths).tolist():
            rows = (lengths == count).nonzero()[:, 0]
            before = None if state is None else state.index(rows)
            reading = _read_in_pieces(backbone, tokens[rows, :count], before, blocks[:0], None)
            features[rows, :count] = reading.features.to(features.dtype)
            groups.append(reading.state.tensors())
            order.append(rows)
        joined = ModelState.from_tensors([torch.cat(parts) for parts in zip(*groups, strict=True)])
        after = joined.index(torch.cat(order).argsort())
        return Reading(features, after, after.index(slice(0)))
    wanted = [GRID * block for block in blocks.tolist()]
    parts, at = [], {}
    for start, end in pairwise(sorted({0, *wanted, length})):
        at[start] = ModelState.zeros(backbone.config, batch, device=tokens.device) if state is None else state
        part, state = backbone(tokens[:, start:end], state)
        parts.append(part)
    assert state is not None
    kept = [torch.stack(same, 1).flatten(0, 1) for same in zip(*(at[place].tensors() for place in wanted), strict=True)]
    return Reading(torch.cat(parts, 1), state, ModelState.from_tensors(kept) if kept else state.index(slice(0)))


class _Watch:
    """Convolution and scan of one block that note what is wanted on the way."""

    tails: Tensor
    states: Tensor

    def __init__(self, blocks: Tensor, lengths: Tensor | None, past: Tensor | None) -> None:
        self._blocks, self._lengths, self._past = blocks, lengths, past

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        y = causal_conv1d(x, weight, bias, **options)
        assert isinstance(y, Tensor)
        batch, length, channels = x.shape
        count = weight.shape[1] - 1
        before = options["initial_tail"]
        seen = torch.cat([x.new_zeros(batch, count, channels) if before is None else before, x], 1)
        # The inputs before step t are seen[t : t + count].
        window = torch.arange(count, device=x.device)
        self.tails = seen[:, STEPS * self._blocks[:, None] + window]  # [B, n, count, D]
        if self._lengths is None:
            return y, seen[:, length:]
        places = (self._lengths[:, None] + window)[:, :, None].expand(-1, -1, channels)
        return y, seen.gather(1, places)

    def scan(self, x: Tensor, dt: Tensor, *matrices: Tensor, reset: None, **options: Any) -> tuple[Tensor, Tensor]:
        if self._past is not None:
            dt = dt.masked_fill(self._past[:, :, None], -torch.inf)  # softplus makes it a step of length zero
        y, state, self.states = scan_with_states(x, dt, *matrices, self._blocks, **options)  # type: ignore[call-arg]
        return y, state
