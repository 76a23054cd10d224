"""The scan's gradient pass: recompute the states of one chunk from their saved borders, then walk it back.

Per block of BLOCK steps, last block first: walk forward from the border, four steps a round, and put a checkpoint into
a scratch slot every second step; then, two steps a round and the last ones first, recompute their states into registers
and walk back.
The carry is gamma[t] = exp(A * dt[t]) * g[t], with g the gradient of the state after step t; h[t-1] is kept, never
formed by subtraction, which would cancel for fast states.

What is a number a channel (step, gate, dx ..) is computed for all steps of a round at once, one lane a channel, and
travels to and from the states' layout in as few exchanges as can be, see triton_scan_forward.py. Rows arrive by
asynchronous copies, STAGES - 1 rounds ahead: a plain load holds one of a warp's six scoreboards until it lands, and
exponentials and shuffles then wait for it.
"""
# mypy: ignore-errors
# ruff: noqa: SIM102, SIM108
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import (
    LN2,
    LOG2E,
    advance,
    both_together,
    four_of,
    four_of_both,
    load,
    rows,
    sigmoid,
    softplus,
    softplus_slope,
    start_over,
    state_rows,
    store,
    time_step,
    two_of,
    two_of_both,
    two_together,
    zeros_as,
)

STAGES = 5
SUMMED = 128  # rows (batch, chunk) whose sums over time are on their way at a time, for 32 channels


@triton.jit(do_not_specialize=["L", "T", "n_chunks", "first_row", "last_row"])
def gradient_kernel(
    x_ptr, dt_ptr, z_ptr, B_ptr, C_ptr, A_ptr, D_ptr, bias_ptr, reset_ptr, dy_ptr, border_ptr, gamma_ptr,
    dx_ptr, ddt_ptr, dz_ptr, y_ptr, dBC_ptr, dA_ptr, dD_ptr, dbias_ptr, dstart_ptr, scratch_ptr,
    L, T, n_chunks, first_row, last_row, sxb, sdb, szb, sbb, scb, sgb, odxb, oddb, odzb,
    SX: tl.constexpr, SD: tl.constexpr, SZ: tl.constexpr, SB: tl.constexpr, SC: tl.constexpr, SG: tl.constexpr,
    ODX: tl.constexpr, ODD: tl.constexpr, ODZ: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BD: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    WORDS: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Grid: as many programs as scratch slots; each takes every so-many-th item of rows (batch, chunk) x tiles.

    dBC [tile, row, T, 2, N] holds each tile's own sum over channels; dA, dD, dbias [row, ..] each row's sums over time.
    y, if wanted, is the scan's output once more. dx, ddt, dz may lie in dy, dt, z: a row is read before it is written.
    """
    TILES: tl.constexpr = (D + BD - 1) // BD
    PAST_END: tl.constexpr = float("-inf") if SOFTPLUS else 0.0
    n = tl.arange(0, NP)
    lane = tl.arange(0, BD)
    two = tl.arange(0, 2)
    four = tl.arange(0, 4)
    n_BC = tl.arange(0, 2 * NP)  # states of B, then those of C
    on_n = n < N
    slot = tl.program_id(0).to(tl.int64) * ((BLOCK // 2 + 1) * NP * BD)
    scratch = scratch_ptr + slot + n[:, None] * BD + lane[None, :]
    n_rows = last_row - first_row
    for item in range(tl.program_id(0), n_rows * TILES, tl.num_programs(0)):
        tile = item % TILES
        line = first_row + item // TILES  # of [batch, chunk]
        b = (line // n_chunks).to(tl.int64)
        chunk = line % n_chunks
        line = line.to(tl.int64)
        d = tile * BD + lane
        on_d = d < D
        on = on_n[:, None] & on_d[None, :]
        nd = n[:, None] * D + d[None, :]
        A = load(A_ptr + nd, on, EVEN) * LOG2E
        bias = 0.0 if bias_ptr is None else load(bias_ptr + d, on_d, EVEN).to(tl.float32)[None, :]
        skip = 0.0 if D_ptr is None else load(D_ptr + d, on_d, EVEN).to(tl.float32)[None, :]
        if gamma_ptr is None:
            gamma = zeros_as(A)
        else:
            gamma = load(gamma_ptr + line * (N * D) + nd, on, EVEN)
        dA = tl.zeros([NP, BD], tl.float32)
        dD = tl.zeros([2, BD], tl.float32)
        dbias = tl.zeros([2, BD], tl.float32)

        first = chunk.to(tl.int64) * T
        left = tl.minimum(L - first, T).to(tl.int32)
        blocks = tl.cdiv(left, BLOCK)
        partial = dBC_ptr + (tile * n_rows + item // TILES).to(tl.int64) * T * (2 * N)
        for back in range(0, blocks):
            at = (blocks - 1 - back) * BLOCK  # first step of the block, in the chunk
            t0 = first + at
            end = left - at - 1  # last step of the chunk, counted from the block's first
            x_at = x_ptr + b * sxb + t0 * SX
            dt_at = dt_ptr + b * sdb + t0 * SD
            dy_at = dy_ptr + b * sgb + t0 * SG
            B_at = B_ptr + b * sbb + t0 * SB
            C_at = C_ptr + b * scb + t0 * SC
            z_at = z_ptr if z_ptr is None else z_ptr + b * szb + t0 * SZ
            reset_at = reset_ptr if reset_ptr is None else reset_ptr + b * L + t0
            zero = blocks * 0

            # Forward: a checkpoint every second step. The rows of a round are carried into it from the one before.
            h = load(border_ptr + (b * tl.cdiv(L, BLOCK) + t0 // BLOCK) * (N * D) + nd, on, EVEN)
            tl.store(scratch, h)
            t = zero + four
            x = rows(x_at, SX, t, end, d, on_d, EVEN).to(tl.float32)
            dt = rows(dt_at, SD, t, end, d, on_d, EVEN, PAST_END).to(tl.float32)
            B = state_rows(B_at, SB, t, end, n, N, NP, WORDS, EVEN)
            for i in tl.range(0, BLOCK, 4, num_stages=STAGES):
                t = zero + i + 4 + four
                next_x = rows(x_at, SX, t, end, d, on_d, EVEN).to(tl.float32)
                next_dt = rows(dt_at, SD, t, end, d, on_d, EVEN, PAST_END).to(tl.float32)
                next_B = state_rows(B_at, SB, t, end, n, N, NP, WORDS, EVEN)
                step = time_step(dt + bias, (zero + i + four <= end)[:, None], SOFTPLUS, EVEN)
                s0, s1, s2, s3, w0, w1, w2, w3 = four_of_both(step, step * x)
                B0, B1, B2, B3 = four_of(B)
                h = advance(h, A, s0[None, :], w0[None, :], B0[:, None], reset_at, zero + i, end, EVEN)
                h = advance(h, A, s1[None, :], w1[None, :], B1[:, None], reset_at, zero + i + 1, end, EVEN)
                tl.store(scratch + (i // 2 + 1) * (NP * BD), h)
                h = advance(h, A, s2[None, :], w2[None, :], B2[:, None], reset_at, zero + i + 2, end, EVEN)
                h = advance(h, A, s3[None, :], w3[None, :], B3[:, None], reset_at, zero + i + 3, end, EVEN)
                tl.store(scratch + (i // 2 + 2) * (NP * BD), h)
                x, dt, B = next_x, next_dt, next_B
            tl.debug_barrier()

            # Back, two steps a round: states forward into registers, then through them last to first.
            t = zero + BLOCK - 2 + two
            x = rows(x_at, SX, t, end, d, on_d, EVEN).to(tl.float32)
            dt = rows(dt_at, SD, t, end, d, on_d, EVEN, PAST_END).to(tl.float32)
            dout = rows(dy_at, SG, t, end, d, on_d, EVEN).to(tl.float32)
            z = x if z_ptr is None else rows(z_at, SZ, t, end, d, on_d, EVEN).to(tl.float32)
            B = state_rows(B_at, SB, t, end, n, N, NP, WORDS, EVEN)
            C = state_rows(C_at, SC, t, end, n, N, NP, WORDS, EVEN)
            for j in tl.range(0, BLOCK, 2, num_stages=STAGES):
                i = zero + BLOCK - 2 - j
                h0 = tl.load(scratch + i // 2 * (NP * BD))  # before the rows: its layout then stays the states' own
                t = tl.maximum(i - 2 + two, 0)
                next_x = rows(x_at, SX, t, end, d, on_d, EVEN).to(tl.float32)
                next_dt = rows(dt_at, SD, t, end, d, on_d, EVEN, PAST_END).to(tl.float32)
                next_dout = rows(dy_at, SG, t, end, d, on_d, EVEN).to(tl.float32)
                next_z = next_x if z_ptr is None else rows(z_at, SZ, t, end, d, on_d, EVEN).to(tl.float32)
                next_B = state_rows(B_at, SB, t, end, n, N, NP, WORDS, EVEN)
                next_C = state_rows(C_at, SC, t, end, n, N, NP, WORDS, EVEN)

                t = i + two
                raw = dt + bias
                if SOFTPLUS:
                    step, e = softplus(raw)
                    slope = softplus_slope(raw, e)
                else:
                    step = time_step(raw, (t <= end)[:, None], SOFTPLUS, EVEN)
                    slope = tl.where((t <= end)[:, None], 1.0, 0.0)
                dy = dout
                if z_ptr is not None:
                    gate = sigmoid(z)
                    dy = dout * z * gate
                s0, s1, w0, w1 = two_of_both(step, step * x)
                dy0, dy1 = two_of(dy)
                B0, B1, C0, C1 = two_of_both(B, C)
                s0, s1, w0, w1 = s0[None, :], s1[None, :], w0[None, :], w1[None, :]
                dy0, dy1 = dy0[None, :], dy1[None, :]
                B0, B1, C0, C1 = B0[:, None], B1[:, None], C0[:, None], C1[:, None]
                decay0 = tl.exp2(A * s0)
                decay1 = tl.exp2(A * s1)
                h0 = start_over(h0, reset_at, i, end, EVEN)
                h1 = decay0 * h0 + B0 * w0
                before1 = start_over(h1, reset_at, i + 1, end, EVEN)
                h2 = decay1 * before1 + B1 * w1
                g1 = C1 * dy1 + gamma
                gamma1 = start_over(decay1 * g1, reset_at, i + 1, end, EVEN)
                g0 = C0 * dy0 + gamma1
                gamma = start_over(decay0 * g0, reset_at, i, end, EVEN)
                kept0 = gamma * h0
                kept1 = gamma1 * before1
                dA += kept0 * s0 + kept1 * s1
                y, gB = both_together(
                    tl.sum(C0 * h1, axis=0), tl.sum(C1 * h2, axis=0), tl.sum(g0 * B0, axis=0), tl.sum(g1 * B1, axis=0)
                )  # fmt: skip
                slower = two_together(tl.sum(kept0 * A, axis=0), tl.sum(kept1 * A, axis=0))
                dstep = (gB * x + slower * LN2) * slope
                dB0, dC0 = tl.sum(g0 * w0, axis=1), tl.sum(h1 * dy0, axis=1)
                dB1, dC1 = tl.sum(g1 * w1, axis=1), tl.sum(h2 * dy1, axis=1)
                dBC = tl.permute(tl.join(tl.join(dB0, dC0), tl.join(dB1, dC1)), (2, 1, 0))
                dBC = tl.reshape(dBC, [2, 2 * NP])
                sums = partial + ((at + t) * (2 * N))[:, None] + (n_BC // NP * N + n_BC % NP)[None, :]
                store(sums, dBC, (n_BC % NP < N)[None, :] & (t <= end)[:, None], EVEN)
                on_t = on_d[None, :] & (t <= end)[:, None]
                at_t = (t0 + t)[:, None]
                if z_ptr is not None:
                    y += skip * x
                    slope_z = gate * (1.0 + z * (1.0 - gate))
                    store(dz_ptr + b * odzb + at_t * ODZ + d[None, :], dout * y * slope_z, on_t, EVEN)
                    if y_ptr is not None:
                        store(y_ptr + (b * L + at_t) * D + d[None, :], y * z * gate, on_t, EVEN)
                elif y_ptr is not None:
                    store(y_ptr + (b * L + at_t) * D + d[None, :], y + skip * x, on_t, EVEN)
                dD += dy * x
                dbias += dstep
                store(dx_ptr + b * odxb + at_t * ODX + d[None, :], skip * dy + step * gB, on_t, EVEN)
                store(ddt_ptr + b * oddb + at_t * ODD + d[None, :], dstep, on_t, EVEN)
                x, dt, dout, z, B, C = next_x, next_dt, next_dout, next_z, next_B, next_C
            tl.debug_barrier()
        store(dA_ptr + line * (N * D) + nd, dA, on, EVEN)
        store(dD_ptr + line * D + d, tl.sum(dD, axis=0), on_d, EVEN)
        store(dbias_ptr + line * D + d, tl.sum(dbias, axis=0), on_d, EVEN)
        if dstart_ptr is not None:
            if chunk == 0:
                store(dstart_ptr + b * (N * D) + nd, gamma, on, EVEN)


@triton.jit(do_not_specialize=["L", "T", "n_chunks", "first_row", "last_row"])
def sum_tiles_kernel(
    partial_ptr, dB_ptr, dC_ptr, L, T, n_chunks, first_row, last_row, TILES, N: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Add the tiles' parts of dB and dC in the order of the tiles. Grid: blocks of steps x rows (batch, chunk)."""
    blocks = tl.cdiv(T * (2 * N), SIZE)
    pid = tl.program_id(0)
    row = (first_row + pid // blocks).to(tl.int64)
    part = (last_row - first_row).to(tl.int64) * T * (2 * N)  # elements of one tile
    i = (pid % blocks) * SIZE + tl.arange(0, SIZE)  # of [T, 2, N]
    at = (pid // blocks).to(tl.int64) * T * (2 * N) + i
    t = (row % n_chunks) * T + i // (2 * N)
    on = (i < T * (2 * N)) & (t < L)
    total = tl.zeros([SIZE], tl.float32)
    for tile in range(0, TILES):
        total += tl.load(partial_ptr + tile * part + at, mask=on, other=0.0)
    k = i % (2 * N)
    out = ((row // n_chunks) * L + t) * N + k % N
    tl.store(dB_ptr + out, total.to(dB_ptr.dtype.element_ty), mask=on & (k < N))
    tl.store(dC_ptr + out, total.to(dC_ptr.dtype.element_ty), mask=on & (k >= N))


@triton.jit
def _sum_rows(ptr, STRIDE: tl.constexpr, d, on_d, n_rows, SUMMED: tl.constexpr):
    """The sum over rows, STRIDE apart, of float32 values at `d`; its order follows from the number of rows alone."""
    row = tl.arange(0, SUMMED)
    total = tl.zeros([SUMMED, d.shape[0]], tl.float32)
    for first in range(0, n_rows, SUMMED):
        at = (first + row).to(tl.int64)[:, None] * STRIDE + d[None, :]
        total += tl.load(ptr + at, mask=on_d[None, :] & (first + row < n_rows)[:, None], other=0.0)
    return tl.sum(total, axis=0)


@triton.jit(do_not_specialize=["n_rows"])
def sum_rows_kernel(
    dA_ptr, dD_ptr, dbias_ptr, sum_A_ptr, sum_D_ptr, sum_bias_ptr, n_rows,
    D: tl.constexpr, N: tl.constexpr, BD: tl.constexpr, SUMMED: tl.constexpr,
):  # fmt: skip
    """Add up the rows' dA [row, N, D], dD and dbias [row, D]. Grid: tiles of channels x (N states, D, bias).

    One launch: each of these sums is over in the time of a launch or two.
    """
    TILES: tl.constexpr = (D + BD - 1) // BD
    d = (tl.program_id(0) % TILES) * BD + tl.arange(0, BD)
    on_d = d < D
    which = tl.program_id(0) // TILES
    if which < N:
        total = _sum_rows(dA_ptr + which * D, N * D, d, on_d, n_rows, SUMMED)
        tl.store(sum_A_ptr + d * N + which, total.to(sum_A_ptr.dtype.element_ty), mask=on_d)
    elif which == N:
        if sum_D_ptr is not None:
            total = _sum_rows(dD_ptr, D, d, on_d, n_rows, SUMMED)
            tl.store(sum_D_ptr + d, total.to(sum_D_ptr.dtype.element_ty), mask=on_d)
    elif sum_bias_ptr is not None:
        total = _sum_rows(dbias_ptr, D, d, on_d, n_rows, SUMMED)
        tl.store(sum_bias_ptr + d, total.to(sum_bias_ptr.dtype.element_ty), mask=on_d)
