"""Time-sliced backpropagation: the exact gradient of a sequence of any length in the memory of one slice.

A sweep over the slices without a graph keeps the model's state at every slice border. Then the slices are taken last to
first: one is computed again from its border, now with a graph, and the backward through it yields, beside its share of
the parameters' gradients, the gradient of the state at its own start, which is that of the final state of the slice
before. What is kept for a slice at a border does not depend on the slice's length: 0.2 MB for 12 blocks of width 128.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from dnamamba.model.autocasting import autocasting
from dnamamba.model.language_model import MambaLM
from dnamamba.model.state import ModelState

Batch = Mapping[str, Tensor | None]
Cut = Callable[[int, int], Batch]
"""(start, end) -> that piece of a batch along the sequence, on the model's device, as `MambaLM.loss` takes it."""

SWEEP_SHARE = 0.25
"""Share of a sliced step's time that the sweep takes, about; for the progress bar."""


def cut_batch(batch: Batch) -> Cut:
    """The cut of a batch that exists whole."""
    return lambda start, end: {name: None if t is None else t[:, start:end] for name, t in batch.items()}


def slice_borders(length: int, slice_length: int) -> list[int]:
    """Where slices start, and the end: [0, ..., length]. All are `slice_length` long but the first, which may be short.

    The last slice is the one that is not computed twice, so that it should be a whole one.
    """
    return [0, *range(length - (length - 1) // slice_length * slice_length, length, slice_length), length]


def sliced_step(
    model: MambaLM,
    cut: Cut,
    length: int,
    slice_length: int,
    *,
    scale: float = 1.0,
    state: ModelState | None = None,
    autocast: torch.dtype | None = None,
    backward: Callable[[Tensor], None] = Tensor.backward,
    progress: Callable[[float], None] | None = None,
) -> tuple[Tensor, Tensor, ModelState]:
    """Add the gradient of `scale` times the loss to the parameters' `grad`, as if the whole sequence were one graph.

    Args:
        model: whose parameters receive the gradient.
        cut: gives the batch piece by piece; each piece is asked for twice, the last one once.
        length: of the sequence, in tokens; the batch may have several rows of it.
        slice_length: tokens of a row that have a graph at a time; from `length` on, this is a plain training step.
        scale: factor of the loss before the backward.
        state: what came before the sequence; it receives no gradient. None is the start of a sequence.
        autocast: dtype of matrix products, or None for the model's own.
        backward: called once a slice with a scalar.
        progress: called after each piece of work with the share of the step that is done.

    Returns:
        The loss, summed over all targets in nats, a float64 scalar; the number of targets; the state after the
        sequence, cut from the graph.

    Raises:
        ValueError: a length or slice length below 1, or pieces that `MambaLM.loss` refuses.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (arXiv 1604.06174), taken along time: what is
    kept at a border is a state, not a layer's activations.
    """
    if length < 1 or slice_length < 1:
        raise ValueError(f"want a sequence and slices of 1 token or more, got {length} and {slice_length}")
    pieces = list(pairwise(slice_borders(length, slice_length)))
    told = _Progress(progress, length, pieces[-1][0])
    loss = torch.zeros((), device=model.device, dtype=torch.float64)
    count = torch.zeros((), device=model.device, dtype=torch.int64)
    final: ModelState | None = None
    handed: Tensor | None = None  # gradient of the state after the slice
    with model.backbone.holding_weights() if len(pieces) > 1 else nullcontext():
        borders = _sweep(model, cut, pieces[:-1], state, autocast, told)
        for start, end in reversed(pieces):
            leaf: Tensor | None = None
            if borders:
                border = borders.pop()
                leaf = border.flat.requires_grad_()
                before: ModelState | None = border.state()
            else:
                before = state
            # The context ends before the backward, and with it the low-precision copies of the weights.
            with autocasting(model.device, autocast):
                part, targets, after = model.loss(cut(start, end), before)
            whole = part * scale
            if handed is not None:
                whole = whole + torch.dot(_pack(after), handed)  # its gradient with respect to the state is `handed`
            backward(whole)
            final = after.detach() if final is None else final
            loss += part.detach()
            count += targets
            handed = None if leaf is None else leaf.grad
            told.computed(end - start)
            del part, whole, after, before, leaf
    assert final is not None
    return loss, count, final


def _pack(state: ModelState) -> Tensor:
    """All tensors of a state in one: two dozen small ones would cost more launches than the hand-over is worth."""
    return torch.cat([tensor.flatten() for tensor in state.tensors()])


class _Border(NamedTuple):
    """A state at a slice border."""

    flat: Tensor
    shapes: list[torch.Size]

    def state(self) -> ModelState:
        parts = torch.split(self.flat, [shape.numel() for shape in self.shapes])
        return ModelState.from_tensors([part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)])


@torch.no_grad()
def _sweep(
    model: MambaLM,
    cut: Cut,
    pieces: list[tuple[int, int]],
    state: ModelState | None,
    autocast: torch.dtype | None,
    told: "_Progress",
) -> list[_Border]:
    """The state after each piece, packed. Only the states are wanted: no head, no loss."""
    borders: list[_Border] = []
    with autocasting(model.device, autocast):
        for start, end in pieces:
            batch = cut(start, end)
            tokens = batch["tokens"]
            assert tokens is not None
            _, state = model.backbone(tokens, state, batch.get("reset"))
            borders.append(_Border(_pack(state), [tensor.shape for tensor in state.tensors()]))
            told.swept(end - start)
    return borders


class _Progress:
    """Turns slices done into a share of the step."""

    def __init__(self, tell: Callable[[float], None] | None, length: int, swept: int) -> None:
        self._tell = tell
        self._all = SWEEP_SHARE * swept + (1 - SWEEP_SHARE) * length
        self._done = 0.0

    def swept(self, tokens: int) -> None:
        self._add(SWEEP_SHARE * tokens)

    def computed(self, tokens: int) -> None:
        self._add((1 - SWEEP_SHARE) * tokens)

    def _add(self, work: float) -> None:
        self._done += work
        if self._tell is not None:
            self._tell(self._done / self._all)
