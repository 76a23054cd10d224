"""What the finished runs of a sweep are worth: scores on their common targets, paired with the first run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnamamba.config import format_size, read_json
from dnamamba.errors import InputError
from dnamamba.evaluate import Difference, Score, compare, summarise
from dnamamba.markov import Float64
from dnamamba.sweep.kept import kept_losses
from dnamamba.sweep.plan import RUNS, Plan
from dnamamba.sweep.targets import BLOCK
from dnamamba.sweep.worker import LOSSES, RESULT


@dataclass(frozen=True)
class RunResult:
    """One finished run."""

    name: str
    overrides: str
    """What is special about it."""
    context: int
    """At which it is judged: the longest it was trained at among those that could be scored."""
    losses: Mapping[int, Float64]
    """Context -> nats of every target, [blocks, targets in a block]."""
    scores: Mapping[int, Score]
    """Context -> score."""
    difference: Difference
    """Bits a base above the first run's, each at its own context, paired; below 0 this run is better."""
    figures: Mapping[str, Any]
    """parameters, tokens, flops, tokens_per_second, training_hours, peak_memory, device."""

    @property
    def score(self) -> Score:
        """At its own context."""
        return self.scores[self.context]


def read_results(plan: Plan, out: Path) -> tuple[list[RunResult], tuple[str, ...]]:
    """The runs that are done, in the plan's order, and what was left out.

    Raises:
        InputError: no run is done, or what one left is damaged.
    """
    results: list[RunResult] = []
    left_out: tuple[str, ...] = ()
    for name in plan.runs:
        folder = out / RUNS / name
        if not (folder / RESULT).exists():
            continue
        figures = read_json(folder / RESULT)
        left_out = tuple(figures["left_out"])
        losses: dict[int, Float64] = {}
        for context in figures["contexts"]:
            kept = kept_losses(folder / LOSSES / name / f"{format_size(context)}.npy", (figures["blocks"], BLOCK))
            if kept is None:
                raise InputError(f"{folder / LOSSES}: damaged; delete {folder / RESULT} and run the sweep again")
            losses[context] = kept.astype(np.float64)
        own = max((one for one in losses if one <= plan.context_of(name)), default=min(losses))
        first = results[0].losses[results[0].context] if results else losses[own]
        results.append(
            RunResult(
                name, " ".join(plan.overrides[name]), own, losses,
                {context: summarise(values, plan.seed) for context, values in losses.items()},
                compare(losses[own], first, plan.seed), figures,
            )
        )  # fmt: skip
    if not results:
        raise InputError(f"{out}: no run of the sweep is done; {out / 'logs'} says why")
    return results, left_out
