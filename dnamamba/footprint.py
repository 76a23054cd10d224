"""Memory that training a model takes on a GPU, measured on a few thousand made-up tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelState
from dnamamba.model.autocasting import autocasting

PROBE_TOKENS = 2**16
"""Tokens of the smaller probe, the larger has twice as many; fewer where that does not fit."""
SMALLEST_PROBE = 2**10
LONGEST_PROBED = PROBE_TOKENS + 1
"""Context from which on all have one footprint: no probe holds a whole window."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a forward and backward: `fixed` + `per_token` * tokens, and `border` for each border of slices."""

    fixed: float
    per_token: float
    border: float


def measure_footprint(model: MambaLM, context: int, autocast: torch.dtype | None) -> Footprint:
    """Peak of allocated bytes at two sizes, and the line through them.

    Args:
        model: on a GPU. Its gradients must be None, and are so afterwards.
        context: length of the windows; of those longer than the probe a piece is taken.
        autocast: dtype of matrix products, or None.

    Raises:
        InputError: not even a thousand tokens fit.
    """
    tokens = PROBE_TOKENS
    while tokens >= SMALLEST_PROBE:
        shapes = [(n // context, context) if context <= tokens else (1, n) for n in (tokens, 2 * tokens)]
        try:
            _peak(model, shapes[0], autocast)  # compiles, and takes the libraries' workspaces
            small, large = (_peak(model, shape, autocast) for shape in shapes)
        except torch.OutOfMemoryError:
            tokens //= 2
            continue
        finally:
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        sizes = [rows * length for rows, length in shapes]
        per_token = max(1.0, (large - small) / (sizes[1] - sizes[0]))
        state = ModelState.zeros(model.config, 1, dtype=model.backbone.embedding.weight.dtype)
        border = sum(tensor.nbytes for tensor in state.tensors())
        return Footprint(max(0.0, small - per_token * sizes[0]), per_token, border)
    raise InputError(f"the GPU's memory does not hold a training step of {SMALLEST_PROBE:,} tokens of this model")


def _peak(model: MambaLM, shape: tuple[int, int], autocast: torch.dtype | None) -> int:
    """Bytes that a forward and backward over zeros [rows, length] take above what was there."""
    device = model.device
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    targets = torch.zeros(shape, dtype=torch.int64, device=device)
    batch: dict[str, Tensor | None] = {"tokens": targets.to(torch.uint8), "targets": targets}
    with autocasting(device, autocast):
        loss, _, _ = model.loss(batch)
    torch.autograd.backward(loss)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
