"""Held-out perplexity while training runs: the same targets from first to last, so that curves compare."""

import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl

from dnamamba.checkpoints import Best
from dnamamba.corpus import Corpus
from dnamamba.curriculum import CurriculumConfig
from dnamamba.evaluate import EvaluationConfig, choose_blocks, summarise, target_losses
from dnamamba.held_out import TargetBlock


def validation_steps(curriculum: CurriculumConfig, points: int) -> set[int]:
    """Steps after which the model is measured: `points` evenly spread ones, and the end of every stage."""
    total = curriculum.total_steps
    return {max(1, round(total * i / points)) for i in range(1, points + 1)} | set(curriculum.borders)


class Validation(pl.Callback):
    """Logs `perplexity_<context>` of the validation part after the given steps, and stops a run that gains no more."""

    def __init__(
        self, corpus: Corpus, contexts: Sequence[int], config: EvaluationConfig, steps: set[int], best: Best | None
    ) -> None:
        """`best` is what a resumed run has reached so far."""
        self.corpus, self.contexts, self.config, self.steps, self.best = corpus, contexts, config, steps, best
        self._blocks: tuple[TargetBlock, ...] | None = None

    def gains_no_more(self, step: int) -> bool:
        """Whether the run stops after `step`. A function of the best point alone: nothing more has to be resumed."""
        if self.config.early_stop is None or self.best is None:
            return False
        return sum(self.best.step < one <= step for one in self.steps) >= self.config.early_stop

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if not pl_module.step_done or pl_module.status.step not in self.steps:
            return
        pl_module.settle()
        model, config = pl_module.model, self.config
        if self._blocks is None:
            self._blocks = choose_blocks(
                self.corpus, self.contexts, model, "valid", config.targets_while_training, config.seed
            )
        blocks = self._blocks
        processes = pl_module.processes
        model = processes.whole_model(model)

        def measure() -> dict[str, float]:
            losses = (
                target_losses(model, self.corpus, blocks, context, autocast=pl_module.autocast)
                for context in self.contexts
            )
            return {str(c): summarise(one).perplexity for c, one in zip(self.contexts, losses, strict=True)}

        found = processes.from_first(measure)
        row = {"tokens": float(pl_module.status.tokens)} | {f"perplexity_{c}": value for c, value in found.items()}
        for logger in pl_module.loggers:
            logger.log_metrics(row, pl_module.status.step)
        nats = sum(map(math.log, found.values())) / len(found)
        if self.best is None or nats < self.best.nats:
            self.best = Best(pl_module.status.step, nats, found)
        if self.gains_no_more(pl_module.status.step):
            trainer.should_stop = True
