"""The scan's output pass: walk one chunk of one tile of channels in order, state in registers, and write y.

Four steps a round. What is a number a channel (step size, gate, y) is computed for all four at once, one lane a
channel; a thread holds four neighbouring states of several channels, which a load of A as the caller has it, [D, N],
decides: all that meets it follows. What changes its layout on the way (a store, a barrier and a load in shared memory,
which the walk waits for) changes it in few exchanges: step sizes with their products with x, B with C. Rows arrive by
asynchronous copies, STAGES - 1 rounds ahead.
"""
# mypy: ignore-errors
# ruff: noqa: SIM108
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import (
    LOG2E,
    advance,
    four_of_both,
    four_together,
    load,
    rows,
    sigmoid,
    state_rows,
    store,
    time_step,
    zeros_as,
)

STAGES = 4


@triton.jit(do_not_specialize=["L", "T", "n_chunks"], do_not_specialize_on_alignment=["border_ptr"])
def output_kernel(
    x_ptr, dt_ptr, z_ptr, B_ptr, C_ptr, A_ptr, D_ptr, bias_ptr, reset_ptr, start_ptr,
    y_ptr, border_ptr, final_ptr,
    L, T, n_chunks, sxb, sdb, szb, sbb, scb,
    SX: tl.constexpr, SD: tl.constexpr, SZ: tl.constexpr, SB: tl.constexpr, SC: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BD: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    WORDS: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Grid: tiles of channels x chunks x batch, tiles fastest, so that neighbours share rows of B and C in the cache.

    A [D, N], start [.., D, N] and final [.., D, N] as the caller has them, borders [.., N, D].
    """
    TILES: tl.constexpr = (D + BD - 1) // BD
    PAST_END: tl.constexpr = float("-inf") if SOFTPLUS else 0.0
    pid = tl.program_id(0)
    d = (pid % TILES) * BD + tl.arange(0, BD)
    item = pid // TILES  # of [batch, chunk]
    b = (item // n_chunks).to(tl.int64)
    chunk = item % n_chunks
    n = tl.arange(0, NP)
    four = tl.arange(0, 4)
    on_d = d < D
    on = on_d[:, None] & (n < N)[None, :]
    dn = d[:, None] * N + n[None, :]
    nd = d[:, None] + n[None, :] * D
    A = load(A_ptr + dn, on, EVEN) * LOG2E
    bias = 0.0 if bias_ptr is None else load(bias_ptr + d, on_d, EVEN).to(tl.float32)[None, :]
    skip = 0.0 if D_ptr is None else load(D_ptr + d, on_d, EVEN).to(tl.float32)[None, :]
    if start_ptr is None:
        h = zeros_as(A)
    else:
        h = load(start_ptr + item.to(tl.int64) * (N * D) + dn, on, EVEN)
    first = chunk.to(tl.int64) * T
    x_ptr += b * sxb + first * SX
    dt_ptr += b * sdb + first * SD
    B_ptr += b * sbb + first * SB
    C_ptr += b * scb + first * SC
    y_ptr += (b * L + first) * D
    if z_ptr is not None:
        z_ptr += b * szb + first * SZ
    if reset_ptr is not None:
        reset_ptr += b * L + first
    border_ptr += (b * tl.cdiv(L, BLOCK) + first // BLOCK) * (N * D)
    left = tl.minimum(L - first, T).to(tl.int32)
    last = left - 1
    zero = left * 0
    t = zero + four
    x = rows(x_ptr, SX, t, last, d, on_d, EVEN).to(tl.float32)
    dt = rows(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END).to(tl.float32)
    z = x if z_ptr is None else rows(z_ptr, SZ, t, last, d, on_d, EVEN).to(tl.float32)
    B = state_rows(B_ptr, SB, t, last, n, N, NP, WORDS, EVEN)
    C = state_rows(C_ptr, SC, t, last, n, N, NP, WORDS, EVEN)
    for i in tl.range(0, left, 4, num_stages=STAGES):
        if i % BLOCK == 0:
            store(border_ptr + ((zero + i) // BLOCK).to(tl.int64) * (N * D) + nd, h, on, EVEN)
        t = zero + i + 4 + four
        next_x = rows(x_ptr, SX, t, last, d, on_d, EVEN).to(tl.float32)
        next_dt = rows(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END).to(tl.float32)
        next_z = next_x if z_ptr is None else rows(z_ptr, SZ, t, last, d, on_d, EVEN).to(tl.float32)
        next_B = state_rows(B_ptr, SB, t, last, n, N, NP, WORDS, EVEN)
        next_C = state_rows(C_ptr, SC, t, last, n, N, NP, WORDS, EVEN)
        t = zero + i + four
        step = time_step(dt + bias, (t <= last)[:, None], SOFTPLUS, EVEN)
        s0, s1, s2, s3, w0, w1, w2, w3 = four_of_both(step, step * x)
        B0, B1, B2, B3, C0, C1, C2, C3 = four_of_both(B, C)
        h = advance(h, A, s0[:, None], w0[:, None], B0[None, :], reset_ptr, zero + i, last, EVEN)
        y0 = tl.sum(h * C0[None, :], axis=1)
        h = advance(h, A, s1[:, None], w1[:, None], B1[None, :], reset_ptr, zero + i + 1, last, EVEN)
        y1 = tl.sum(h * C1[None, :], axis=1)
        h = advance(h, A, s2[:, None], w2[:, None], B2[None, :], reset_ptr, zero + i + 2, last, EVEN)
        y2 = tl.sum(h * C2[None, :], axis=1)
        h = advance(h, A, s3[:, None], w3[:, None], B3[None, :], reset_ptr, zero + i + 3, last, EVEN)
        y3 = tl.sum(h * C3[None, :], axis=1)
        y = four_together(y0, y1, y2, y3) + skip * x
        if z_ptr is not None:
            y *= z * sigmoid(z)
        store(y_ptr + t.to(tl.int64)[:, None] * D + d[None, :], y, on_d[None, :] & (t <= last)[:, None], EVEN)
        x, dt, z, B, C = next_x, next_dt, next_z, next_B, next_C
    if chunk == n_chunks - 1:
        store(final_ptr + b * (D * N) + dn, h, on, EVEN)
