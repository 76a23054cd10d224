"""Logistic regression on standardised features, its penalty chosen on validation windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Features = NDArray[np.float32]

STRENGTHS = (0.1, 10.0)
"""Inverse strengths of the L2 penalty that are tried, over the number of features: many share the weight of few."""


@dataclass(frozen=True)
class Regression:
    """Logits are `(features - mean) @ weight.T + bias`."""

    weight: Floats
    """[K, D], the standardisation taken in."""
    bias: Floats
    """[K]."""
    mean: Floats
    """[D]."""
    valid_loss: float
    """Cross-entropy on the validation windows, nats."""
    valid_accuracy: float

    def logits(self, features: Features) -> Floats:
        """[n, D] -> [n, K]."""
        found: Floats = (features - self.mean) @ self.weight.T + self.bias
        return found


def fit_regression(
    train: tuple[Features, Ints],
    valid: tuple[Features, Ints],
    classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Regression:
    """Fit one for every strength; the one with the lowest validation loss wins.

    Args:
        train: features [n, D] and classes [n], all classes among them.
        valid: others, of the validation part.
        classes: how many there are.
        strengths: to try.
        seed: of the solver.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    from dnamamba.species.calibration import cross_entropy

    x = train[0]
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    scale = np.where(std > 0, 1 / np.maximum(std, 1e-12), 0)
    standard = ((x - mean) * scale).astype(np.float32)
    best: Regression | None = None
    for strength in strengths:
        solver = LogisticRegression(C=strength / x.shape[1], max_iter=100, tol=1e-3, random_state=seed)
        solver.fit(standard, train[1])
        weight, bias = np.asarray(solver.coef_, np.float64), np.asarray(solver.intercept_, np.float64)
        if classes == 2:  # scikit-learn keeps the second class's half alone
            weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
        one = Regression(weight * scale, bias, mean, 0.0, 0.0)
        logits = one.logits(valid[0])
        loss = cross_entropy(logits, valid[1])
        if best is None or loss < best.valid_loss:
            right = float((logits.argmax(1) == valid[1]).mean())
            best = Regression(one.weight, bias, mean, loss, right)
    assert best is not None
    return best
