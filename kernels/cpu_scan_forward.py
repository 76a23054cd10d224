"""The compiled selective scan, forward: one task walks a few groups of one sequence from its first step to its last."""

from typing import Any

from dnamamba.kernels.cpu_compile import compiled, inlined
from dnamamba.kernels.cpu_jobs import BLOCK, CHUNK, DELTA, DRIVE, LANES, OUT, RECORD, Forward
from dnamamba.kernels.cpu_math import exp2, silu
from dnamamba.kernels.cpu_scan_layout import load_chunk, next_reset, prefetch_rows
from dnamamba.kernels.cpu_vector import fma, load, load_broadcast, load_some, store, store_some, zeros


@inlined
def _walk(
    A: int, B: int, B_row: int, C: int, C_row: int, reset: int, state: int, border: int, steps: int, scratch: int
) -> None:
    """Walk one block of states through a chunk, adding C h to OUT."""
    a0, a1, a2, a3 = load(A, 0), load(A, LANES), load(A, 2 * LANES), load(A, 3 * LANES)
    h0, h1, h2, h3 = load(state, 0), load(state, LANES), load(state, 2 * LANES), load(state, 3 * LANES)
    store(border, 0, h0)
    store(border, LANES, h1)
    store(border, 2 * LANES, h2)
    store(border, 3 * LANES, h3)
    first = 0
    while first < steps:
        if next_reset(reset, first, first + 1) == first:
            h0, h1, h2, h3 = zeros(), zeros(), zeros(), zeros()
        last = next_reset(reset, first + 1, steps)
        for t in range(first, last):
            record = t * RECORD
            b, c = t * B_row, t * C_row
            delta, drive = load(scratch, record + DELTA), load(scratch, record + DRIVE)
            h0 = fma(h0, exp2(delta * a0), drive * load_broadcast(B, b))
            h1 = fma(h1, exp2(delta * a1), drive * load_broadcast(B, b + 1))
            h2 = fma(h2, exp2(delta * a2), drive * load_broadcast(B, b + 2))
            h3 = fma(h3, exp2(delta * a3), drive * load_broadcast(B, b + 3))
            out = load(scratch, record + OUT)
            out = fma(h1, load_broadcast(C, c + 1), fma(h0, load_broadcast(C, c), out))
            out = fma(h3, load_broadcast(C, c + 3), fma(h2, load_broadcast(C, c + 2), out))
            store(scratch, record + OUT, out)
        first = last
    store(state, 0, h0)
    store(state, LANES, h1)
    store(state, 2 * LANES, h2)
    store(state, 3 * LANES, h3)


@inlined
def _store_chunk(job: Forward, batch: int, start: int, steps: int, channel: int, count: int, scratch: int) -> None:
    scan = job.scan
    y = job.y + 4 * ((batch * scan.length + start) * scan.channels + channel)
    z = scan.z + 4 * (batch * scan.z_batch + start * scan.z_row + channel)
    for t in range(steps):
        out = load(scratch, t * RECORD + OUT)
        if scan.z != 0:
            out = out * silu(load_some(z, t * scan.z_row, count))
        store_some(y, t * scan.channels, out, count)


@compiled
def walk_forward(job: Any, task: int, scratch: int) -> None:
    """Run task `task` of batch * ceil(groups / groups_per_task)."""
    scan = job.scan
    tasks_a_sequence = -(-scan.groups // scan.groups_per_task)
    batch = task // tasks_a_sequence
    first_group = task % tasks_a_sequence * scan.groups_per_task
    last_group = min(first_group + scan.groups_per_task, scan.groups)
    chunks = -(-scan.length // CHUNK)
    group_floats = scan.states * LANES
    width = min(last_group * LANES, scan.channels) - first_group * LANES
    for chunk in range(chunks):
        start = chunk * CHUNK
        steps = min(CHUNK, scan.length - start)
        B = scan.B + 4 * (batch * scan.B_batch + start * scan.B_row)
        C = scan.C + 4 * (batch * scan.C_batch + start * scan.C_row)
        reset = scan.reset + batch * scan.length + start if scan.reset != 0 else 0
        ahead = min(CHUNK, scan.length - start - steps)
        following = start + steps
        prefetch_rows(
            scan.x + 4 * (batch * scan.x_batch + following * scan.x_row), scan.x_row, ahead, first_group * LANES, width
        )
        prefetch_rows(
            scan.dt + 4 * (batch * scan.dt_batch + following * scan.dt_row),
            scan.dt_row,
            ahead,
            first_group * LANES,
            width,
        )
        if scan.z != 0:
            prefetch_rows(
                scan.z + 4 * (batch * scan.z_batch + following * scan.z_row),
                scan.z_row,
                ahead,
                first_group * LANES,
                width,
            )
        for group in range(first_group, last_group):
            channel = group * LANES
            count = min(LANES, scan.channels - channel)
            load_chunk(scan, batch, start, steps, channel, count, scratch)
            state = job.state + 4 * (batch * scan.groups + group) * group_floats
            border = scan.borders + 4 * ((batch * chunks + chunk) * scan.groups + group) * group_floats
            A = scan.A + 4 * group * group_floats
            for n in range(0, scan.states, BLOCK):
                at = 4 * n * LANES
                _walk(
                    A + at, B + 4 * n, scan.B_row, C + 4 * n, scan.C_row, reset, state + at, border + at, steps, scratch
                )
            _store_chunk(job, batch, start, steps, channel, count, scratch)
