"""How the tasks of a compiled kernel are spread over threads.

What a task computes depends on the shapes alone, never on the number of threads, so the bits do not either.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

_ALIGNMENT = 64  # bytes: a cache line, an AVX-512 register


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
