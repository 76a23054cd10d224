"""Probabilities that mean what they say: temperature, reliability, and what is unlike all classes.

Sources: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), temperature scaling and expected calibration
error; Hanley and McNeil, Radiology 143 (1982), the area under the ROC curve as a rank statistic.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.golden_section import golden_section

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 10
"""Of the reliability figure, equally wide from 0 to 1."""
_T = (0.05, 100.0)
"""Temperatures that are looked at."""
_PRIOR = 1.0
"""Weight, in observations, of a prior log T ~ N(0, 1): a few windows that are all called right say nothing of T."""


class Bin(NamedTuple):
    """A bin of the reliability figure."""

    confidence: float
    """Mean probability of the call."""
    accuracy: float
    """Share of right calls."""
    windows: int


def log_softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def cross_entropy(logits: Floats, labels: Ints, temperature: float = 1.0) -> float:
    """Mean nats, of logits [n, K]."""
    chosen = np.take_along_axis(log_softmax(logits / temperature), labels[:, None], 1)
    return float(-chosen.mean())


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """The temperature that makes the labels the likeliest, by golden section in its logarithm.

    Args:
        logits: [n, K].
        labels: [n].
    """

    def cost(log_t: float) -> float:
        return cross_entropy(logits, labels, float(np.exp(log_t))) * len(labels) + 0.5 * _PRIOR * log_t**2

    return float(np.exp(golden_section(cost, float(np.log(_T[0])), float(np.log(_T[1])), 60)))


def reliability(probabilities: Floats, labels: Ints) -> list[Bin]:
    """The reliability figure's bins that hold windows.

    Args:
        probabilities: [n, K].
        labels: [n].
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return [
        Bin(float(confidence[mine].mean()), float(right[mine].mean()), int(mine.sum()))
        for mine in (number == i for i in range(BINS))
        if mine.any()
    ]


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean distance of confidence and accuracy, weighted by the windows in each bin."""
    total = sum(one.windows for one in bins)
    return sum(one.windows * abs(one.confidence - one.accuracy) for one in bins) / max(total, 1)


def area_under_roc(positive: Floats, negative: Floats) -> float:
    """Chance that a positive's score is above a negative's, ties counted half."""
    both = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]  # mean rank of ties
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
