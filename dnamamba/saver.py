"""When a training run is saved and what stops it: time, given steps, SIGTERM and Ctrl-C."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from dnamamba.interrupts import interrupt
from dnamamba.training import Pretraining


class Saver(pl.Callback):
    """Calls `save(module)` every so many minutes, after `wanted` steps, and on SIGTERM or Ctrl-C, which stop the run.

    A signal only raises a flag; the save happens between two steps, where weights and moments belong together.
    """

    def __init__(self, save: Callable[[Pretraining], None], minutes: float, wanted: Callable[[int], bool]) -> None:
        self.save = save
        self.seconds = minutes * 60
        self.wanted = wanted
        self.stopped_by: signal.Signals | None = None
        self._last = self._stopped_at = self._patience = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._last = time.monotonic()
        # One Ctrl-C reaches a process of torchrun twice: from the terminal and from torchrun.
        self._patience = 5.0 if pl_module.processes.size > 1 else 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._raise_flag)

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        if self.stopped_by is not None and time.monotonic() - self._stopped_at >= self._patience:
            interrupt(number)  # the second one does not wait
        self._stop(signal.Signals(number))

    def _stop(self, number: signal.Signals) -> None:
        if self.stopped_by is None:
            self.stopped_by, self._stopped_at = number, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if not pl_module.step_done:
            return
        due = time.monotonic() - self._last > self.seconds or self.wanted(pl_module.status.step)
        # Clocks and signals differ between processes, and a save or stop is for all of them.
        due, stopped = pl_module.processes.largest(int(due), int(self.stopped_by or 0))
        if due or stopped:
            pl_module.settle()
            self.save(pl_module)
            self._last = time.monotonic()
        if stopped:
            self._stop(signal.Signals(stopped))
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
