"""Progress of a fine-tuning on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dnamamba.config import format_size
from dnamamba.progress import PLAIN_EVERY


class FinetuneProgress:
    """Told after every step and point."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self._first = total, done
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._began = self._last_line = time.monotonic()
        self._bases = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("fine-tuning", total=self.total, completed=self._first)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def told(self, step: int, length: int, bases: int, figures: Mapping[str, float]) -> None:
        """A step is done."""
        self._bases += bases
        seconds = time.monotonic() - self._began
        left = seconds / max(1, step - self._first) * (self.total - step)
        text = (
            f"step {step:,}/{self.total:,}  length {format_size(length)}  loss {figures['loss']:.4f}  "
            f"nats a base {figures['letters']:.4f}  {self._bases / seconds / 1e3:,.0f}k bases/s  left {left:.0f} s"
        )
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=step)
        elif time.monotonic() - self._last_line > PLAIN_EVERY or step == self.total:
            self._last_line = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def point(self, step: int, loss: float, accuracy: Mapping[int, float], best: bool) -> None:
        """A point of the validation curve is made."""
        shares = "  ".join(f"{format_size(length)} {value:.3f}" for length, value in accuracy.items())
        text = f"step {step:,}: validation {loss:.4f} nats{' (best)' if best else ''}; right calls {shares}"
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)
