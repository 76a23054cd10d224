"""The effective-context curve of a model: score at every context, and what each further one gains, with intervals.

Gains are paired: the same bases at both contexts, so that what is hard at both drops out of the interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamamba.evaluate import Difference, Score, compare, summarise
from dnamamba.sweep.targets import Context, context_name

NOTHING = Difference(0.0, 0.0, 0.0)
ROUNDING = 1e-6
"""Bits a base. A smaller mean may be the same in every sample and still be of float32 alone: it is no finding."""


@dataclass(frozen=True)
class Point:
    """One context of a curve."""

    context: Context
    score: Score
    gain: Difference
    """Bits a base gained over the context before this one in the curve; above 0 the longer one predicts better."""
    total: Difference
    """Bits a base gained over the curve's first context."""

    @property
    def significant(self) -> bool:
        """Whether the gain's interval lies above 0, and the gain above rounding."""
        return self.gain.low > 0 and self.gain.bits > ROUNDING

    @property
    def harmful(self) -> bool:
        """The same of a loss."""
        return self.gain.high < 0 and self.gain.bits < -ROUNDING


def curve_of(
    losses: Mapping[Context, NDArray[np.floating[Any]]], chosen: NDArray[np.bool_] | None = None, seed: int = 0
) -> list[Point]:
    """The curve over the contexts of `losses`, shortest first.

    Args:
        losses: nats of every target at every context, [blocks, targets in a block]; NaN where not counted.
        chosen: a class of targets; None is all of them.
        seed: of the bootstrap.
    """
    kept = {
        context: values.astype(np.float64) if chosen is None else np.where(chosen, values, math.nan)
        for context, values in losses.items()
    }
    points: list[Point] = []
    values = list(kept.values())
    for number, (context, here) in enumerate(kept.items()):
        gain = compare(values[number - 1], here, seed) if number else NOTHING
        total = compare(values[0], here, seed) if number else NOTHING
        points.append(Point(context, summarise(here, seed), gain, total))
    return points


def verdict(points: Sequence[Point]) -> str:
    """In a line: up to which context each further one gains, and whether any one does harm."""
    steps = points[1:]
    if not steps:
        return "one context alone: nothing to compare"
    reach = points[0].context
    for point in steps:
        if not point.significant:
            break
        reach = point.context
    worse = [context_name(point.context) for point in steps if point.harmful]
    gains = (
        f"every step up to {context_name(reach)} gains significantly"
        if reach != points[0].context
        else f"no significant gain from {context_name(points[0].context)} to {context_name(steps[0].context)}"
    )
    harm = f"significantly worse than the context before: {', '.join(worse)}" if worse else "none does harm"
    return f"{gains}; {harm}"
