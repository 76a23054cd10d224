"""The compiled selective scan, forward: one task walks a few groups of one sequence from its first step to its last."""

from typing import Any

from dnamamba.kernels.cpu_compile import compiled, inlined
from dnamamba.kernels.cpu_jobs import BLOCK, CHUNK, DELTA, DRIVE, FORWARD_RECORD, LANES, OUT, Forward
from dnamamba.kernels.cpu_math import exp2_four, silu_four, softplus_four
from dnamamba.kernels.cpu_scan_carry import any_slow, carry_forward
from dnamamba.kernels.cpu_scan_layout import input_row, next_reset, prefetch_rows
from dnamamba.kernels.cpu_vector import fma, load, load_broadcast, load_some, prefetch, store, store_some, zeros


@inlined
def _record(scratch: int, t: int, delta: Any, x: Any, skip: Any) -> None:
    at = t * FORWARD_RECORD
    store(scratch, at + DELTA, delta)
    store(scratch, at + DRIVE, delta * x)
    store(scratch, at + OUT, skip * x)


@inlined
def _load_chunk(job: Forward, batch: int, start: int, steps: int, channel: int, count: int, scratch: int) -> Any:
    """Fill DELTA, DRIVE = delta * x and OUT = D * x of a group's chunk; return the sum of its deltas.

    Four steps at a time; past the end the last step is read again, into records that nobody reads.
    """
    x, x_row = input_row(job.scan, 0, batch, start, channel)
    dt, dt_row = input_row(job.scan, 1, batch, start, channel)
    bias = load(job.scan.bias, channel)
    skip = load(job.scan.D, channel)
    span = zeros()
    for t in range(0, steps, 4):
        t1, t2, t3 = min(t + 1, steps - 1), min(t + 2, steps - 1), min(t + 3, steps - 1)
        d0, d1 = load_some(dt, t * dt_row, count) + bias, load_some(dt, t1 * dt_row, count) + bias
        d2, d3 = load_some(dt, t2 * dt_row, count) + bias, load_some(dt, t3 * dt_row, count) + bias
        if job.scan.softplus:
            d0, d1, d2, d3 = softplus_four(d0, d1, d2, d3)
        x0, x1 = load_some(x, t * x_row, count), load_some(x, t1 * x_row, count)
        x2, x3 = load_some(x, t2 * x_row, count), load_some(x, t3 * x_row, count)
        _record(scratch, t, d0, x0, skip)
        _record(scratch, t + 1, d1, x1, skip)
        _record(scratch, t + 2, d2, x2, skip)
        _record(scratch, t + 3, d3, x3, skip)
        span = span + ((d0 + d1) + (d2 + d3))
    return span


@inlined
def _walk(
    A: int, B: int, B_row: int, C: int, C_row: int, reset: int, state: int, border: int, steps: int, scratch: int,
    ahead: int, ahead_row: int,
) -> None:  # fmt: skip
    """Walk one block of states through a chunk, adding C h to OUT; touch the rows at `ahead` on the way."""
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
            at, b, c = t * FORWARD_RECORD, t * B_row, t * C_row
            prefetch(ahead, t * ahead_row)
            delta, drive = load(scratch, at + DELTA), load(scratch, at + DRIVE)
            e0, e1, e2, e3 = exp2_four(delta * a0, delta * a1, delta * a2, delta * a3)
            h0 = fma(h0, e0, drive * load_broadcast(B, b))
            h1 = fma(h1, e1, drive * load_broadcast(B, b + 1))
            h2 = fma(h2, e2, drive * load_broadcast(B, b + 2))
            h3 = fma(h3, e3, drive * load_broadcast(B, b + 3))
            out = load(scratch, at + OUT)
            out = fma(h1, load_broadcast(C, c + 1), fma(h0, load_broadcast(C, c), out))
            out = fma(h3, load_broadcast(C, c + 3), fma(h2, load_broadcast(C, c + 2), out))
            store(scratch, at + OUT, out)
        first = last
    store(state, 0, h0)
    store(state, LANES, h1)
    store(state, 2 * LANES, h2)
    store(state, 3 * LANES, h3)


@inlined
def _store_chunk(job: Forward, batch: int, start: int, steps: int, channel: int, count: int, scratch: int) -> None:
    """y = OUT silu(z), four steps at a time; past the end the last step is written again."""
    channels = job.scan.channels
    y = job.y + 4 * ((batch * job.scan.length + start) * channels + channel)
    z, z_row = input_row(job.scan, 2, batch, start, channel)
    for t in range(0, steps, 4):
        t1, t2, t3 = min(t + 1, steps - 1), min(t + 2, steps - 1), min(t + 3, steps - 1)
        y0, y1 = load(scratch, t * FORWARD_RECORD + OUT), load(scratch, t1 * FORWARD_RECORD + OUT)
        y2, y3 = load(scratch, t2 * FORWARD_RECORD + OUT), load(scratch, t3 * FORWARD_RECORD + OUT)
        if job.scan.z != 0:
            z0, z1, z2, z3 = silu_four(
                load_some(z, t * z_row, count), load_some(z, t1 * z_row, count),
                load_some(z, t2 * z_row, count), load_some(z, t3 * z_row, count),
            )  # fmt: skip
            y0, y1, y2, y3 = y0 * z0, y1 * z1, y2 * z2, y3 * z3
        store_some(y, t * channels, y0, count)
        store_some(y, t1 * channels, y1, count)
        store_some(y, t2 * channels, y2, count)
        store_some(y, t3 * channels, y3, count)


@inlined
def _rows_ahead(job: Forward, which: int, batch: int, start: int, channel: int) -> Any:
    """The rows from `start` on that block `which` of states touches for the next chunk: x, dt, z, y, then nothing."""
    if which == 3:
        return job.y + 4 * ((batch * job.scan.length + start) * job.scan.channels + channel), job.scan.channels
    if which > 3 or (which == 2 and job.scan.z == 0):
        return job.y, 0
    return input_row(job.scan, which, batch, start, channel)


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
    blocks = scan.states // BLOCK
    for chunk in range(chunks):
        start = chunk * CHUNK
        steps = min(CHUNK, scan.length - start)
        B = scan.B + 4 * (batch * scan.B_batch + start * scan.B_row)
        C = scan.C + 4 * (batch * scan.C_batch + start * scan.C_row)
        reset = scan.reset + batch * scan.length + start if scan.reset != 0 else 0
        for group in range(first_group, last_group):
            channel = group * LANES
            count = min(LANES, scan.channels - channel)
            span = _load_chunk(job, batch, start, steps, channel, count, scratch)
            state = job.state + 4 * (batch * scan.groups + group) * group_floats
            border = scan.borders + 4 * ((batch * chunks + chunk) * scan.groups + group) * group_floats
            A = scan.A + 4 * group * group_floats
            for which in range(blocks, 4):  # too few blocks to touch all rows: these at once
                ahead, ahead_row = _rows_ahead(job, which, batch, start + steps, channel)
                prefetch_rows(ahead, ahead_row, steps, 0, LANES)
            for block in range(blocks):
                n = block * BLOCK
                at = 4 * n * LANES
                ahead, ahead_row = _rows_ahead(job, block, batch, start + steps, channel)
                _walk(
                    A + at, B + 4 * n, scan.B_row, C + 4 * n, scan.C_row, reset, state + at, border + at, steps,
                    scratch, ahead, ahead_row,
                )  # fmt: skip
                if any_slow(A + at, span, steps):
                    for i in range(BLOCK):
                        here = at + 4 * i * LANES
                        before = load(border + here, 0)
                        after = carry_forward(
                            A + here, B + 4 * (n + i), scan.B_row, reset, before, span, steps, scratch, FORWARD_RECORD
                        )
                        store(state + here, 0, after)
            _store_chunk(job, batch, start, steps, channel, count, scratch)
