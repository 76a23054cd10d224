"""Work for other processes: a Dask cluster behind an address, or any pool; and what it means when one is lost."""

import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from dnamamba.errors import InputError, UsageError
from dnamamba.pipelines.store_build import Interrupted

_Result = TypeVar("_Result")
_PATIENCE = 60.0  # seconds without any worker before an ingest gives up
_CONNECT = "15s"
KEPT = "the finished contigs are kept, --resume goes on"
"""What the message about a lost cluster ends with."""
_LOOK = 1.0  # seconds between two looks at the cluster while nothing is ready
_SAME = ("dnamamba", "distributed")  # packages that must be of one version everywhere


class Cluster:
    """Runs functions elsewhere. One object serves several threads."""

    def __init__(self, executor: Executor, watch: Callable[[], str | None] = lambda: None, kept: str = KEPT) -> None:
        """
        Args:
            executor: runs a function in another process. What a dead worker did, it does again.
            watch: says what is wrong with the cluster, now and then; None when all is well.
            kept: says what is left of the work when the cluster is lost.
        """
        self._executor, self._watch, self._kept = executor, watch, kept
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Make every thread that waits here raise KeyboardInterrupt."""
        self._stopped.set()

    def call(self, function: Callable[..., _Result], *args: Any, **kwargs: Any) -> _Result:
        """Run one function and wait for it; see `run`."""
        return next(self.run([partial(function, *args, **kwargs)]))[1]

    def run(self, functions: Sequence[Callable[[], _Result]]) -> Iterator[tuple[int, _Result]]:
        """Start functions and hand out their results as they come, each with its number.

        Args:
            functions: picklable, as `functools.partial` of something in a module.

        Raises:
            Interrupted: the cluster is gone, or gave a function up.
            KeyboardInterrupt: `stop` was called.
            Exception: what a function raised. Those that have not been started are not started any more.
        """
        numbers = {self._executor.submit(_guarded, function): number for number, function in enumerate(functions)}
        waiting = set(numbers)
        try:
            while waiting:
                done, waiting = wait(waiting, _LOOK, FIRST_COMPLETED)
                for future in done:
                    yield numbers.pop(future), self._result(future)
                if self._stopped.is_set():
                    raise KeyboardInterrupt
                problem = None if done else self._watch()
                if problem:
                    raise Interrupted(f"{problem}; {self._kept}")
        finally:
            for future in waiting:
                future.cancel()

    def in_order(self, functions: Iterable[Callable[[], _Result]], ahead: int) -> Iterator[_Result]:
        """Run functions, any number, and hand out their results in the order of the functions.

        Args:
            functions: picklable; taken when there is room for them.
            ahead: how many may be on their way, or wait for their turn, at a time.

        Raises:
            Interrupted, Exception: as `run`.
        """
        coming = iter(functions)
        going: deque[Future[Any]] = deque()
        try:
            while True:
                while len(going) < ahead and (function := next(coming, None)) is not None:
                    going.append(self._executor.submit(_guarded, function))
                if not going:
                    return
                while not going[0].done():
                    done, _ = wait([going[0]], _LOOK)
                    problem = None if done else self._watch()
                    if problem:
                        raise Interrupted(f"{problem}; {self._kept}")
                yield self._result(going.popleft())
        finally:
            for future in going:
                future.cancel()

    def _result(self, future: "Future[tuple[_Result | None, Exception | None]]") -> Any:
        try:
            result, failure = future.result()
        except CancelledError:
            problem = self._watch() or "the cluster dropped the work"
        except ImportError as error:
            raise InputError(f"a worker of the cluster cannot load dnamamba ({error}); install it there") from None
        except Exception as error:  # Dask's KilledWorker, or the pool's BrokenProcessPool: it has no base class
            problem = f"the cluster gave up ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
        else:
            if failure is not None:
                raise failure
            return result
        raise Interrupted(f"{problem}; {self._kept}")


def _guarded(function: Callable[[], _Result]) -> tuple[_Result | None, Exception | None]:
    """Result or exception, as a value: Dask sends tracebacks along, and stops for ever at one that it cannot read."""
    try:
        return function(), None
    except (InputError, OSError, ImportError) as error:
        return None, error.with_traceback(None)
    except Exception as error:
        return None, ProgramError("".join(traceback.format_exception(error)))


class ProgramError(Exception):
    """A mistake of ours in another process; its traceback is the text."""


@contextmanager
def connect(address: str, kept: str = KEPT) -> Iterator[Cluster]:
    """Reach a Dask scheduler.

    Args:
        address: as `dask scheduler` prints it: tcp://host:8786, tls://host:8786, host:8786.
        kept: as in `Cluster`.

    Raises:
        InputError: no address, dask is not installed, nobody answers there, or other versions are installed there.
    """
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise InputError("--scheduler: dask is not installed here; pip install 'dnamamba[cluster]'") from None
    # Before Dask sees it: of an empty one it would start a cluster of its own, and a Client that stops over a wrong
    # one stays half made until garbage collection closes it, which hangs for ever where another is just being closed.
    try:
        reason = "" if 0 < int(get_address_host_port(address)[1]) < 1 << 16 else "ports go to 65535"
    except ValueError as error:
        reason = str(error)
    if reason:
        raise UsageError(f"--scheduler: want an address, as `dask scheduler` prints it, got {address!r} ({reason})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions: `_check_versions` looks at those that matter
            client = Client(address, timeout=_CONNECT, set_as_default=False, name="dnamamba")
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"--scheduler {address}: no Dask scheduler answers there ({reason})") from None
    with client:
        _check_versions(client.get_versions(packages=["dnamamba"]), address)
        executor = client.get_executor(pure=False)
        try:
            yield Cluster(executor, _Watch(client, address), kept)
        finally:
            executor.shutdown(wait=False)


def _check_versions(versions: dict[str, Any], address: str) -> None:
    here = versions["client"]["packages"]
    others = {"the scheduler": versions["scheduler"], **{f"worker {k}": v for k, v in versions["workers"].items()}}
    for who, answer in others.items():
        there = answer["packages"]
        # A scheduler moves the messages alone: it needs Dask, not dnamamba.
        for name in _SAME if who != "the scheduler" else _SAME[1:]:
            if there.get(name) != here.get(name):
                raise InputError(
                    f"--scheduler {address}: {who} has {name} {there.get(name) or '(none)'},"
                    f" here is {here.get(name)}; install one version everywhere"
                )
        if there["python"].split(".")[:2] != here["python"].split(".")[:2]:
            raise InputError(
                f"--scheduler {address}: {who} runs Python {there['python'][:6].rstrip('.')},"
                f" here is {here['python'][:6].rstrip('.')}; use one Python everywhere"
            )


class _Watch:
    """Looks whether the scheduler is there and has workers."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        self._seen = time.monotonic()

    def __call__(self) -> str | None:
        if self._client.status != "running":
            return f"--scheduler {self._address}: the connection is lost"
        try:
            workers = self._client.scheduler_info()["workers"]
        except (OSError, KeyError):
            workers = {}
        if workers:
            self._seen = time.monotonic()
        if time.monotonic() - self._seen < _PATIENCE:
            return None
        return f"--scheduler {self._address}: no worker for {_PATIENCE:.0f} s (dask worker {self._address} starts one)"
