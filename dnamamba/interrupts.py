"""SIGTERM is heard as Ctrl-C is: what is half written is taken away, and one line says how to go on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dnamamba.errors import InputError


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as KeyboardInterrupt says of Ctrl-C."""


def signal_of(stop: BaseException) -> signal.Signals:
    """The signal that a KeyboardInterrupt came from."""
    return signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Handler of SIGINT and SIGTERM: raises what stands for the signal."""
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def sigterm_heard() -> Iterator[None]:
    """Within, SIGTERM raises Terminated, unless something else was made of it before."""
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_told(begun: Path, when: str, resume: str) -> Iterator[None]:
    """Within, SIGTERM or Ctrl-C is an InputError that says how to go on, if the run has begun.

    Args:
        begun: a file that is there as soon as the run can be resumed.
        when: what the stop came before or during.
        resume: the command that goes on.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if not begun.exists():
            raise
        raise InputError(f"stopped by {signal_of(stop).name} {when}; go on with: {resume}") from None
