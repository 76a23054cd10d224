"""Items of a dataset in a given order, read in this process or in several others: the same items either way."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from dnamamba.errors import InputError

K = TypeVar("K")
K_in = TypeVar("K_in", contravariant=True)
K_out = TypeVar("K_out", covariant=True)
T = TypeVar("T", covariant=True)


class Readable(Protocol[K_in, T]):
    """What can be asked for an item: a pure function of its key."""

    def __getitem__(self, key: K_in, /) -> T: ...


class Order(Protocol[K_out]):
    """Keys, as often as they are asked for."""

    def __iter__(self) -> Iterator[K_out]: ...

    def __len__(self) -> int: ...


class OrderedReading(Generic[K, T]):
    """Can be iterated again and again.

    Raises:
        InputError: in iteration, where the dataset raises it, after the items before it; in its own words.
    """

    def __init__(self, data: Readable[K, T], order: Order[K], workers: int = 0) -> None:
        """Nothing is read yet.

        Args:
            data: pickled where processes are not forked.
            order: the keys.
            workers: reading processes, each two items ahead; 0 reads in this one.
        """
        self.data, self.order, self.workers = data, order, workers

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[T]:
        if not self.workers:
            return (self.data[key] for key in self.order)
        loader = DataLoader(
            _Told(self.data), sampler=self.order, batch_size=None, num_workers=self.workers, collate_fn=_as_it_is,
            worker_init_fn=_be_deaf_once,
            generator=torch.Generator(),  # the processes' seeds, which nothing uses, are not drawn from the run's
        )  # fmt: skip
        others = active_children()
        with _signals_held_back():
            items = iter(loader)  # now, and not at the first item: the processes are forked while nothing else runs
        return _raised(items, [process for process in active_children() if process not in others])


class _Told(Dataset[Any]):
    """The items; an InputError in place of one, for raised in a worker it comes out in the words of a traceback."""

    def __init__(self, data: Readable[Any, Any]) -> None:
        self.data = data

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.data[key]
        except InputError as error:
            return error


def _as_it_is(item: Any) -> Any:
    return item


def _raised(items: Iterator[Any], processes: Sequence[BaseProcess]) -> Iterator[Any]:
    try:
        for item in items:
            if isinstance(item, InputError):
                raise item
            yield item
    finally:
        # The loader ends its processes when nobody refers to it, and a traceback, which keeps this frame, may for long.
        getattr(items, "_shutdown_workers", lambda: None)()
        del items
        for process in processes:
            process.kill()  # one that has not ended in the loader's five seconds; it may be deaf to SIGTERM
            process.join()


# A terminal, `timeout` and a cluster's end of time send SIGINT or SIGTERM to all processes of a run at once, and the
# parent still wants the items of the step at hand before it saves and stops. So a worker hears no SIGINT and lets one
# SIGTERM pass; at the second it ends, for that is how a parent ends what is left of its workers when it exits.
_SENT_TO_ALL = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes started inside see these signals no sooner than they are ready for them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SENT_TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _be_deaf_once(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _hear_the_next)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SENT_TO_ALL)


def _hear_the_next(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
