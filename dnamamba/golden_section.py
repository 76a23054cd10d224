"""The least value of a function of one number."""

from collections.abc import Callable


def golden_section(function: Callable[[float], float], low: float, high: float, turns: int) -> float:
    """Where a function with one valley between `low` and `high` is least; each turn leaves 0.618 of the span.

    Source: Kiefer, Sequential Minimax Search for a Maximum (1953).
    """
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(turns):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2
