"""The scan's gradient pass: recompute the states of one chunk from their saved borders, then walk it back.

Per block of BLOCK steps, last block first: walk forward from the border and put a checkpoint into a scratch slot every
K steps; then, K steps at a time and last steps first, recompute K states into registers and walk back through them.
The carry is gamma[t] = exp(A * dt[t]) * g[t], with g the gradient of the state after step t; h[t-1] is kept, never
formed by subtraction, which would cancel for fast states.
"""
# mypy: ignore-errors
# ruff: noqa: RUF005, SIM102, SIM108
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import LN2, LOG2E, load, row, sigmoid, softplus, softplus_slope, store, time_step

K = 2  # steps whose states live in registers
R = 4  # steps a round of the recomputation, a multiple of K


@triton.jit(do_not_specialize=["L", "T", "n_chunks", "first_row", "last_row"])
def gradient_kernel(
    x_ptr, dt_ptr, z_ptr, B_ptr, C_ptr, A_ptr, D_ptr, bias_ptr, reset_ptr, dy_ptr, border_ptr, gamma_ptr,
    dx_ptr, ddt_ptr, dz_ptr, dBC_ptr, dA_ptr, dD_ptr, dbias_ptr, dstart_ptr, scratch_ptr,
    L, T, n_chunks, first_row, last_row, sxb, sdb, szb, sbb, scb, sgb,
    SX: tl.constexpr, SD: tl.constexpr, SZ: tl.constexpr, SB: tl.constexpr, SC: tl.constexpr, SG: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BD: tl.constexpr, BLOCK: tl.constexpr, K: tl.constexpr,
    R: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Grid: as many programs as scratch slots; each takes every so-many-th item of rows (batch, chunk) x tiles.

    dBC [tile, row, T, 2, N] holds each tile's own sum over channels; dA, dD, dbias [row, ..] each row's sums over time.
    """
    TILES: tl.constexpr = (D + BD - 1) // BD
    PAST_END: tl.constexpr = float("-inf") if SOFTPLUS else 0.0
    n = tl.arange(0, NP)
    lane = tl.arange(0, BD)
    on_n = n < N
    slot = tl.program_id(0).to(tl.int64) * ((BLOCK // K + 1) * NP * BD)
    scratch = scratch_ptr + slot + n[:, None] * BD + lane[None, :]
    rows = (last_row - first_row).to(tl.int64)
    for item in range(tl.program_id(0), rows * TILES, tl.num_programs(0)):
        tile = item % TILES
        line = (first_row + item // TILES).to(tl.int64)  # of [batch, chunk]
        b = line // n_chunks
        chunk = line % n_chunks
        d = tile * BD + lane
        on_d = d < D
        on = on_n[:, None] & on_d[None, :]
        nd = n[:, None] * D + d[None, :]
        A = load(A_ptr + nd, on, EVEN) * LOG2E
        bias = 0.0 if bias_ptr is None else load(bias_ptr + d, on_d, EVEN).to(tl.float32)
        skip = 0.0 if D_ptr is None else load(D_ptr + d, on_d, EVEN).to(tl.float32)
        if gamma_ptr is None:
            gamma = tl.zeros([NP, BD], tl.float32)
        else:
            gamma = load(gamma_ptr + line * (N * D) + nd, on, EVEN)
        dA = tl.zeros([NP, BD], tl.float32)
        dD = tl.zeros([BD], tl.float32)
        dbias = tl.zeros([BD], tl.float32)

        first = chunk * T
        left = tl.minimum(L - first, T).to(tl.int32)
        blocks = tl.cdiv(left, BLOCK)
        partial = dBC_ptr + (tile * rows + item // TILES) * T * (2 * N)
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
            zero = blocks * 0

            # Forward: a checkpoint every K steps. Rows are loaded R steps ahead, see triton_scan_forward.py.
            h = load(border_ptr + (b * tl.cdiv(L, BLOCK) + t0 // BLOCK) * (N * D) + nd, on, EVEN)
            tl.store(scratch, h)
            xs, dts, Bs = (), (), ()
            for u in tl.static_range(R):
                xs = xs + (row(x_at, SX, zero + u, end, d, on_d, EVEN),)
                dts = dts + (row(dt_at, SD, zero + u, end, d, on_d, EVEN, PAST_END),)
                Bs = Bs + (row(B_at, SB, zero + u, end, n, on_n, EVEN),)
            for i in range(0, BLOCK, R):
                next_xs, next_dts, next_Bs = (), (), ()
                for u in tl.static_range(R):
                    t = zero + i + u
                    next_xs = next_xs + (row(x_at, SX, t + R, end, d, on_d, EVEN),)
                    next_dts = next_dts + (row(dt_at, SD, t + R, end, d, on_d, EVEN, PAST_END),)
                    next_Bs = next_Bs + (row(B_at, SB, t + R, end, n, on_n, EVEN),)
                    step = time_step(dts[u].to(tl.float32) + bias, t <= end, SOFTPLUS, EVEN)
                    if reset_ptr is not None:
                        h = tl.where(load(reset_ptr + b * L + t0 + t, t <= end, EVEN, 0) != 0, 0.0, h)
                    weight = step * xs[u].to(tl.float32)
                    h = tl.exp2(A * step[None, :]) * h + Bs[u].to(tl.float32)[:, None] * weight[None, :]
                    if u % K == K - 1:
                        tl.store(scratch + (i + u + 1) // K * (NP * BD), h)
                xs, dts, Bs = next_xs, next_dts, next_Bs
            tl.debug_barrier()

            # Back, K steps a round: states forward into registers, then through them last to first.
            xs, dts, zs, dys, Bs, Cs = (), (), (), (), (), ()
            for u in tl.static_range(K):
                t = zero + BLOCK - K + u
                xs = xs + (row(x_at, SX, t, end, d, on_d, EVEN),)
                dts = dts + (row(dt_at, SD, t, end, d, on_d, EVEN, PAST_END),)
                dys = dys + (row(dy_at, SG, t, end, d, on_d, EVEN),)
                if z_ptr is not None:
                    zs = zs + (row(z_at, SZ, t, end, d, on_d, EVEN),)
                Bs = Bs + (row(B_at, SB, t, end, n, on_n, EVEN),)
                Cs = Cs + (row(C_at, SC, t, end, n, on_n, EVEN),)
            h_next = tl.load(scratch + (BLOCK // K - 1) * (NP * BD))
            for j in range(0, BLOCK, K):
                i = zero + BLOCK - K - j
                h = h_next
                before, after, decays, steps, slopes = (), (), (), (), ()
                for u in tl.static_range(K):
                    t = i + u
                    raw = dts[u].to(tl.float32) + bias
                    if SOFTPLUS:
                        step, e = softplus(raw)
                        slopes = slopes + (softplus_slope(raw, e),)
                    else:
                        step = time_step(raw, t <= end, SOFTPLUS, EVEN)
                        slopes = slopes + (tl.where(t <= end, 1.0, 0.0),)
                    if reset_ptr is not None:
                        h = tl.where(load(reset_ptr + b * L + t0 + t, t <= end, EVEN, 0) != 0, 0.0, h)
                    decay = tl.exp2(A * step[None, :])
                    before = before + (h,)
                    h = decay * h + Bs[u].to(tl.float32)[:, None] * (step * xs[u].to(tl.float32))[None, :]
                    after = after + (h,)
                    decays = decays + (decay,)
                    steps = steps + (step,)
                next_xs, next_dts, next_zs, next_dys, next_Bs, next_Cs = (), (), (), (), (), ()
                h_next = tl.load(scratch + tl.maximum(i // K - 1, 0) * (NP * BD))
                for u in tl.static_range(K - 1, -1, -1):
                    t = i + u
                    ahead = tl.maximum(t - K, 0)
                    next_xs = (row(x_at, SX, ahead, end, d, on_d, EVEN),) + next_xs
                    next_dts = (row(dt_at, SD, ahead, end, d, on_d, EVEN, PAST_END),) + next_dts
                    next_dys = (row(dy_at, SG, ahead, end, d, on_d, EVEN),) + next_dys
                    if z_ptr is not None:
                        next_zs = (row(z_at, SZ, ahead, end, d, on_d, EVEN),) + next_zs
                    next_Bs = (row(B_at, SB, ahead, end, n, on_n, EVEN),) + next_Bs
                    next_Cs = (row(C_at, SC, ahead, end, n, on_n, EVEN),) + next_Cs

                    on_t = on_d & (t <= end)
                    on_tn = on_n & (t <= end)
                    out = (b * L + t0 + t) * D
                    sums = partial + (at + t) * (2 * N) + n
                    x = xs[u].to(tl.float32)
                    dy = dys[u].to(tl.float32)
                    C = Cs[u].to(tl.float32)[:, None]
                    if z_ptr is not None:
                        z = zs[u].to(tl.float32)
                        gate = sigmoid(z)
                        y = tl.sum(C * after[u], axis=0) + skip * x
                        store(dz_ptr + out + d, dy * y * gate * (1.0 + z * (1.0 - gate)), on_t, EVEN)
                        dy *= z * gate
                    g = C * dy[None, :] + gamma
                    store(sums + N, tl.sum(after[u] * dy[None, :], axis=1), on_tn, EVEN)
                    store(sums, tl.sum(g * (steps[u] * x)[None, :], axis=1), on_tn, EVEN)
                    gB = tl.sum(g * Bs[u].to(tl.float32)[:, None], axis=0)
                    gamma = decays[u] * g
                    if reset_ptr is not None:
                        gamma = tl.where(load(reset_ptr + b * L + t0 + t, t <= end, EVEN, 0) != 0, 0.0, gamma)
                    remembered = gamma * before[u]
                    dA += remembered * steps[u][None, :]
                    dstep = (gB * x + tl.sum(remembered * A, axis=0) * LN2) * slopes[u]
                    dD += dy * x
                    dbias += dstep
                    store(dx_ptr + out + d, skip * dy + steps[u] * gB, on_t, EVEN)
                    store(ddt_ptr + out + d, dstep, on_t, EVEN)
                xs, dts, zs, dys, Bs, Cs = next_xs, next_dts, next_zs, next_dys, next_Bs, next_Cs
            tl.debug_barrier()
        store(dA_ptr + line * (N * D) + nd, dA, on, EVEN)
        store(dD_ptr + line * D + d, dD, on_d, EVEN)
        store(dbias_ptr + line * D + d, dbias, on_d, EVEN)
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
