"""The baseline: k-mer spectra and logistic regression, k and its regularisation chosen on the validation part."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tokens = NDArray[np.uint8]

STRENGTHS = (1e-3, 1e-1)
"""Inverse strengths of the L2 penalty that are tried, of standardised spectra."""


def spectra(tokens: Tokens, k: int) -> NDArray[np.float32]:
    """Square roots of the frequencies of k-mers, both strands counted as one.

    Args:
        tokens: A, C, G, T as 0 .. 3, anything else breaks a word; uint8 [n, L].
        k: up to 12.

    Returns:
        [n, words], one word a pair of reverse complements; the square root evens their variances out.
    """
    words, columns = _canonical(k)
    out = np.zeros((len(tokens), columns), np.float32)
    powers = 4 ** np.arange(k - 1, -1, -1, dtype=np.int64)

    def count(i: int) -> None:
        one = tokens[i]
        good = one < 4
        code = np.zeros(max(0, len(one) - k + 1), np.int64)
        whole = np.ones(len(code), np.bool_)
        for place, power in enumerate(powers.tolist()):
            part = slice(place, len(one) - k + 1 + place)
            code += one[part].astype(np.int64) * power
            whole &= good[part]
        counts = np.bincount(words[code[whole]], minlength=columns)
        out[i] = np.sqrt(counts / max(1, counts.sum()))

    with ThreadPoolExecutor() as pool:  # numpy lets go of the interpreter
        list(pool.map(count, range(len(tokens))))
    return out


def _canonical(k: int) -> tuple[NDArray[np.int64], int]:
    """Word -> column of its spectrum, and how many columns there are."""
    word = np.arange(4**k, dtype=np.int64)
    reverse = np.zeros_like(word)
    rest = word.copy()
    for _ in range(k):
        reverse = reverse * 4 + (3 - rest % 4)  # A C G T is 0 1 2 3: the complement is 3 minus it
        rest //= 4
    _, column = np.unique(np.minimum(word, reverse), return_inverse=True)
    return column.astype(np.int64), int(column.max()) + 1


@dataclass(frozen=True)
class KmerModel:
    """A fitted baseline."""

    k: int
    strength: float
    valid_accuracy: float
    _scale: NDArray[np.float32]
    _mean: NDArray[np.float32]
    _regression: Any
    classes: int

    def probabilities(self, tokens: Tokens) -> Floats:
        """Of each class, [n, K]."""
        found: Floats = self._regression.predict_proba((spectra(tokens, self.k) - self._mean) * self._scale)
        full = np.zeros((len(tokens), self.classes))
        full[:, self._regression.classes_] = found
        return full


def fit_kmers(
    train: tuple[Tokens, Ints], valid: tuple[Tokens, Ints], classes: int, ks: Sequence[int], *, seed: int
) -> KmerModel:
    """Fit a logistic regression for every k and strength; the one with the lowest validation loss wins.

    Args:
        train: windows of one length and their classes.
        valid: others, of the validation part.
        classes: how many there are.
        ks: word lengths to try.
        seed: of the solver's order.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    best: tuple[float, KmerModel] | None = None
    for k in ks:
        x = spectra(train[0], k)
        mean, std = x.mean(0), x.std(0)
        scale = np.where(std > 0, 1 / np.maximum(std, 1e-12), 0).astype(np.float32)
        x = (x - mean) * scale
        held = (spectra(valid[0], k) - mean) * scale
        for strength in STRENGTHS:
            # The penalty does not grow with the words: many of them share the weight of few.
            inverse = strength * 100 / x.shape[1]
            regression = LogisticRegression(C=inverse, max_iter=100, tol=1e-3, random_state=seed).fit(x, train[1])
            column = np.searchsorted(regression.classes_, valid[1])
            p = regression.predict_proba(held)[np.arange(len(held)), column]
            loss = float(-np.log(np.maximum(p, 1e-12)).mean())
            right = float((regression.predict(held) == valid[1]).mean())
            if best is None or loss < best[0]:
                best = loss, KmerModel(k, inverse, right, scale, mean, regression, classes)
    assert best is not None
    return best[1]
