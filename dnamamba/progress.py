"""Progress of a training run on stderr: a bar for each stage on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dnamamba.config import format_size
from dnamamba.curriculum import CurriculumConfig

PLAIN_EVERY = 15.0
"""Seconds between two plain lines."""


class TrainingProgress(pl.Callback):
    """Shows step, context, loss, perplexity, tokens/s, the share of time spent waiting for data, and memory.

    Says when the stage and when the run will be over, at the rate of the stage so far. Reads `module.status`, which the
    training step renews.
    """

    def __init__(self, curriculum: CurriculumConfig) -> None:
        self.curriculum = curriculum
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = -1
        self._began = self._last_line = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._last_line = time.monotonic()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
        pl_module.within_step.append(lambda share: self._within(pl_module, share))
        self._enter(pl_module.start_step)

    def _enter(self, step: int) -> None:
        """Begin the stage that `step` is in."""
        place = self.curriculum.at(step)
        self._stage, self._first_step, self._began = place.stage, step, time.monotonic()
        if self._bar is not None:
            steps = self.curriculum.stage_steps[place.stage]
            self._task = self._bar.add_task(self._name(), total=steps, completed=place.step)

    def _name(self) -> str:
        context = format_size(self.curriculum.stages[self._stage].context)
        return f"stage {self._stage + 1}/{len(self.curriculum.stages)}, context {context}"

    def _within(self, module: Any, share: float) -> None:
        """A step of many slices: the bar moves and the line comes while it runs."""
        done = module.status.step + share
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done - self._stage_start())
        elif share < 1 and time.monotonic() - self._last_line > PLAIN_EVERY:  # the end of a step has a line of its own
            self._last_line = time.monotonic()
            step = f"step {module.status.step + 1:,}/{self.curriculum.total_steps:,}"
            print(f"{step}  {share:.0%} of it done", file=sys.stderr, flush=True)

    def _stage_start(self) -> int:
        return self.curriculum.borders[self._stage] - self.curriculum.stage_steps[self._stage]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if not pl_module.step_done:
            return
        status = pl_module.status
        total, border = self.curriculum.total_steps, self.curriculum.borders[self._stage]
        pace = (time.monotonic() - self._began) / max(status.step - self._first_step, 1)  # seconds a step
        text = (
            f"step {status.step:,}/{total:,}  {self._name()}  loss {status.loss:.4f}  "
            f"perplexity {status.perplexity:.3f}  {_rate(status.tokens_per_second)} tokens/s  "
            f"data {status.data_share:.1%}  memory {status.peak_memory / 1e9:.1f} GB  "
            f"left {_clock(pace * (border - status.step))}, in all {_clock(pace * (total - status.step))}"
        )
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=status.step - self._stage_start())
        elif time.monotonic() - self._last_line > PLAIN_EVERY or status.step == border:
            self._last_line = time.monotonic()
            print(text, file=sys.stderr, flush=True)
        if status.step == border < total:
            self._enter(status.step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _rate(value: float) -> str:
    return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.1f}k"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
