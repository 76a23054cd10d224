"""Seconds and bytes that a piece of work takes, on either device."""

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

ENOUGH = 0.3
"""Seconds of runs that a median is taken of."""
FEWEST = 3
SHORT = 0.02
"""Seconds below which the host's clock would also see launches."""
_M_MMAP_THRESHOLD = -3  # of malloc.h


def synchronise(device: str) -> None:
    """Until all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def once(run: Callable[[], Any], device: str) -> float:
    """Seconds of one run."""
    synchronise(device)
    began = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - began


def median_seconds(run: Callable[[], Any], device: str, *, enough: float = ENOUGH) -> float:
    """Median seconds of a run after one that is not counted; a run that takes longer than `enough` is timed once.

    By the clock, but a short one on a GPU by the device's own events and with a cold L2 cache (Triton's do_bench).
    """
    run()
    runs = [once(run, device)]
    if runs[0] > enough:
        return runs[0]
    if device == "cuda" and runs[0] < SHORT:
        from triton.testing import do_bench

        return float(do_bench(run, warmup=20, rep=80, return_mode="median")) / 1e3
    while len(runs) < FEWEST or sum(runs) < enough:
        runs.append(once(run, device))
    return median(runs)


def free_memory(device: str) -> int | None:
    """Bytes that are free on the device; None where the system does not say."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return _from_proc(Path("/proc/meminfo"), "MemAvailable")


def peak_bytes(run: Callable[[], Any], device: str) -> int | None:
    """Bytes on top of what is held now that a run takes at its peak; None where the system does not say."""
    if device == "cuda":
        synchronise(device)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        synchronise(device)
        return torch.cuda.max_memory_allocated() - before
    held = _begin_peak()
    if held is None:
        return None
    run()
    peak = _from_proc(Path("/proc/self/status"), "VmHWM")
    return None if peak is None else peak - held


def _begin_peak() -> int | None:
    """Set the peak of this process back to what it holds now, and say what that is, in bytes."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**16)  # tensors go back to the system when they are freed,
        libc.malloc_trim(0)  # and so does what was freed before
        Path("/proc/self/clear_refs").write_text("5")  # "reset the peak resident set size": man 5 proc
    except (OSError, AttributeError):  # another C library, or a container that forbids it
        return None
    return _from_proc(Path("/proc/self/status"), "VmRSS")


def _from_proc(file: Path, key: str) -> int | None:
    """A "Key:  123 kB" line, in bytes."""
    if sys.platform != "linux":
        return None
    for line in file.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None
