"""What a species classifier is beside its weights: classes, pooling, and what was measured on validation data."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log2
from typing import Literal

from dnamamba.errors import InputError

Pool = Literal["last", "mean", "sum"]
POOLS: tuple[Pool, ...] = ("last", "mean", "sum")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """The head of a species classifier.

    Raises:
        InputError: fewer than two classes, one twice, or tables that do not fit each other.
    """

    classes: tuple[str, ...]
    """Names, in the order of the logits."""
    pool: Pool = "sum"
    """What the logits are made of: the evidence at the "last" position, its "mean" over all positions so far, or its
    "sum", a log-likelihood ratio if positions speak independently."""
    hidden: int = 0
    """Width of a ReLU layer between features and evidence; 0: evidence is linear in the features."""
    lengths: tuple[int, ...] = ()
    """Bases after which the loss stood in training."""
    temperature_lengths: tuple[int, ...] = ()
    """Bases at which `temperature` was fitted, growing; empty: one temperature for all."""
    temperature: tuple[float, ...] = (1.0,)
    """Divides the logits; fitted on validation data. Between two lengths it runs straight in log2(length)."""
    unlike_lengths: tuple[int, ...] = ()
    """Bases at which `unlike_nats` was measured, growing; empty: nothing is called unlike."""
    unlike_nats: tuple[float, ...] = ()
    """A sequence that costs more nats a base than this is unlike all classes: a quantile of validation sequences."""
    unlike_quantile: float = 0.99
    """The quantile: 1 minus it is the share of sequences of the classes that are called unlike."""
    controls: tuple[str, ...] = ()
    """Label shortcuts that were kept out of training and measurement, in words."""

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise InputError(f"classes: want two or more, each once, got {', '.join(self.classes) or 'none'}")
        if self.pool not in POOLS:
            raise InputError(f"pool: want one of {', '.join(POOLS)}, got {self.pool!r}")
        if not 0 <= self.hidden <= 2**16:
            raise InputError(f"hidden: want a width from 0 to 65536, got {self.hidden}")
        for key, lengths, values in (
            ("temperature", self.temperature_lengths, self.temperature),
            ("unlike_nats", self.unlike_lengths, self.unlike_nats),
        ):
            alone = key == "temperature" and not lengths and len(values) == 1
            if not alone and len(lengths) != len(values):
                raise InputError(f"{key}: want one for each of {len(lengths)} lengths, got {len(values)}")
            if any(a >= b for a, b in pairwise(lengths)) or any(n < 1 for n in lengths):
                raise InputError(f"{key}: its lengths must be positive and growing, got {list(lengths)}")
            if any(not 0 < value < inf for value in values):
                raise InputError(f"{key}: want positive numbers, got {list(values)}")

    def temperature_at(self, bases: int) -> float:
        """Divisor of the logits of a sequence of `bases`."""
        if not self.temperature_lengths:
            return self.temperature[0]
        return along_log2(self.temperature_lengths, self.temperature, bases)

    def unlike_above(self, bases: int) -> float:
        """Nats a base above which a sequence of `bases` is called unlike all classes; infinite where not measured."""
        return along_log2(self.unlike_lengths, self.unlike_nats, bases) if self.unlike_lengths else inf


def along_log2(lengths: Sequence[int], values: Sequence[float], bases: int) -> float:
    """The value at `bases`, straight in log2 between growing `lengths`, constant outside them."""
    at = bisect_right(lengths, bases)
    if at == 0:
        return values[0]
    if at == len(lengths):
        return values[-1]
    low, high = lengths[at - 1], lengths[at]
    share = log2(bases / low) / log2(high / low)
    return (1 - share) * values[at - 1] + share * values[at]
