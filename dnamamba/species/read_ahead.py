"""The windows of the steps to come, drawn and read while the device computes."""

import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from dnamamba.errors import InputError
from dnamamba.species.training_windows import Rows, TrainingWindows

GPU_WORKERS = 2
"""Reading processes beside a GPU, if nothing is said: Python draws 512 short windows in the time of three steps."""


def read_ahead(windows: TrainingWindows, first: int, last: int, workers: int) -> Generator[Rows, None, None]:
    """The windows of steps `first` to `last` - 1 in order, the same for any number of workers.

    Args:
        windows: of the run.
        first: step to begin with.
        last: step to stop before.
        workers: reading processes; 0 reads in a thread of this one.

    Raises:
        InputError: what cannot be read, when its step comes.
    """
    return _by_processes(windows, range(first, last), workers) if workers else _by_thread(windows, range(first, last))


def _by_thread(windows: TrainingWindows, steps: range) -> Generator[Rows, None, None]:
    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for step in steps:
            ready, ahead = ahead, reader.submit(windows.rows, step)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()


def _by_processes(windows: TrainingWindows, steps: range, workers: int) -> Generator[Rows, None, None]:
    loader = DataLoader(
        _Steps(windows), sampler=steps, batch_size=None, num_workers=workers, collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # the processes' seeds, which nothing uses, are not drawn from the run's
    )  # fmt: skip
    for rows in loader:
        if isinstance(rows, InputError):
            raise rows
        yield rows


class _Steps(Dataset[Rows | InputError]):
    def __init__(self, windows: TrainingWindows) -> None:
        self.windows = windows

    def __getitem__(self, step: int) -> Rows | InputError:
        try:
            return self.windows.rows(step)
        except InputError as error:  # raised here, it would come out in the words of a traceback
            return error


def _as_it_is(rows: Any) -> Any:
    return rows


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the parent still wants the step at hand before it stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
