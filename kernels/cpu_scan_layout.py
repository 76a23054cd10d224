"""What the forward and the backward CPU scan share: block sizes, the description of a call, the loading of one chunk.

Sixteen neighbouring channels (a group) lie in the lanes of a vector and four states are walked at a time, so that the
states stay in registers. Time is cut in chunks whose rows stay in the first cache while every group passes over them.
"""

from dnamamba.kernels.cpu_compile import inlined
from dnamamba.kernels.cpu_jobs import DELTA, DRIVE, LANES, OUT, RECORD, Scan
from dnamamba.kernels.cpu_math import softplus
from dnamamba.kernels.cpu_vector import load, load_byte, load_some, prefetch, store


@inlined
def next_reset(reset: int, first: int, last: int) -> int:
    """The first step in [first, last) that resets, else `last`; `reset` is the address of the row."""
    if reset == 0:
        return last
    for t in range(first, last):
        if load_byte(reset, t) != 0:
            return t
    return last


@inlined
def prefetch_rows(address: int, row: int, steps: int, first: int, width: int) -> None:
    """Touch `width` floats of `steps` rows in order: walking by groups jumps whole rows, which no prefetcher sees."""
    for t in range(steps):
        for i in range(0, width, LANES):
            prefetch(address, t * row + first + i)


@inlined
def load_chunk(job: Scan, batch: int, start: int, steps: int, channel: int, count: int, scratch: int) -> None:
    """Fill DELTA, DRIVE = delta * x and OUT = D * x of a group's chunk."""
    x = job.x + 4 * (batch * job.x_batch + start * job.x_row + channel)
    dt = job.dt + 4 * (batch * job.dt_batch + start * job.dt_row + channel)
    bias = load(job.bias, channel)
    skip = load(job.D, channel)
    for t in range(steps):
        delta = load_some(dt, t * job.dt_row, count) + bias
        if job.softplus:
            delta = softplus(delta)
        value = load_some(x, t * job.x_row, count)
        record = t * RECORD
        store(scratch, record + DELTA, delta)
        store(scratch, record + DRIVE, delta * value)
        store(scratch, record + OUT, skip * value)
