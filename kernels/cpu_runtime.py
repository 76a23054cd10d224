"""How compiled CPU kernels are cached, and how their tasks are spread over threads.

A kernel is a numba function `kernel(job, task, scratch)`: `job` a NamedTuple of integers (sizes, strides, addresses),
`task` its share of the work, `scratch` the address of memory of its own. What a task computes depends on the shapes
alone, never on the number of threads, so the bits do not either.
"""

import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

_ALIGNMENT = 64  # bytes: a cache line, an AVX-512 register


@cache
def _source_digest() -> str:
    """Of all CPU kernels: they inline one another, so a change to one makes every cached one stale."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("cpu_*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _usable(folder: Path) -> bool:
    """Whether we may keep code there: writable, ours, and closed to others (a cache is executed when it is read)."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH)


@cache
def cache_folder() -> Path | None:
    """Where compiled kernels are kept: $DNAMAMBA_CACHE_DIR, the user's cache folder or a private temporary one."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home folder is known
        home = Path(tempfile.gettempdir())
    candidates = [home / "dnamamba", Path(tempfile.gettempdir()) / f"dnamamba-{user}"]
    if wished := os.environ.get("DNAMAMBA_CACHE_DIR"):
        candidates.insert(0, Path(wished))
    return next((path for folder in candidates if _usable(path := folder / "kernels" / _source_digest())), None)


class _Locator(_CacheLocator):
    def __init__(self, function: Callable[..., Any], path: str) -> None:
        self._function = function

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return _source_digest()

    def get_disambiguator(self) -> str:
        return self._function.__qualname__

    def ensure_cache_path(self) -> None:
        """`cache_folder` has made the folder and tried it."""

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> "_Locator | None":
        return None if cache_folder() is None else cls(function, path)


class _CacheFormat(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


class _Cache(FunctionCache):
    _impl_class = _CacheFormat


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at first call, without the GIL; keep the machine code for later processes where a folder allows it."""
    # No fast-math: it would cancel the rounding trick in exp2.
    dispatcher = numba.njit(nogil=True)(function)
    if cache_folder() is not None:
        dispatcher._cache = _Cache(function)
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """A part of compiled kernels: compiled into each of its callers."""
    return numba.njit(nogil=True)(function)


class _Pool:
    """Threads of this process; a forked child starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        # The parent's threads do not exist in a child, and its lock may have been held at the fork.
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._size = 0

    def executor(self, size: int) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None or self._size < size:
                self._executor, self._size = ThreadPoolExecutor(size, thread_name_prefix="dnamamba"), size
            return self._executor


_POOL = _Pool()


def _work(kernel: Any, job: Any, tasks: Iterator[int], scratch_floats: int, constants: tuple[float, ...]) -> None:
    memory = np.empty(scratch_floats * 4 + _ALIGNMENT, np.uint8)
    address = -(-memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
    for task in tasks:  # `next` of a range iterator holds the GIL: each task is taken once
        kernel(job, task, address, *constants)


def run_tasks(kernel: Any, job: Any, tasks: int, scratch_floats: int, *constants: float) -> None:
    """Call `kernel(job, task, scratch)` for every task in range(tasks), on up to torch.get_num_threads() threads."""
    remaining = iter(range(tasks))
    helpers = min(torch.get_num_threads(), tasks) - 1
    if helpers < 1:
        _work(kernel, job, remaining, scratch_floats, constants)
        return
    executor = _POOL.executor(helpers)
    futures = [executor.submit(_work, kernel, job, remaining, scratch_floats, constants) for _ in range(helpers)]
    _work(kernel, job, remaining, scratch_floats, constants)  # this thread works too
    for future in futures:
        future.result()
