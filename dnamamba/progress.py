"""Progress of a training run on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dnamamba.config import format_size

PLAIN_EVERY = 15.0
"""Seconds between two plain lines."""


class TrainingProgress(pl.Callback):
    """Shows step, context, loss, perplexity, tokens/s, the share of time spent waiting for data, and the time left.

    Reads `module.status`, which the training step renews.
    """

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = 0.0
        self._began = self._step_began = 0.0
        self._first_step = self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._began = self._last_line = self._step_began = time.monotonic()
        self._first_step = self._step = pl_module.start_step
        pl_module.within_step.append(self._show_share)
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
            self._task = self._bar.add_task("training", total=self.total_steps, completed=self._first_step)
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if not pl_module.step_done:
            return
        status = pl_module.status
        self._step, self._step_began = status.step, time.monotonic()
        text = (
            f"step {status.step:,}/{self.total_steps:,}  context {format_size(status.context)}  "
            f"loss {status.loss:.4f}  perplexity {status.perplexity:.3f}  {_rate(status.tokens_per_second)} tokens/s  "
            f"data {status.data_share:.1%}"
        )
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=status.step)
        elif time.monotonic() - self._last_line > PLAIN_EVERY or status.step == self.total_steps:
            self._last_line = time.monotonic()
            left = (
                (time.monotonic() - self._began) / (status.step - self._first_step) * (self.total_steps - status.step)
            )
            print(f"{text}  left {_clock(left)}", file=sys.stderr, flush=True)

    def _show_share(self, share: float) -> None:
        """Move on within a step, which is minutes long where a chromosome is one window."""
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._step + share)
        elif now - max(self._last_line, self._step_began) > PLAIN_EVERY:
            self._last_line = now
            print(f"step {self._step + 1:,}/{self.total_steps:,}  {share:.0%} of it done", file=sys.stderr, flush=True)

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
