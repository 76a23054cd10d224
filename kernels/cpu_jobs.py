"""What the compiled CPU kernels are told: tuples of sizes, strides and addresses, and the sizes of their blocks.

Plain Python, so that a process which finds the machine code in the cache need not import numba.
"""

from typing import NamedTuple

LANES = 16  # float32 lanes of a vector: one AVX-512 register, two AVX2 or four NEON ones

# The scan.
CHUNK = 64  # steps; a state every CHUNK steps is kept for the backward: 1/16 of the bytes of x, dt, z, y at N = 16
BLOCK = 4  # states walked together
ROW = LANES * BLOCK  # floats of one block of states of one group
SLOW = 1.0 / 1536  # nats a step: states that decay slower are handed from chunk to chunk with more care

# Scratch of a chunk, one record a step, so that a step's vectors are neighbours. An odd number of cache lines: records
# spread over all sets of the first cache.
DELTA, DRIVE, OUT, GRAD, DELTA_SUM, DRIVE_SUM, GATE, SLOPE = (LANES * i for i in range(8))
FORWARD_RECORD = LANES * 3
RECORD = LANES * 9
KEPT = 2 * ROW  # floats a step keeps for the way back: decay and decayed state of one block
FORWARD_SCRATCH = CHUNK * FORWARD_RECORD


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


class Forward(NamedTuple):
    """The call and its results."""

    scan: Scan
    y: int  # [B, L, D]
    state: int  # [B, groups, states, LANES]: the initial state, becomes the final one


class Backward(NamedTuple):
    """The call, the gradient that comes in, and what goes out."""

    scan: Scan
    dy: int  # [B, L, D]
    dx: int  # [B, L, D]
    ddt: int  # [B, L, D]
    dz: int  # [B, L, D]
    gamma: int  # [B, groups, states, LANES]: gradient of the final state, becomes that of the initial one
    dA: int  # [B, groups, states, LANES], zeros at first
    dD: int  # [B, groups, LANES], zeros at first
    dbias: int  # [B, groups, LANES], zeros at first
    dB: int  # [tasks, chunks, CHUNK, states]: each task's own sum over its channels
    dC: int  # as dB


def backward_scratch(states: int) -> int:
    """Floats of scratch of the backward scan: records, kept values, a block's gamma, four partial sums a state."""
    return CHUNK * (RECORD + KEPT + 2 * 4 * states) + ROW


SUM_TASK = 1024  # vectors a task


class Sum(NamedTuple):
    """The partial sums of several tasks, added in order."""

    parts: int
    floats: int  # a multiple of LANES
    source: int  # [B, parts, floats]
    target: int  # [B, floats]


# The convolution.
TAPS = 4  # the widest kernel; narrower ones leave registers unused
CONV_TASK = 512  # steps a task
CONV_TILE = 32  # steps walked before the next group of channels: the rows stay in the first cache


class Conv(NamedTuple):
    """One call: sizes, then addresses (0: absent) with strides in floats."""

    length: int
    channels: int
    width: int
    silu: int
    x: int
    x_batch: int
    x_row: int
    weight: int  # [TAPS, D padded to whole groups]: row 0 meets the newest input
    bias: int  # [D padded]
    padded: int
    tail: int  # [B, W-1, D]
    reset: int  # [B, L] bytes
    y: int  # [B, L, D]
    dy: int  # [B, L, D]
    dx: int  # [B, L, D]
    dtail: int  # [B, W-1, D]
    dweight: int  # [tasks, TAPS + 1, D padded]; the last row is the bias


# The norm.
NORM_TASK = 512  # rows a task


class Norm(NamedTuple):
    """One call: sizes, then addresses (0: absent) of dense tensors."""

    rows: int
    channels: int
    padded: int
    x: int  # [rows, D]
    residual: int  # [rows, D]
    weight: int  # [D padded to whole groups]
    y: int  # [rows, D]
    total: int  # [rows, D]: residual + x
    dy: int  # [rows, D]
    dtotal: int  # [rows, D]: gradient that reaches `total` from later layers
    dx: int  # [rows, D]
    dweight: int  # [tasks, D padded]
