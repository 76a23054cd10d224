"""Loss against size as a power law, with intervals from resampling blocks of targets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dnamamba.evaluate import resamples
from dnamamba.markov import Float64


class PowerLaw(NamedTuple):
    """loss = scale * size^-exponent, in nats a base, with 95% intervals."""

    scale: float
    exponent: float
    low: float
    """Of the exponent."""
    high: float
    worst: float
    """Largest distance of a point from the law, as a share of its loss."""

    def at(self, size: float) -> float:
        """Perplexity that the law gives a size."""
        return float(np.exp(self.scale * size**-self.exponent))


def fit_power_law(sizes: Sequence[float], losses: Sequence[Float64], seed: int = 0) -> PowerLaw:
    """Fit log loss = log scale - exponent * log size by least squares.

    No floor is fitted: a handful of sizes do not tell a floor from a small exponent. The interval is that of the
    targets' choice alone: the same blocks are drawn for all sizes, so that what is hard for all drops out. Training
    each size again with another seed would move the points too, which one run a size cannot show.

    Args:
        sizes: parameters, or operations; two different ones at least.
        losses: nats of every target for each size, [blocks, targets in a block], the same targets; NaN where not
            counted.
        seed: of the bootstrap.

    Source: Kaplan et al., Scaling Laws for Neural Language Models (arXiv 2001.08361), equation 1.1.
    """
    sums = np.stack([np.nansum(one, 1) for one in losses])  # [sizes, blocks]
    counts = np.stack([np.isfinite(one).sum(1) for one in losses]).astype(np.float64)
    drawn = resamples(sums.shape[1], seed).T
    means = (sums @ drawn) / np.maximum(counts @ drawn, 1)  # [sizes, resamples]
    whole = sums.sum(1) / np.maximum(counts.sum(1), 1)
    x = np.log(np.asarray(sizes, dtype=np.float64))
    slope, start = _line(x, np.log(whole[:, None]))
    slopes, _ = _line(x, np.log(means))
    fitted = np.exp(start[0] + slope[0] * x)
    low, high = np.quantile(-slopes, (0.025, 0.975))
    worst = float(np.abs(fitted / whole - 1).max())
    return PowerLaw(float(np.exp(start[0])), float(-slope[0]), float(low), float(high), worst)


def _line(x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """Slope and start of the least-squares line of each column of y [points, columns] over x [points]."""
    middle = x - x.mean()
    slope = middle @ y / (middle @ middle)
    return slope, y.mean(0) - slope * x.mean()
