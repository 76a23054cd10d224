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
    PAD,
    RECORD,
    SLOPE,
    Backward,
)
from dnamamba.kernels.cpu_math import exp2, sigmoid, softplus
from dnamamba.kernels.cpu_scan_layout import next_reset, prefetch_rows
from dnamamba.kernels.cpu_vector import (
    broadcast,
    fma,
    load,
    load_broadcast,
    load_some,
    row_sums,
    store,
    store_some,
    zeros,
)


@inlined
def _load_chunk(job: Backward, batch: int, start: int, steps: int, channel: int, count: int, scratch: int) -> None:
    """Fill a group's records from the inputs; DELTA_SUM and DRIVE_SUM start at zero."""
    scan = job.scan
    x = scan.x + 4 * (batch * scan.x_batch + start * scan.x_row + channel)
    dt = scan.dt + 4 * (batch * scan.dt_batch + start * scan.dt_row + channel)
    z = scan.z + 4 * (batch * scan.z_batch + start * scan.z_row + channel)
    dy = job.dy + 4 * ((batch * scan.length + start) * scan.channels + channel)
    bias, skip = load(scan.bias, channel), load(scan.D, channel)
    one = broadcast(1.0)
    for t in range(steps):
        at = t * RECORD
        raw = load_some(dt, t * scan.dt_row, count) + bias
        value = load_some(x, t * scan.x_row, count)
        grad = load_some(dy, t * scan.channels, count)
        delta = raw
        if scan.softplus:
            delta = softplus(raw)
            store(scratch, at + SLOPE, sigmoid(raw))
        if scan.z != 0:
            gate = load_some(z, t * scan.z_row, count)
            open_ = sigmoid(gate)
            # d silu / dz = s (1 + z (1 - s)); the ungated y is multiplied in at the end
            store(scratch, at + GATE, grad * open_ * fma(gate, one - open_, one))
            grad = grad * gate * open_
        store(scratch, at + DELTA, delta)
        store(scratch, at + DRIVE, delta * value)
        store(scratch, at + OUT, skip * value)
        store(scratch, at + GRAD, grad)
        store(scratch, at + DELTA_SUM, zeros())
        store(scratch, at + DRIVE_SUM, zeros())


@inlined
def _rebuild(
    A: int, B: int, B_row: int, C: int, C_row: int, reset: int, border: int, steps: int, scratch: int, kept: int,
    dC: int, dC_row: int,
) -> None:  # fmt: skip
    """Walk one block forward from its border; keep decay and previous state, sum y and dC on the way."""
    a0, a1, a2, a3 = load(A, 0), load(A, LANES), load(A, 2 * LANES), load(A, 3 * LANES)
    h0, h1, h2, h3 = load(border, 0), load(border, LANES), load(border, 2 * LANES), load(border, 3 * LANES)
    first = 0
    while first < steps:
        if next_reset(reset, first, first + 1) == first:
            h0, h1, h2, h3 = zeros(), zeros(), zeros(), zeros()
        last = next_reset(reset, first + 1, steps)
        for t in range(first, last):
            at, keep, b, c, sums = t * RECORD, t * KEPT, t * B_row, t * C_row, t * dC_row
            delta, drive, grad = load(scratch, at + DELTA), load(scratch, at + DRIVE), load(scratch, at + GRAD)
            e0, e1, e2, e3 = exp2(delta * a0), exp2(delta * a1), exp2(delta * a2), exp2(delta * a3)
            store(kept, keep, e0)
            store(kept, keep + LANES, e1)
            store(kept, keep + 2 * LANES, e2)
            store(kept, keep + 3 * LANES, e3)
            store(kept, keep + 4 * LANES, h0)
            store(kept, keep + 5 * LANES, h1)
            store(kept, keep + 6 * LANES, h2)
            store(kept, keep + 7 * LANES, h3)
            h0 = fma(h0, e0, drive * load_broadcast(B, b))
            h1 = fma(h1, e1, drive * load_broadcast(B, b + 1))
            h2 = fma(h2, e2, drive * load_broadcast(B, b + 2))
            h3 = fma(h3, e3, drive * load_broadcast(B, b + 3))
            store(dC, sums, fma(grad, h0, load(dC, sums)))
            store(dC, sums + LANES, fma(grad, h1, load(dC, sums + LANES)))
            store(dC, sums + 2 * LANES, fma(grad, h2, load(dC, sums + 2 * LANES)))
            store(dC, sums + 3 * LANES, fma(grad, h3, load(dC, sums + 3 * LANES)))
            out = load(scratch, at + OUT)
            out = fma(h1, load_broadcast(C, c + 1), fma(h0, load_broadcast(C, c), out))
            out = fma(h3, load_broadcast(C, c + 3), fma(h2, load_broadcast(C, c + 2), out))
            store(scratch, at + OUT, out)
        first = last


@inlined
def _return(
    A: int, B: int, B_row: int, C: int, C_row: int, reset: int, gamma: int, dA: int, steps: int, scratch: int,
    kept: int, dB: int, dB_row: int,
) -> None:  # fmt: skip
    """Walk one block back, from the gamma that the later chunk handed over."""
    a0, a1, a2, a3 = load(A, 0), load(A, LANES), load(A, 2 * LANES), load(A, 3 * LANES)
    g0, g1, g2, g3 = load(gamma, 0), load(gamma, LANES), load(gamma, 2 * LANES), load(gamma, 3 * LANES)
    s0, s1, s2, s3 = load(dA, 0), load(dA, LANES), load(dA, 2 * LANES), load(dA, 3 * LANES)
    for back in range(steps):
        t = steps - 1 - back
        at, keep, b, c, sums = t * RECORD, t * KEPT, t * B_row, t * C_row, t * dB_row
        delta, drive, grad = load(scratch, at + DELTA), load(scratch, at + DRIVE), load(scratch, at + GRAD)
        g0 = fma(grad, load_broadcast(C, c), g0)
        g1 = fma(grad, load_broadcast(C, c + 1), g1)
        g2 = fma(grad, load_broadcast(C, c + 2), g2)
        g3 = fma(grad, load_broadcast(C, c + 3), g3)
        store(dB, sums, fma(drive, g0, load(dB, sums)))
        store(dB, sums + LANES, fma(drive, g1, load(dB, sums + LANES)))
        store(dB, sums + 2 * LANES, fma(drive, g2, load(dB, sums + 2 * LANES)))
        store(dB, sums + 3 * LANES, fma(drive, g3, load(dB, sums + 3 * LANES)))
        total = load(scratch, at + DRIVE_SUM)
        total = fma(g1, load_broadcast(B, b + 1), fma(g0, load_broadcast(B, b), total))
        total = fma(g3, load_broadcast(B, b + 3), fma(g2, load_broadcast(B, b + 2), total))
        store(scratch, at + DRIVE_SUM, total)
        g0, g1 = g0 * load(kept, keep), g1 * load(kept, keep + LANES)
        g2, g3 = g2 * load(kept, keep + 2 * LANES), g3 * load(kept, keep + 3 * LANES)
        p0, p1 = g0 * load(kept, keep + 4 * LANES), g1 * load(kept, keep + 5 * LANES)
        p2, p3 = g2 * load(kept, keep + 6 * LANES), g3 * load(kept, keep + 7 * LANES)
        total = load(scratch, at + DELTA_SUM)
        total = fma(p3, a3, fma(p2, a2, fma(p1, a1, fma(p0, a0, total))))
        store(scratch, at + DELTA_SUM, total)
        s0, s1, s2, s3 = fma(p0, delta, s0), fma(p1, delta, s1), fma(p2, delta, s2), fma(p3, delta, s3)
        if reset != 0 and next_reset(reset, t, t + 1) == t:  # the state before belongs to another sequence
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
def _reduce_lanes(source: int, target: int, floats: int) -> None:
    """target[i] = sum of the LANES floats of source row i; floats is a multiple of LANES."""
    for i in range(0, floats, LANES):
        store(target, i, row_sums(source, i * LANES))


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
    first, width = first_group * LANES, min(last_group * LANES, scan.channels) - first_group * LANES
    kept = scratch + 4 * (CHUNK * RECORD + PAD)
    sums_B = kept + 4 * (CHUNK * KEPT + PAD)
    sums_C = sums_B + 4 * (CHUNK * group_floats + PAD)
    for back in range(chunks):
        chunk = chunks - 1 - back
        start = chunk * CHUNK
        steps = min(CHUNK, scan.length - start)
        B = scan.B + 4 * (batch * scan.B_batch + start * scan.B_row)
        C = scan.C + 4 * (batch * scan.C_batch + start * scan.C_row)
        reset = scan.reset + batch * scan.length + start if scan.reset != 0 else 0
        if chunk > 0:
            before = start - CHUNK
            prefetch_rows(scan.x + 4 * (batch * scan.x_batch + before * scan.x_row), scan.x_row, CHUNK, first, width)
            prefetch_rows(
                scan.dt + 4 * (batch * scan.dt_batch + before * scan.dt_row), scan.dt_row, CHUNK, first, width
            )
            prefetch_rows(
                job.dy + 4 * (batch * scan.length + before) * scan.channels, scan.channels, CHUNK, first, width
            )
            if scan.z != 0:
                prefetch_rows(
                    scan.z + 4 * (batch * scan.z_batch + before * scan.z_row), scan.z_row, CHUNK, first, width
                )
        for i in range(0, CHUNK * group_floats, LANES):
            store(sums_B, i, zeros())
            store(sums_C, i, zeros())
        for group in range(first_group, last_group):
            channel = group * LANES
            count = min(LANES, scan.channels - channel)
            _load_chunk(job, batch, start, steps, channel, count, scratch)
            border = scan.borders + 4 * ((batch * chunks + chunk) * scan.groups + group) * group_floats
            carried = 4 * (batch * scan.groups + group) * group_floats
            A = scan.A + 4 * group * group_floats
            for n in range(0, scan.states, BLOCK):
                at = 4 * n * LANES
                _rebuild(
                    A + at, B + 4 * n, scan.B_row, C + 4 * n, scan.C_row, reset, border + at, steps, scratch, kept,
                    sums_C + at, group_floats,
                )  # fmt: skip
                _return(
                    A + at, B + 4 * n, scan.B_row, C + 4 * n, scan.C_row, reset, job.gamma + carried + at,
                    job.dA + carried + at, steps, scratch, kept, sums_B + at, group_floats,
                )  # fmt: skip
            _store_chunk(job, batch, start, steps, group, count, scratch)
        target = 4 * (task * chunks + chunk) * CHUNK * scan.states
        _reduce_lanes(sums_B, job.dB + target, CHUNK * scan.states)
        _reduce_lanes(sums_C, job.dC + target, CHUNK * scan.states)
