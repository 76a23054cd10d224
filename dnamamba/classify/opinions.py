"""From logits at marked positions to calibrated posteriors and likelihoods, in float64 on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dnamamba.classify.passes import Marks
from dnamamba.species.classifier_config import ClassifierConfig


@dataclass(frozen=True)
class Opinion:
    """What the classifier makes of some rows at their marks. Lists: they are looked at one by one."""

    ends: Sequence[Sequence[int]]
    """Of each row, after how many bases its marks are."""
    probabilities: list[list[list[float]]]
    """[B][M][K], averaged over the strands; what lies past a row's own marks means nothing, here and below."""
    nats_per_base: list[list[float]]
    """Mean over the A/C/G/T of the strands, [B][M]; NaN where there is none."""
    counted: list[list[int]]
    """A, C, G and T, [B][M]."""


def own_marks(ends: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """[B, M]: which of the marks are a row's own; the rest fills up."""
    counts = np.array([len(own) for own in ends])
    own: NDArray[np.bool_] = np.arange(counts.max()) < counts[:, None]
    return own


def form_opinion(marks: Marks, ends: Sequence[Sequence[int]], config: ClassifierConfig, strands: int) -> Opinion:
    """Temperature, softmax, mean over the strands.

    Args:
        marks: of strands * B rows, all rows of the forward strand first.
        ends: bases at each mark, a list for each of the B rows.
        config: the classifier's, with its temperatures.
        strands: 1 or 2. Probabilities are averaged, not logits: a strand that knows nothing cannot veto one that does.
    """
    logits, nats, counted = (values.numpy() for values in marks.wait())
    divisor = np.ones((len(ends), logits.shape[1]))
    temperature = lru_cache(config.temperature_at)
    divisor[own_marks(ends)] = [temperature(max(1, end)) for own in ends for end in own]
    scaled = logits.reshape(strands, len(ends), *logits.shape[1:]).astype(np.float64) / divisor[..., None]
    odds = np.exp(scaled - scaled.max(-1, keepdims=True))
    probabilities = (odds / odds.sum(-1, keepdims=True)).mean(0)
    number = counted.reshape(strands, len(ends), -1)
    with np.errstate(invalid="ignore"):
        per_base = nats.reshape(number.shape).sum(0) / number.sum(0)
    return Opinion(ends, probabilities.tolist(), per_base.tolist(), number[0].tolist())
