"""The compiled selective scan, backward: chunks last to first, each walked forward again from its border, then back.

With g[t] the gradient of h[t], gamma[t] = a[t] g[t] is what it hands on: g[t] = C[t] dy[t] + gamma[t+1].
gamma is carried over chunks, and h[t-1] is kept, never rebuilt as (h[t] - dt B x) / a, which cancels for fast states.
"""

from typing import Any

from dnamamba.kernels.cpu_compile import compiled, inlined
from dnamamba.kernels.cpu_jobs import (
    BLOCK,
    CHUNK,
    DELTA,
    DELTA_SUM,
    DRIVE,
    DRIVE_SUM,
    GATE,
    GRAD,
    KEPT,
    LANES,
    OUT,
    RECORD,
    ROW,
    SLOPE,
    Backward,
)
from dnamamba.kernels.cpu_math import exp2_four, sigmoid_four, softplus_four
from dnamamba.kernels.cpu_scan_carry import any_slow, carry_back
from dnamamba.kernels.cpu_scan_layout import input_row, next_reset, prefetch_rows, resets
from dnamamba.kernels.cpu_vector import (
    broadcast,
    final_sums,
    fma,
    load,
    load_broadcast,
    load_some,
    prefetch,
    quarter_sums,
    store,
    store_some,
    zeros,
)


@inlined
def _record(scratch: int, t: int, delta: Any, x: Any, skip: Any, grad: Any) -> None:
    at = t * RECORD
    store(scratch, at + DELTA, delta)
    store(scratch, at + DRIVE, delta * x)
    store(scratch, at + OUT, skip * x)
    store(scratch, at + GRAD, grad)
    store(scratch, at + DELTA_SUM, zeros())
    store(scratch, at + DRIVE_SUM, zeros())


@inlined
def _gate(scratch: int, t: int, grad: Any, z: Any, open_: Any) -> Any:
    """Gradient of the ungated y; GATE is what that y will be multiplied with for dz."""
    # d silu / dz = s (1 + z (1 - s)); the ungated y is multiplied in at the end
    one = broadcast(1.0)
    store(scratch, t * RECORD + GATE, grad * open_ * fma(z, one - open_, one))
    return grad * z * open_


@inlined
def _load_chunk(job: Backward, batch: int, start: int, steps: int, channel: int, count: int, scratch: int) -> Any:
    """Fill a group's records from the inputs, DELTA_SUM and DRIVE_SUM with zeros; return the sum of the deltas.

    Four steps at a time; past the end the last step is read again, into records that nobody reads.
    """
    scan = job.scan
    x, x_row = input_row(scan, 0, batch, start, channel)
    dt, dt_row = input_row(scan, 1, batch, start, channel)
    z, z_row = input_row(scan, 2, batch, start, channel)
    dy = job.dy + 4 * ((batch * scan.length + start) * scan.channels + channel)
    dy_row = scan.channels
    bias, skip = load(scan.bias, channel), load(scan.D, channel)
    span = zeros()
    for t in range(0, steps, 4):
        t1, t2, t3 = min(t + 1, steps - 1), min(t + 2, steps - 1), min(t + 3, steps - 1)
        d0, d1 = load_some(dt, t * dt_row, count) + bias, load_some(dt, t1 * dt_row, count) + bias
        d2, d3 = load_some(dt, t2 * dt_row, count) + bias, load_some(dt, t3 * dt_row, count) + bias
        if scan.softplus:
            s0, s1, s2, s3 = sigmoid_four(d0, d1, d2, d3)
            store(scratch, t * RECORD + SLOPE, s0)
            store(scratch, (t + 1) * RECORD + SLOPE, s1)
            store(scratch, (t + 2) * RECORD + SLOPE, s2)
            store(scratch, (t + 3) * RECORD + SLOPE, s3)
            d0, d1, d2, d3 = softplus_four(d0, d1, d2, d3)
        g0, g1 = load_some(dy, t * dy_row, count), load_some(dy, t1 * dy_row, count)
        g2, g3 = load_some(dy, t2 * dy_row, count), load_some(dy, t3 * dy_row, count)
        if scan.z != 0:
            z0, z1 = load_some(z, t * z_row, count), load_some(z, t1 * z_row, count)
            z2, z3 = load_some(z, t2 * z_row, count), load_some(z, t3 * z_row, count)
            o0, o1, o2, o3 = sigmoid_four(z0, z1, z2, z3)
            g0, g1 = _gate(scratch, t, g0, z0, o0), _gate(scratch, t + 1, g1, z1, o1)
            g2, g3 = _gate(scratch, t + 2, g2, z2, o2), _gate(scratch, t + 3, g3, z3, o3)
        _record(scratch, t, d0, load_some(x, t * x_row, count), skip, g0)
        _record(scratch, t + 1, d1, load_some(x, t1 * x_row, count), skip, g1)
        _record(scratch, t + 2, d2, load_some(x, t2 * x_row, count), skip, g2)
        _record(scratch, t + 3, d3, load_some(x, t3 * x_row, count), skip, g3)
        span = span + ((d0 + d1) + (d2 + d3))
    return span


@inlined
def _rebuild(
    A: int, B: int, B_row: int, C: int, C_row: int, reset: int, border: int, steps: int, scratch: int, kept: int,
    dC: int, dC_row: int, ahead: int, ahead_row: int,
) -> None:  # fmt: skip
    """Walk one block forward from its border; keep decay and decayed state, sum y and dC on the way."""
    a0, a1, a2, a3 = load(A, 0), load(A, LANES), load(A, 2 * LANES), load(A, 3 * LANES)
    h0, h1, h2, h3 = load(border, 0), load(border, LANES), load(border, 2 * LANES), load(border, 3 * LANES)
    first = 0
    while first < steps:
        if next_reset(reset, first, first + 1) == first:
            h0, h1, h2, h3 = zeros(), zeros(), zeros(), zeros()
        last = next_reset(reset, first + 1, steps)
        for t in range(first, last):
            at, keep, b, c, sums = t * RECORD, t * KEPT, t * B_row, t * C_row, t * dC_row
            prefetch(ahead, t * ahead_row)
            delta, drive, grad = load(scratch, at + DELTA), load(scratch, at + DRIVE), load(scratch, at + GRAD)
            e0, e1, e2, e3 = exp2_four(delta * a0, delta * a1, delta * a2, delta * a3)
            store(kept, keep, e0)
            store(kept, keep + LANES, e1)
            store(kept, keep + 2 * LANES, e2)
            store(kept, keep + 3 * LANES, e3)
            h0, h1, h2, h3 = h0 * e0, h1 * e1, h2 * e2, h3 * e3
            store(kept, keep + 4 * LANES, h0)
            store(kept, keep + 5 * LANES, h1)
            store(kept, keep + 6 * LANES, h2)
            store(kept, keep + 7 * LANES, h3)
            h0, h1 = fma(drive, load_broadcast(B, b), h0), fma(drive, load_broadcast(B, b + 1), h1)
            h2, h3 = fma(drive, load_broadcast(B, b + 2), h2), fma(drive, load_broadcast(B, b + 3), h3)
            store(dC, sums, load(dC, sums) + quarter_sums(grad * h0, grad * h1, grad * h2, grad * h3))
            out = load(scratch, at + OUT)
            out = fma(h1, load_broadcast(C, c + 1), fma(h0, load_broadcast(C, c), out))
            out = fma(h3, load_broadcast(C, c + 3), fma(h2, load_broadcast(C, c + 2), out))
            store(scratch, at + OUT, out)
        first = last


@inlined
def _return(
    A: int, B: int, B_row: int, C: int, C_row: int, reset: int, gamma: int, dA: int, steps: int, scratch: int,
    kept: int, dB: int, dB_row: int, ahead: int, ahead_row: int,
) -> None:  # fmt: skip
    """Walk one block back, from the gamma that the later chunk handed over."""
    a0, a1, a2, a3 = load(A, 0), load(A, LANES), load(A, 2 * LANES), load(A, 3 * LANES)
    g0, g1, g2, g3 = load(gamma, 0), load(gamma, LANES), load(gamma, 2 * LANES), load(gamma, 3 * LANES)
    s0, s1, s2, s3 = load(dA, 0), load(dA, LANES), load(dA, 2 * LANES), load(dA, 3 * LANES)
    for back in range(steps):
        t = steps - 1 - back
        at, keep, b, c, sums = t * RECORD, t * KEPT, t * B_row, t * C_row, t * dB_row
        prefetch(ahead, t * ahead_row)
        delta, drive, grad = load(scratch, at + DELTA), load(scratch, at + DRIVE), load(scratch, at + GRAD)
        g0, g1 = fma(grad, load_broadcast(C, c), g0), fma(grad, load_broadcast(C, c + 1), g1)
        g2, g3 = fma(grad, load_broadcast(C, c + 2), g2), fma(grad, load_broadcast(C, c + 3), g3)
        store(dB, sums, load(dB, sums) + quarter_sums(drive * g0, drive * g1, drive * g2, drive * g3))
        total = load(scratch, at + DRIVE_SUM)
        total = fma(g1, load_broadcast(B, b + 1), fma(g0, load_broadcast(B, b), total))
        total = fma(g3, load_broadcast(B, b + 3), fma(g2, load_broadcast(B, b + 2), total))
        store(scratch, at + DRIVE_SUM, total)
        p0, p1 = g0 * load(kept, keep + 4 * LANES), g1 * load(kept, keep + 5 * LANES)
        p2, p3 = g2 * load(kept, keep + 6 * LANES), g3 * load(kept, keep + 7 * LANES)
        g0, g1 = g0 * load(kept, keep), g1 * load(kept, keep + LANES)
        g2, g3 = g2 * load(kept, keep + 2 * LANES), g3 * load(kept, keep + 3 * LANES)
        total = load(scratch, at + DELTA_SUM)
        total = fma(p3, a3, fma(p2, a2, fma(p1, a1, fma(p0, a0, total))))
        store(scratch, at + DELTA_SUM, total)
        s0, s1, s2, s3 = fma(p0, delta, s0), fma(p1, delta, s1), fma(p2, delta, s2), fma(p3, delta, s3)
        if resets(reset, t):  # the state before belongs to another sequence
            g0, g1, g2, g3 = zeros(), zeros(), zeros(), zeros()
    store(gamma, 0, g0)
    store(gamma, LANES, g1)
    store(gamma, 2 * LANES, g2)
    store(gamma, 3 * LANES, g3)
    store(dA, 0, s0)
    store(dA, LANES, s1)
    store(dA, 2 * LANES, s2)
    store(dA, 3 * LANES, s3)


@inlined
def _store_chunk(job: Backward, batch: int, start: int, steps: int, group: int, count: int, scratch: int) -> None:
    """Write dx, ddt and dz of a group's chunk and add to its dD and dbias."""
    scan = job.scan
    channel = group * LANES
    x = scan.x + 4 * (batch * scan.x_batch + start * scan.x_row + channel)
    out = 4 * ((batch * scan.length + start) * scan.channels + channel)
    skip = load(scan.D, channel)
    sums = (batch * scan.groups + group) * LANES
    dD, dbias = load(job.dD, sums), load(job.dbias, sums)
    ln2 = broadcast(0.6931471805599453)  # A is held times log2(e)
    for t in range(steps):
        at, here = t * RECORD, t * scan.channels
        value, grad = load_some(x, t * scan.x_row, count), load(scratch, at + GRAD)
        driven = load(scratch, at + DRIVE_SUM)
        store_some(job.dx + out, here, fma(grad, skip, load(scratch, at + DELTA) * driven), count)
        ddt = fma(value, driven, ln2 * load(scratch, at + DELTA_SUM))
        if scan.softplus:
            ddt = ddt * load(scratch, at + SLOPE)
        store_some(job.ddt + out, here, ddt, count)
        if scan.z != 0:
            store_some(job.dz + out, here, load(scratch, at + GATE) * load(scratch, at + OUT), count)
        dD, dbias = fma(grad, value, dD), dbias + ddt
    store(job.dD, sums, dD)
    store(job.dbias, sums, dbias)


@inlined
def _finish_sums(source: int, target: int, states: int) -> None:
    """Add the four partial sums of every step and state, and clear them."""
    for t in range(CHUNK):
        for n in range(0, states, LANES):
            at, count = 4 * (t * states + n), min(LANES, states - n)
            v0, v1, v2, v3 = load(source, at), zeros(), zeros(), zeros()
            store(source, at, zeros())
            if count > BLOCK:
                v1 = load(source, at + LANES)
                store(source, at + LANES, zeros())
            if count > 2 * BLOCK:
                v2 = load(source, at + 2 * LANES)
                store(source, at + 2 * LANES, zeros())
            if count > 3 * BLOCK:
                v3 = load(source, at + 3 * LANES)
                store(source, at + 3 * LANES, zeros())
            store_some(target, t * states + n, final_sums(v0, v1, v2, v3), count)


@inlined
def _rows_ahead(job: Backward, which: int, batch: int, start: int, channel: int) -> Any:
    """The rows from `start` on that one of eight walks touches for the next chunk: x, dt, z, dy, dx, ddt, dz, none."""
    scan = job.scan
    row = 4 * ((batch * scan.length + start) * scan.channels + channel)
    if which == 3:
        return job.dy + row, scan.channels
    if which == 4:
        return job.dx + row, scan.channels
    if which == 5:
        return job.ddt + row, scan.channels
    if which > 6 or (scan.z == 0 and (which == 2 or which == 6)):
        return job.dx, 0
    if which == 6:
        return job.dz + row, scan.channels
    return input_row(scan, which, batch, start, channel)


@compiled
def walk_backward(job: Any, task: int, scratch: int) -> None:
    """Run task `task` of batch * ceil(groups / groups_per_task)."""
    scan = job.scan
    tasks_a_sequence = -(-scan.groups // scan.groups_per_task)
    batch = task // tasks_a_sequence
    first_group = task % tasks_a_sequence * scan.groups_per_task
    last_group = min(first_group + scan.groups_per_task, scan.groups)
    chunks = -(-scan.length // CHUNK)
    group_floats = scan.states * LANES
    blocks = scan.states // BLOCK
    sums_row = 4 * scan.states
    kept = scratch + 4 * CHUNK * RECORD
    handed = kept + 4 * CHUNK * KEPT
    sums_B = handed + 4 * ROW
    sums_C = sums_B + 4 * CHUNK * sums_row
    for i in range(0, CHUNK * sums_row, LANES):
        store(sums_B, i, zeros())
        store(sums_C, i, zeros())
    for back in range(chunks):
        chunk = chunks - 1 - back
        start = chunk * CHUNK
        steps = min(CHUNK, scan.length - start)
        B = scan.B + 4 * (batch * scan.B_batch + start * scan.B_row)
        C = scan.C + 4 * (batch * scan.C_batch + start * scan.C_row)
        reset = scan.reset + batch * scan.length + start if scan.reset != 0 else 0
        for group in range(first_group, last_group):
            channel = group * LANES
            count = min(LANES, scan.channels - channel)
            span = _load_chunk(job, batch, start, steps, channel, count, scratch)
            border = scan.borders + 4 * ((batch * chunks + chunk) * scan.groups + group) * group_floats
            carried = 4 * (batch * scan.groups + group) * group_floats
            A = scan.A + 4 * group * group_floats
            for which in range(blocks, 4):  # too few blocks to touch all rows: these at once
                ahead, ahead_row = _rows_ahead(job, which, batch, start - CHUNK, channel)
                prefetch_rows(ahead, ahead_row, steps, 0, LANES)
            for block in range(blocks):
                n = block * BLOCK
                at = 4 * n * LANES
                gamma = job.gamma + carried + at
                ahead, ahead_row = _rows_ahead(job, block, batch, start - CHUNK, channel)
                _rebuild(
                    A + at, B + 4 * n, scan.B_row, C + 4 * n, scan.C_row, reset, border + at, steps, scratch, kept,
                    sums_C + 16 * n, sums_row, ahead, ahead_row,
                )  # fmt: skip
                slow = any_slow(A + at, span, steps)
                if slow:
                    for i in range(0, 4 * BLOCK, 4):
                        here = i * LANES
                        before = carry_back(
                            A + at + here, C + 4 * n + i, scan.C_row, reset, load(gamma + here, 0), span, steps,
                            scratch, RECORD,
                        )  # fmt: skip
                        store(handed + here, 0, before)
                ahead, ahead_row = _rows_ahead(job, 4 + block, batch, start - CHUNK, channel)
                _return(
                    A + at, B + 4 * n, scan.B_row, C + 4 * n, scan.C_row, reset, gamma, job.dA + carried + at, steps,
                    scratch, kept, sums_B + 16 * n, sums_row, ahead, ahead_row,
                )  # fmt: skip
                if slow:
                    for i in range(0, BLOCK * LANES, LANES):
                        store(gamma, i, load(handed, i))
            _store_chunk(job, batch, start, steps, group, count, scratch)
        target = 4 * (task * chunks + chunk) * CHUNK * scan.states
        _finish_sums(sums_B, job.dB + target, scan.states)
        _finish_sums(sums_C, job.dC + target, scan.states)
