"""Circles: genomes without a start, turned so that position 0 is the same place in all of them."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.words import words

Bases = NDArray[np.uint8]

K = 16
"""Length of the words that two circles are compared by."""
_LEAST = 20
"""Shared words that must agree on how far a circle is turned."""
_NEAR = 100
"""Bases within which shared words agree: indels move them against each other."""


def common_origin(reference: Bases, circle: Bases, name: str = "circle") -> int:
    """Where in `circle` the place lies that `reference` begins with.

    Args:
        reference: letters of one circle, upper case, uint8 [n].
        circle: those of another, on the same strand, [m].
        name: of the circle, for messages.

    Returns:
        How many bases to turn `circle` left by, below m.

    Raises:
        InputError: the two share too few 16-mers that agree.
    """
    there = _unique_words(reference)
    offsets = [at - there[word] for word, at in _unique_words(circle).items() if word in there]
    m = len(circle)
    # What lies behind the reference's end wraps: an offset counts modulo the circle, in bins that overlap by half.
    bins: Counter[float] = Counter((offset % m) // _NEAR for offset in offsets)
    bins.update(((offset + _NEAR // 2) % m) // _NEAR - 0.5 for offset in offsets)
    best, votes = max(bins.items(), key=lambda one: (one[1], -one[0])) if bins else (0, 0)
    if votes < _LEAST:
        raise InputError(f"{name}: shares {votes} unique 16-mers with the first circle in one place, want {_LEAST}")
    low = int(best * _NEAR)
    # The words next to the reference's start say it best; an indel further on has moved the others.
    near = [
        (there_at, (at - there_at) % m)
        for word, at in _unique_words(circle).items()
        if (there_at := there.get(word, -1)) >= 0 and (at - there_at - low) % m <= _NEAR
    ]
    return min(near)[1]


def turned(circle: Bases, by: int) -> Bases:
    """The same circle, begun `by` bases further on."""
    return np.roll(circle, -by)


def _unique_words(sequence: Bases) -> dict[int, int]:
    """Word -> where it starts, for the words of A, C, G, T that occur once; the circle is closed."""
    codes, good = words(DNA.encode(np.concatenate([sequence, sequence[: K - 1]])), K)
    values, first, count = np.unique(codes, return_index=True, return_counts=True)
    return {int(w): int(at) for w, at, n in zip(values, first, count, strict=True) if n == 1 and good[at]}
