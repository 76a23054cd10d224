"""Differences in bits a base as text: what counts as significant, however small, must not be read as zero."""

from dnamamba.evaluate import Difference


def digits(value: float, sign: str = "") -> str:
    """Five decimals, or two significant digits of what is smaller; `sign` "+" shows that of a positive value too."""
    return f"{value:{sign}.5f}" if abs(value) >= 1e-4 or value == 0 else f"{value:{sign}.1e}"


def between(one: Difference) -> str:
    """The interval, as "-0.00130 to +0.00050"."""
    return f"{digits(one.low, '+')} to {digits(one.high, '+')}"


def with_interval(one: Difference) -> str:
    """The difference and its interval."""
    return f"{digits(one.bits, '+')} ({between(one)})"
