"""What the forward and the backward CPU scan share: block sizes, the description of a call, the loading of one chunk.

Sixteen neighbouring channels (a group) lie in the lanes of a vector and four states are walked at a time, so that the
states stay in registers. Time is cut in chunks whose rows stay in the first cache while every group passes over them.
"""

from typing import NamedTuple

from dnamamba.kernels.cpu_math import softplus
from dnamamba.kernels.cpu_runtime import inlined
from dnamamba.kernels.cpu_vector import LANES, load, load_byte, load_some, prefetch, store

CHUNK = 64  # steps; a state every CHUNK steps is kept for the backward: 1/16 of the bytes of x, dt, z, y at N = 16
BLOCK = 4  # states walked together
ROW = LANES * BLOCK  # floats of one block of states of one group

# Scratch of a chunk, one record a step, so that a step's vectors are neighbours: no two share a cache set.
DELTA, DRIVE, OUT, GRAD, GATE, SLOPE, DELTA_SUM, DRIVE_SUM = (LANES * i for i in range(8))
RECORD = LANES * 8


class Scan(NamedTuple):
    """One call: sizes, then addresses (0: absent) with their strides in floats."""

    length: int
    channels: int
    states: int  # a multiple of BLOCK
    groups: int
    groups_per_task: int
    softplus: int
    x: int
    x_batch: int
    x_row: int
    dt: int
    dt_batch: int
    dt_row: int
    z: int
    z_batch: int
    z_row: int
    B: int
    B_batch: int
    B_row: int
    C: int
    C_batch: int
    C_row: int
    A: int  # [groups, states, LANES], times log2(e)
    D: int  # [groups * LANES]
    bias: int  # [groups * LANES]
    reset: int  # [B, L] bytes
    borders: int  # [B, chunks, groups, states, LANES]: the state before each chunk


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
