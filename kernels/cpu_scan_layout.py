"""What the forward and the backward CPU scan share.

Sixteen neighbouring channels (a group) lie in the lanes of a vector and four states are walked at a time, so that the
states stay in registers. Time is cut in chunks whose rows stay in the first cache while every block passes over them.
"""

from dnamamba.kernels.cpu_compile import inlined
from dnamamba.kernels.cpu_jobs import LANES, Scan
from dnamamba.kernels.cpu_vector import load_byte, prefetch


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
def resets(reset: int, t: int) -> bool:
    """Whether step t resets."""
    return reset != 0 and load_byte(reset, t) != 0


@inlined
def prefetch_rows(address: int, row: int, steps: int, first: int, width: int) -> None:
    """Touch `width` floats of `steps` rows in order: walking by groups jumps whole rows, which no prefetcher sees."""
    for t in range(steps):
        for i in range(0, width, LANES):
            prefetch(address, t * row + first + i)


@inlined
def input_row(job: Scan, which: int, batch: int, start: int, channel: int) -> tuple[int, int]:
    """Address of step `start` of x (0), dt (1) or z (2), and the floats from a step to the next."""
    if which == 0:
        return job.x + 4 * (batch * job.x_batch + start * job.x_row + channel), job.x_row
    if which == 1:
        return job.dt + 4 * (batch * job.dt_batch + start * job.dt_row + channel), job.dt_row
    return job.z + 4 * (batch * job.z_batch + start * job.z_row + channel), job.z_row
