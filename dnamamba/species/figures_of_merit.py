"""Figures of merit of calls: accuracy with an interval, confusion, precision and recall."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamamba.intervals import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Accuracy:
    """Share of right calls with a 95% interval."""

    value: float
    low: float
    high: float
    windows: int
    """Calls."""
    independent: float
    """As many independent calls would vary as much."""


def accuracy_of(right: NDArray[np.bool_], clusters: Ints) -> Accuracy:
    """Accuracy, its interval widened for windows of one place, which succeed and fail together.

    Wilson's interval at the effective number of windows: p (1 - p) over the variance of the mean between clusters,
    at most the windows; where all calls are alike that cannot be told, and it is the number of clusters.

    Args:
        right: of each window.
        clusters: number of each window's place.

    Source: Wilson, JASA 22 (1927); Kish, Survey Sampling (1965), design effect.
    """
    n = len(right)
    p = float(right.mean())
    _, inverse = np.unique(clusters, return_inverse=True)
    groups = int(inverse.max()) + 1
    residual = np.bincount(inverse, right - p, groups)
    variance = float((residual**2).sum()) / n**2 * groups / max(1, groups - 1)
    effective = float(groups) if variance == 0 or groups < 2 else min(float(n), p * (1 - p) / variance)
    low, high = wilson(p, effective)
    return Accuracy(p, low, high, n, effective)


def confusion(calls: Ints, labels: Ints, classes: int) -> Ints:
    """Windows of each class (row) that were called each (column), [K, K]."""
    return np.bincount(labels * classes + calls, minlength=classes * classes).reshape(classes, classes)


def precision_recall(table: Ints) -> list[tuple[float | None, float | None]]:
    """Precision and recall of each class; None where nothing was called it, or nothing is."""
    called, there, right = table.sum(0), table.sum(1), np.diag(table)
    return [
        (float(right[i] / called[i]) if called[i] else None, float(right[i] / there[i]) if there[i] else None)
        for i in range(len(table))
    ]
