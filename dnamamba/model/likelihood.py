"""Log-likelihood of a sequence of any length: chunk after chunk, the state handed on, sums in float64."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dnamamba.errors import InputError

if TYPE_CHECKING:
    from dnamamba.model.language_model import MambaLM


@dataclass(frozen=True)
class Vocabulary:
    """What a model must know of its alphabet to read letters."""

    encode: Callable[[object], Iterator[Tensor]]
    """A sequence in any accepted form -> its tokens, uint8 [L] pieces on the CPU; raises InputError."""
    start: int
    """The token that stands once before a sequence."""
    letters: int
    """The first so many tokens are predicted and share all the probability: 4 for DNA."""


@dataclass(frozen=True)
class LogLikelihood:
    """Natural logarithms of probabilities, summed in float64."""

    total: float
    """Nats of all counted bases together."""
    count: int
    """Bases counted: A, C, G and T, whatever their case."""
    each: Tensor | None = None
    """Nats of every base, float32 [L], NaN where a base is not counted; only when asked for."""

    @property
    def per_base(self) -> float:
        """Mean nats a counted base; perplexity is exp(-per_base). NaN where none was counted."""
        return self.total / self.count if self.count else math.nan


@torch.no_grad()
def stream_log_likelihood(model: "MambaLM", sequence: object, *, chunk: int, each: bool) -> LogLikelihood:
    """`MambaLM.log_likelihood`, which says what goes in and comes out."""
    vocabulary = model.vocabulary
    if vocabulary is None:
        raise InputError("this model has no alphabet to read letters with: save it and load it, or call it with tokens")
    if chunk < 1:
        raise InputError(f"chunk: want at least one base, got {chunk}")
    last = torch.tensor([vocabulary.start], dtype=torch.uint8)  # the token before the piece that comes next
    state, total, count = None, 0.0, 0
    kept: list[Tensor] = []
    seen = 0
    for piece in vocabulary.encode(sequence):
        for part in torch.split(piece, chunk) if len(piece) else ():
            tokens = torch.cat([last, part[:-1]]).to(model.device)[None]
            last = part[-1:]
            targets = part.to(model.device).long()  # before any comparison: 256 is 0 in uint8
            logits, state = model(tokens, state)
            values = _nats(logits[0], targets, vocabulary.letters)
            counted = values[targets < vocabulary.letters]
            total += counted.double().sum().item()  # a NaN of the model's own must show
            count += len(counted)
            seen += len(part)
            if each:
                kept.append(values.cpu())
    if not seen:
        raise InputError("log-likelihood of an empty sequence: want at least one base")
    return LogLikelihood(total, count, torch.cat(kept) if each else None)


def _nats(logits: Tensor, targets: Tensor, letters: int) -> Tensor:
    """Log-probability of each target [L] among the first `letters` tokens; NaN for a target that is none of them."""
    log_p = logits[:, :letters].log_softmax(-1)  # [L, letters]
    values = log_p.gather(1, targets.clamp_max(letters - 1)[:, None])[:, 0]
    return values.masked_fill(targets >= letters, math.nan)
