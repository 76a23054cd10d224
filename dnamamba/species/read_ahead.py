"""The windows of the steps to come, drawn and read while the device computes."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

from dnamamba.ordered_reading import OrderedReading
from dnamamba.species.training_windows import Rows, TrainingWindows

GPU_WORKERS = 2
"""Reading processes beside a GPU, if nothing is said: drawing 510 paired windows of 512 takes Python some 80 ms."""


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
    steps = range(first, last)
    if workers:
        yield from OrderedReading(windows, steps, workers)
        return
    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for step in steps:
            ready, ahead = ahead, reader.submit(windows.__getitem__, step)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()
