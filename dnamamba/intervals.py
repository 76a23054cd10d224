"""The interval of a share of right answers."""

from math import sqrt

Z = 1.959964
"""Standard deviations on either side of a 95% interval."""


def wilson(share: float, n: float) -> tuple[float, float]:
    """95% interval of a share of `n` independent trials.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)
