"""The context curriculum: which window length is trained when."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from dnamamba.config import NULL
from dnamamba.errors import InputError

# Shares written with a few decimals (0.1667 six times) may miss 1 by this much and are scaled.
SHARE_TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One window length and how much of the training it gets."""

    context: int
    """Window length in bases."""
    share: float
    """Share of all tokens, above 0 and at most 1."""


@dataclass(frozen=True, kw_only=True)
class Doubling:
    """Stages at every doubling of the context, the length warm-up of arXiv 2306.15794 and 2312.00752."""

    first: int = 2**10
    """Context of the first stage, in bases."""
    last: int
    """Context of the last stage: `first` times a power of two."""
    share: float | None = None
    """Share of all tokens that every stage but the last gets; the last gets the rest. None: all get the same."""

    def __post_init__(self) -> None:
        ratio = self.last // max(self.first, 1)
        if self.first < 1 or ratio < 1 or self.first * ratio != self.last or ratio & (ratio - 1):
            raise InputError(
                f"curriculum.doubling: want last = first times a power of two, got first {self.first:,} and last "
                f"{self.last:,}"
            )
        stages = ratio.bit_length()
        if self.share is not None and not (self.share > 0 and self.share * (stages - 1) < 1):
            raise InputError(
                f"curriculum.doubling.share: want above 0 and below 1/{stages - 1}, so that something is left for the "
                f"last of {stages} stages, got {self.share}"
            )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages written out."""
        count = (self.last // self.first).bit_length()
        share = 1 / count if self.share is None else self.share
        shares = [share] * (count - 1) + [1 - share * (count - 1)]
        return tuple(Stage(context=self.first << i, share=one) for i, one in enumerate(shares))


@dataclass(frozen=True)
class StepPlace:
    """Where an optimiser step lies in the curriculum."""

    stage: int
    """Index of the stage."""
    context: int
    """Its window length in bases."""
    step: int
    """Optimiser step counted from the first one of the stage."""


_STAGES = (Stage(context=2**10, share=0.5), Stage(context=2**14, share=0.5))


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """Stages in the order they are trained; every optimiser step of every stage has the same number of tokens."""

    stages: tuple[Stage, ...] = field(default=_STAGES, metadata={NULL: ()})
    """Context in bases and share of all tokens, one entry a stage. Each context longer than the last. Null: those of
    `doubling`."""
    doubling: Doubling | None = None
    """The same in short, in place of `stages`."""
    tokens_per_step: int = 2**20
    """Tokens in an optimiser step over all devices; a multiple of every context."""
    total_tokens: int = 2**30
    """Tokens of the whole training; rounded to the nearest whole optimiser step."""

    def __post_init__(self) -> None:
        if self.doubling is not None:
            # Written out where a run's own config is read again.
            if self.stages not in ((), _STAGES, self.doubling.stages):
                raise InputError(
                    "curriculum: give `stages` or `doubling`, not both; curriculum.stages=null or "
                    "curriculum.doubling=null takes away what a config has"
                )
            object.__setattr__(self, "stages", self.doubling.stages)
        got = [stage.context for stage in self.stages]
        if not got or got[0] < 1 or got != sorted(set(got)):
            raise InputError(f"curriculum.stages: contexts must be positive and growing, got {got}")
        if self.tokens_per_step < 1 or any(self.tokens_per_step % context for context in got):
            raise InputError(f"curriculum.tokens_per_step: {self.tokens_per_step} is no multiple of all {got}")
        shares = [stage.share for stage in self.stages]
        for index, share in enumerate(shares):
            if not 0 < share <= 1:
                raise InputError(f"curriculum.stages[{index}].share: want above 0 and at most 1, got {share}")
        if abs(sum(shares) - 1) > SHARE_TOLERANCE:
            raise InputError(f"curriculum.stages: the shares add up to {sum(shares):g}, want 1; got {shares}")
        for index, steps in enumerate(self.stage_steps):
            if steps < 1:
                needed = round(self.tokens_per_step * sum(shares) / min(shares))
                raise InputError(
                    f"curriculum.total_tokens: {self.total_tokens:,} leaves no step for stages[{index}] (context "
                    f"{got[index]:,}); want about {needed:,}, or a smaller curriculum.tokens_per_step"
                )

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return round(self.total_tokens / self.tokens_per_step)

    @property
    def stage_steps(self) -> tuple[int, ...]:
        """Optimiser steps of each stage: the shares in whole steps, by largest remainder."""
        total = sum(stage.share for stage in self.stages)
        exact = [self.total_steps * stage.share / total for stage in self.stages]
        # 0.7 * 10 is 7.000000000000001 or 6.999999999999999: that is no remainder.
        steps = [int(x + 1e-9) for x in exact]
        by_remainder = sorted(range(len(exact)), key=lambda i: (steps[i] - exact[i], i))
        for i in by_remainder[: self.total_steps - sum(steps)]:
            steps[i] += 1
        return tuple(steps)

    @property
    def borders(self) -> tuple[int, ...]:
        """First optimiser step after each stage; the last entry is `total_steps`."""
        return tuple(accumulate(self.stage_steps))

    def at(self, step: int) -> StepPlace:
        """The place of optimiser step `step`, counted from 0.

        Raises:
            IndexError: `step` lies outside the training.
        """
        borders = self.borders
        if not 0 <= step < borders[-1]:
            raise IndexError(f"optimiser step {step} of a training of {borders[-1]}")
        stage = bisect_right(borders, step)
        return StepPlace(stage, self.stages[stage].context, step - (borders[stage - 1] if stage else 0))
