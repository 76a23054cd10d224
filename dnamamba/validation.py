"""Held-out perplexity while training runs: the same targets from first to last, so that curves compare."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl

from dnamamba.corpus import Corpus
from dnamamba.curriculum import CurriculumConfig
from dnamamba.evaluate import EvaluationConfig, choose_targets, summarise, target_losses


def validation_steps(curriculum: CurriculumConfig, points: int) -> set[int]:
    """Steps after which the model is measured: `points` evenly spread ones, and the end of every stage."""
    total = curriculum.total_steps
    return {max(1, round(total * i / points)) for i in range(1, points + 1)} | set(curriculum.borders)


class Validation(pl.Callback):
    """Logs `perplexity_<context>` of the validation part after the given steps."""

    def __init__(self, corpus: Corpus, contexts: Sequence[int], config: EvaluationConfig, steps: set[int]) -> None:
        self.corpus, self.contexts, self.config, self.steps = corpus, contexts, config, steps
        self._blocks: Any = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if not pl_module.step_done or pl_module.status.step not in self.steps:
            return
        pl_module.settle()
        model, config = pl_module.model, self.config
        if self._blocks is None:
            self._blocks = choose_targets(
                self.corpus, self.contexts, model, "valid", config.targets_while_training, config.seed
            )
        row: dict[str, float] = {"tokens": pl_module.status.tokens}
        for context in self.contexts:
            losses = target_losses(model, self.corpus, self._blocks, context, autocast=pl_module.autocast)
            row[f"perplexity_{context}"] = summarise(losses).perplexity
        for logger in pl_module.loggers:
            logger.log_metrics(row, pl_module.status.step)
