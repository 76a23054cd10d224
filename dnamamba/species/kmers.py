"""The baseline: k-mer spectra and logistic regression, k and its regularisation chosen on the validation part."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamamba.pipelines.words import words
from dnamamba.species.calibration import log_softmax
from dnamamba.species.regression import Regression, fit_regression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tokens = NDArray[np.uint8]


def spectra(tokens: Tokens, k: int) -> NDArray[np.float32]:
    """Square roots of the frequencies of k-mers, both strands counted as one.

    Args:
        tokens: A, C, G, T as 0 .. 3, anything else breaks a word; uint8 [n, L].
        k: up to 12.

    Returns:
        [n, words], one word a pair of reverse complements; the square root evens their variances out.
    """
    column, columns = _canonical(k)
    out = np.zeros((len(tokens), columns), np.float32)

    def count(i: int) -> None:
        codes, whole = words(tokens[i], k)
        counts = np.bincount(column[codes[whole]], minlength=columns)
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
    regression: Regression

    def probabilities(self, tokens: Tokens) -> Floats:
        """Of each class, [n, K]."""
        return np.exp(log_softmax(self.regression.logits(spectra(tokens, self.k))))


def fit_kmers(
    train: tuple[Tokens, Ints], valid: tuple[Tokens, Ints], classes: int, ks: Sequence[int], *, seed: int
) -> KmerModel:
    """Fit a logistic regression for every k and penalty; the one with the lowest validation loss wins.

    Args:
        train: windows of one length and their classes.
        valid: others, of the validation part.
        classes: how many there are.
        ks: word lengths to try, at least one.
        seed: of the solver.
    """
    fitted = [
        KmerModel(
            k,
            fit_regression((spectra(train[0], k), train[1]), (spectra(valid[0], k), valid[1]), classes, seed=seed),
        )
        for k in ks
    ]
    return min(fitted, key=lambda one: one.regression.valid_loss)
