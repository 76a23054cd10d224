"""Progress of work over bases, bytes or alleles, on stderr: a bar on a terminal, plain lines now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""
Unit = Literal["bases", "bytes", "alleles"]
_BAR_EVERY = 0.1  # seconds between two looks of the bar


class BaseProgress:
    """A context manager that is called with (contig, bases done, bases in all or None), as pipelines do it."""

    def __init__(self, work: str, unit: Unit = "bases") -> None:
        """`work` says what is going on, such as "ingest hg38"; `unit` what is counted."""
        self._work = work
        self._unit = unit
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began = self._last = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> "BaseProgress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            text = TextColumn("{task.description}", markup=False)
            columns = (text, BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._work, total=None)
            self._bar.start()
        return self

    def __call__(self, contig: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self._first is None:  # of a resumed ingest, what was there before is not of this run's rate
            self._first = done
        if now - self._last < (PLAIN_EVERY if self._bar is None else _BAR_EVERY):
            return
        self._last = now
        rate = max(done - self._first, 0) / max(now - self._began, 1e-9)
        whole = "" if total is None else f" of {total:,}"
        speed = {
            "bases": _bases_a_second(rate),
            "bytes": f"{rate / 1e6:,.1f} MB/s",
            "alleles": f"{rate:,.0f}/s",
        }[self._unit]
        text = f"{self._work}: {contig}{', ' if contig else ''}{done:,}{whole} {self._unit}, {speed}"
        if self._bar is None and total is not None and rate:
            text += f", {(total - done) / rate:,.0f} s left"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=done, total=total)
        else:
            print(text, file=sys.stderr, flush=True)

    def stage(self, work: str, unit: Unit) -> "Callable[[str, int, int | None], None]":
        """Progress of another work, from its first call on: a download, then what is done with it."""

        def tick(name: str, done: int, total: int | None) -> None:
            if self._work != work:
                self._work, self._unit, self._first, self._began = work, unit, None, time.monotonic()
                if self._bar is not None and self._task is not None:
                    self._bar.reset(self._task, total=None)
            self(name, done, total)

        return tick

    def note(self, text: str) -> None:
        """Say one line besides, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bases_a_second(rate: float) -> str:
    """A model reads 10 kb/s on a CPU, a file comes at hundreds of Mb/s: both with digits that say something."""
    if rate < 1e6:
        return f"{rate / 1e3:,.1f} kb/s"
    return f"{rate / 1e6:,.{0 if rate >= 1e7 else 2}f} Mb/s"
