"""How many exponentials a second the CPU engine's polynomial computes when nothing else is done."""

# mypy: disable-error-code="untyped-decorator"

import time

import numba
import torch

from dnamamba.kernels.cpu_jobs import LANES
from dnamamba.kernels.cpu_math import exp2
from dnamamba.kernels.cpu_threads import run_tasks
from dnamamba.kernels.cpu_vector import broadcast, load, store

BLOCK = 64 * LANES


@numba.njit(nogil=True)
def _exponentials(job: int, task: int, scratch: int) -> None:
    a, b, c, d = broadcast(0.0), broadcast(0.0), broadcast(0.0), broadcast(0.0)
    for _ in range(job):
        for i in range(0, BLOCK, 4 * LANES):
            a, b = a + exp2(load(scratch, i)), b + exp2(load(scratch, i + LANES))
            c, d = c + exp2(load(scratch, i + 2 * LANES)), d + exp2(load(scratch, i + 3 * LANES))
    store(scratch, 0, a + b)
    store(scratch, LANES, c + d)


def exponentials_a_second(rounds: int = 1_000, repeats: int = 100) -> float:
    """Exponentials a second on all of torch's threads: the best of many short runs, as a limit has to be."""
    tasks, best = torch.get_num_threads(), float("inf")
    run_tasks(_exponentials, 1, tasks, BLOCK)  # compiles
    for _ in range(repeats):
        began = time.perf_counter()
        run_tasks(_exponentials, rounds, tasks, BLOCK)
        best = min(best, time.perf_counter() - began)
    return tasks * rounds * BLOCK / best
