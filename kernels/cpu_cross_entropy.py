"""Cross-entropy of a linear head on the CPU: torch's own matrix products and softmax, a slice of rows at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

_ROWS = 4096  # the logits of so many rows exist at once: 4 MiB at 256 tokens


def _slices(
    hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """For each slice of rows: where, hidden, log-probabilities, targets made safe to index with, which rows count."""
    hidden, targets = hidden.detach().flatten(0, 1), targets.flatten()
    head = weight.detach()[:letters].float()
    for first in range(0, hidden.shape[0], _ROWS):
        where = slice(first, first + _ROWS)
        rows = hidden[where].float()
        yield where, rows, torch.log_softmax(rows @ head.T, -1), targets[where], targets[where] != ignore_index


def loss_forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int
) -> tuple[Tensor, Tensor]:
    """Return the float32 sum of the losses and the int64 count."""
    total, count = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    with torch.autocast("cpu", enabled=False):
        for _, _, logp, target, counts in _slices(hidden, weight, targets, ignore_index, letters):
            picked = logp.gather(1, target.clamp(0, letters - 1)[:, None])[:, 0]
            picked = torch.where((target >= 0) & (target < letters), picked, torch.nan)
            total -= torch.where(counts, picked, 0.0).sum()
            count += counts.sum()
    return total, count


def loss_backward(
    dloss: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int, letters: int
) -> tuple[Tensor, Tensor]:
    """Return dhidden and dweight."""
    dhidden = torch.empty_like(hidden, memory_format=torch.contiguous_format)
    rows_out = dhidden.view(-1, hidden.shape[-1])
    dweight = torch.zeros(weight.shape)
    head = weight.detach()[:letters].float()
    with torch.autocast("cpu", enabled=False):
        for where, rows, logp, target, counts in _slices(hidden, weight, targets, ignore_index, letters):
            dlogits = logp.exp_()
            dlogits.scatter_add_(1, target.clamp(0, letters - 1)[:, None], torch.full_like(dlogits[:, :1], -1.0))
            dlogits = torch.where(counts[:, None], dlogits * dloss, 0.0)
            rows_out[where] = (dlogits @ head).to(hidden.dtype)
            dweight[:letters] += dlogits.T @ rows
    return dhidden, dweight.to(weight.dtype)
