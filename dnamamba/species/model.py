"""The species classifier: a language model kept whole, and a head that says after every base which class it is.

Every position gives each class some evidence, a function of the backbone's features there; the logits after a base
are the last position's evidence, or the mean or the sum of all so far. The sum is part of the state, so that any
cutting of a sequence gives the same numbers and the logits after every base cost nothing beyond one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnamamba.model import MambaLM, ModelConfig, ModelState
from dnamamba.species.classifier_config import ClassifierConfig

EVIDENCE_UNIT = 1024
"""Positions whose mean evidence counts as one logit in the "sum": keeps weights near 1 for windows of kilobases."""
_SPAN = 256
"""Positions that are added up one after the other; spans are added up side by side."""


@dataclass(frozen=True)
class ClassifierState:
    """What a classifier remembers of the sequences so far."""

    model: ModelState
    evidence: Tensor
    """Sum of the evidence of all tokens so far, [B, K], float64: a million small numbers are added up."""
    tokens: Tensor
    """Tokens so far, the start token included, [B] int64: one more than the bases."""

    @classmethod
    def zeros(cls, model: ModelConfig, classes: int, batch: int, *, device: torch.device | str | None = None) -> Self:
        """The state before the first token."""
        return cls(
            ModelState.zeros(model, batch, device=device),
            torch.zeros(batch, classes, dtype=torch.float64, device=device),
            torch.zeros(batch, dtype=torch.int64, device=device),
        )

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.model.batch

    def detach(self) -> Self:
        """Cut from the graph."""
        return type(self)(self.model.detach(), self.evidence.detach(), self.tokens)

    def index(self, index: Tensor | slice | Sequence[int]) -> Self:
        """Choose, repeat or reorder sequences, as `tensor[index]` does along the batch."""
        return type(self)(self.model.index(index), self.evidence[index], self.tokens[index])

    def to(self, device: torch.device | str) -> Self:
        """On another device."""
        return type(self)(self.model.to(device), self.evidence.to(device), self.tokens.to(device))


class Reading(NamedTuple):
    """What one pass over a piece of sequence gives."""

    logits: Tensor
    """Class logits before the temperature, float32 [B, L, K], or [B, P, K] at P asked positions."""
    features: Tensor
    """Of the backbone, [B, L, d_model]; `SpeciesClassifier.letter_logits` makes the next base's logits of them."""
    state: ClassifierState
    """After the last token."""


class SpeciesClassifier(nn.Module):
    """A language model and a head over classes.

    >>> classifier = SpeciesClassifier(model, ClassifierConfig(classes=("human", "chimpanzee")))
    >>> logits, state = classifier(tokens)          # [B, L] -> [B, L, K]; row i has seen i bases, the start token first
    >>> logits, state = classifier(more, state)     # goes on where the first call stopped
    """

    def __init__(self, lm: MambaLM, config: ClassifierConfig) -> None:
        """Put a head on a language model. Its evidence starts at zero: all classes alike.

        Args:
            lm: becomes a part of this model, not a copy.
            config: classes and pooling.
        """
        super().__init__()
        self.lm = lm
        self.config = config
        width = config.hidden or lm.config.d_model
        self.hidden = nn.Linear(lm.config.d_model, config.hidden) if config.hidden else None
        self.evidence = nn.Linear(width, len(config.classes))  # its bias is evidence of every position, summed as such
        self.bias = nn.Parameter(torch.zeros(len(config.classes)))
        nn.init.zeros_(self.evidence.weight)
        nn.init.zeros_(self.evidence.bias)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm.device

    def forward(
        self, tokens: Tensor, state: ClassifierState | None = None, *, at: Tensor | None = None
    ) -> tuple[Tensor, ClassifierState]:
        """Class logits after each token.

        Args:
            tokens: [B, L], uint8 or int64, L >= 1; a sequence begins with the alphabet's start token.
            state: what came before; None is the start of a sequence. Any cutting of a sequence gives the same numbers.
            at: indices into the L tokens at which logits are wanted, int64 [P]; None: at all of them.

        Returns:
            Logits before the temperature, float32 [B, L or P, K], and the state after the last token. A row's logits at
            a position do not depend on what comes after it, so rows may be padded behind their ends.

        Raises:
            ValueError: shapes or dtypes that do not fit.
        """
        logits, _, state = self.read(tokens, state, at=at)
        return logits, state

    def read(self, tokens: Tensor, state: ClassifierState | None = None, *, at: Tensor | None = None) -> Reading:
        """As `forward`, with the features, from which the language model's logits follow without a second pass."""
        features, after = self.lm.backbone(tokens, None if state is None else state.model)
        with torch.autocast(features.device.type, enabled=False):
            evidence: Tensor = self.evidence(self.hidden_features(features))  # [B, L, K]
            if state is None:
                before = evidence.new_zeros(evidence.shape[::2], dtype=torch.float64)
                seen = torch.zeros(tokens.shape[0], dtype=torch.int64, device=tokens.device)
            else:
                before, seen = state.evidence, state.tokens
            sums = _running_sum(evidence.double()) + before[:, None]  # [B, L, K]
            here = torch.arange(tokens.shape[1], device=tokens.device) if at is None else at
            chosen = evidence[:, here] if self.config.pool == "last" else sums[:, here]
            if self.config.pool == "mean":
                chosen = chosen / (here + 1 + seen[:, None])[..., None]
            elif self.config.pool == "sum":
                chosen = chosen / EVIDENCE_UNIT
            logits = chosen.float() + self.bias
        return Reading(logits, features, ClassifierState(after, sums[:, -1], seen + tokens.shape[1]))

    def hidden_features(self, features: Tensor) -> Tensor:
        """What evidence is linear in, float32 [B, L, width]: the features, or the ReLU layer on them."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.evidence.weight.dtype)
            return features if self.hidden is None else F.relu(self.hidden(features))

    def letter_logits(self, features: Tensor) -> Tensor:
        """The language model's logits of the token after each token, float32 [B, L, V], from `Reading.features`."""
        weight = self.lm.backbone.embedding.weight
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(features.to(weight.dtype), weight)

    def log_probabilities(self, logits: Tensor, bases: Tensor) -> Tensor:
        """Calibrated log-probability of each class.

        Args:
            logits: as `forward` gives them, [..., K].
            bases: read until each of them, int64 [...] (or a shape that broadcasts to it).
        """
        wanted = bases.expand(logits.shape[:-1]).flatten().tolist()
        known = {n: self.config.temperature_at(max(1, n)) for n in set(wanted)}
        divisor = torch.tensor([known[n] for n in wanted], device=logits.device).view(logits.shape[:-1])
        return (logits / divisor[..., None]).log_softmax(-1)


def _running_sum(x: Tensor) -> Tensor:
    """Sum of x[:, :i + 1] at every i, [B, L, K]. torch's own walks L with one thread a column on a GPU."""
    B, L, K = x.shape
    spans = -(-L // _SPAN)
    inside = F.pad(x, (0, 0, 0, spans * _SPAN - L)).view(B, spans, _SPAN, K).cumsum(2)
    whole = inside[:, :, -1]
    before = whole.cumsum(1) - whole
    return (inside + before[:, :, None]).view(B, spans * _SPAN, K)[:, :L]
