"""What a classifier says of windows: class logits at the end, or after every 2^k bases, and the cost of the letters."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dnamamba.data import IGNORED
from dnamamba.model.autocasting import autocasting
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.species.loss import next_bases, with_start
from dnamamba.species.model import ClassifierState, SpeciesClassifier
from dnamamba.species.training import evaluating

Floats = NDArray[np.float64]

BATCH_TOKENS = {"cuda": 2**20, "cpu": 2**15}
"""Tokens at a time; longer windows go through in pieces of so many."""


class Prediction(NamedTuple):
    """Of windows."""

    logits: Floats
    """Before the temperature, at each asked length, [windows, lengths, K]."""
    nats: Floats
    """Negative log-likelihood a base (A, C, G, T) over the first so many bases, [windows, lengths]."""


def predict(
    model: SpeciesClassifier,
    tokens: NDArray[np.uint8],
    lengths: Sequence[int] | None = None,
    *,
    autocast: torch.dtype | None = None,
) -> Prediction:
    """Read windows once and say what stands after each of some lengths.

    Args:
        model: on its device.
        tokens: windows of one length without start tokens, uint8 [windows, L].
        lengths: growing, each at most L; None: L alone.
        autocast: dtype of matrix products, None for the model's own.
    """
    length = tokens.shape[1]
    wanted = [length] if lengths is None else list(lengths)
    budget = BATCH_TOKENS.get(model.device.type, 2**15)
    rows = max(1, budget // (length + 1))
    logits, nats = [], []
    with evaluating(model), autocasting(model.device, autocast):
        for first in range(0, len(tokens), rows):
            one = _read(model, torch.from_numpy(tokens[first : first + rows]), wanted, budget)
            logits.append(one.logits)
            nats.append(one.nats)
    return Prediction(np.concatenate(logits), np.concatenate(nats))


def _read(model: SpeciesClassifier, bases: torch.Tensor, wanted: list[int], budget: int) -> Prediction:
    """A batch, in pieces of `budget` tokens where its rows are longer."""
    alphabet = ALPHABETS[model.lm.config.alphabet]
    bases = bases.to(model.device)
    count, length = bases.shape
    tokens = with_start(bases, alphabet)
    targets = next_bases(bases, torch.full((count,), length, device=bases.device), alphabet)
    state: ClassifierState | None = None
    found: list[torch.Tensor] = []
    cost = torch.zeros(count, dtype=torch.float64, device=bases.device)
    seen = torch.zeros_like(cost)
    costs: dict[int, torch.Tensor] = {}
    # Borders of the pieces: those of the budget, and the asked lengths, so that sums over the first n bases come by.
    piece = max(1, budget // count)
    cuts = sorted({0, *range(0, length + 1, piece), *(n for n in wanted if n < length), length + 1})
    for start, end in pairwise(cuts):
        at = torch.tensor([n - start for n in wanted if start <= n < end], device=bases.device, dtype=torch.int64)
        logits, features, state = model.read(tokens[:, start:end], state, at=at)
        found.append(logits)
        here = targets[:, start:end]
        each = F.cross_entropy(
            model.letter_logits(features)[..., : len(alphabet.targets)].transpose(1, 2),
            here,
            reduction="none",
            ignore_index=IGNORED,
        )
        cost = cost + each.double().sum(1)
        seen = seen + (here != IGNORED).sum(1)
        costs[end] = cost / seen.clamp_min(1)
    return Prediction(
        torch.cat(found, 1).double().cpu().numpy(),
        torch.stack([costs[n if n in costs else length + 1] for n in wanted], 1).cpu().numpy(),
    )
