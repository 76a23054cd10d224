"""The sums of several tasks added in the order of the tasks: the bits do not depend on who finished first."""

from typing import Any

from dnamamba.kernels.cpu_compile import compiled
from dnamamba.kernels.cpu_jobs import LANES, SUM_TASK
from dnamamba.kernels.cpu_vector import load, store


@compiled
def add_parts(job: Any, task: int, scratch: int) -> None:
    """Run task `task` of batch * ceil(floats / (SUM_TASK * LANES))."""
    tasks_a_sequence = -(-job.floats // (SUM_TASK * LANES))
    batch = task // tasks_a_sequence
    first = task % tasks_a_sequence * SUM_TASK * LANES
    source = job.source + 4 * batch * job.parts * job.floats
    target = job.target + 4 * batch * job.floats
    for i in range(first, min(first + SUM_TASK * LANES, job.floats), LANES):
        total = load(source, i)
        for part in range(1, job.parts):
            total = total + load(source, part * job.floats + i)
        store(target, i, total)
