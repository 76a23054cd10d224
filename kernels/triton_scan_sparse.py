"""The scan's output pass where few programs share a multiprocessor: each must hide its own waiting.

The same walk as triton_scan_forward.py, arranged as in triton_scan_backward.py: two steps a round, what is a number a
channel computed for both at once, and rows by asynchronous copies. With 8 programs a multiprocessor it is a tenth
faster, with 16 a twentieth slower.
"""
# mypy: ignore-errors
# ruff: noqa: SIM108
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import (
    LOG2E,
    halves,
    load,
    pair,
    rows,
    sigmoid,
    start_over,
    state_rows,
    store,
    time_step,
    zeros_as,
)

STAGES = 4


@triton.jit(do_not_specialize=["L", "T", "n_chunks"])
def sparse_output_kernel(
    x_ptr, dt_ptr, z_ptr, B_ptr, C_ptr, A_ptr, D_ptr, bias_ptr, reset_ptr, start_ptr,
    y_ptr, border_ptr, final_ptr,
    L, T, n_chunks, sxb, sdb, szb, sbb, scb,
    SX: tl.constexpr, SD: tl.constexpr, SZ: tl.constexpr, SB: tl.constexpr, SC: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BD: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    WORDS: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Arguments and grid as in triton_scan_forward.output_kernel."""
    TILES: tl.constexpr = (D + BD - 1) // BD
    PAST_END: tl.constexpr = float("-inf") if SOFTPLUS else 0.0
    pid = tl.program_id(0)
    lane = tl.arange(0, BD)
    d = (pid % TILES) * BD + lane
    item = pid // TILES  # of [batch, chunk]
    b = (item // n_chunks).to(tl.int64)
    chunk = item % n_chunks
    n = tl.arange(0, NP)
    two = tl.arange(0, 2)
    on_d = d < D
    on = (n < N)[:, None] & on_d[None, :]
    nd = n[:, None] * D + d[None, :]
    A = load(A_ptr + nd, on, EVEN) * LOG2E
    bias = 0.0 if bias_ptr is None else load(bias_ptr + d, on_d, EVEN).to(tl.float32)[None, :]
    skip = 0.0 if D_ptr is None else load(D_ptr + d, on_d, EVEN).to(tl.float32)[None, :]
    if start_ptr is None:
        h = zeros_as(A)
    else:
        h = load(start_ptr + item.to(tl.int64) * (N * D) + nd, on, EVEN)
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
    t = zero + two
    x = rows(x_ptr, SX, t, last, d, on_d, EVEN).to(tl.float32)
    dt = rows(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END).to(tl.float32)
    z = x if z_ptr is None else rows(z_ptr, SZ, t, last, d, on_d, EVEN).to(tl.float32)
    B = state_rows(B_ptr, SB, t, last, n, N, NP, WORDS, EVEN)
    C = state_rows(C_ptr, SC, t, last, n, N, NP, WORDS, EVEN)
    for at in range(0, left, BLOCK):
        store(border_ptr + nd, h, on, EVEN)
        border_ptr += N * D
        for i in tl.range(at, at + BLOCK, 2, num_stages=STAGES):
            t = zero + i + 2 + two
            next_x = rows(x_ptr, SX, t, last, d, on_d, EVEN).to(tl.float32)
            next_dt = rows(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END).to(tl.float32)
            next_z = next_x if z_ptr is None else rows(z_ptr, SZ, t, last, d, on_d, EVEN).to(tl.float32)
            next_B = state_rows(B_ptr, SB, t, last, n, N, NP, WORDS, EVEN)
            next_C = state_rows(C_ptr, SC, t, last, n, N, NP, WORDS, EVEN)
            t = zero + i + two
            step = time_step(dt + bias, (t <= last)[:, None], SOFTPLUS, EVEN)
            # Joined and split: so the compiler moves them to the states' layout, not what they are made of.
            step, weight = tl.split(tl.join(step, step * x))
            decay0, decay1 = halves(tl.exp2(A[None, :, :] * step[:, None, :]))
            added0, added1 = halves(B[:, :, None] * weight[:, None, :])
            h0 = decay0 * start_over(h, reset_ptr, zero + i, last, EVEN) + added0
            h = decay1 * start_over(h0, reset_ptr, zero + i + 1, last, EVEN) + added1
            y = tl.sum(C[:, :, None] * pair(h0, h), axis=1) + skip * x
            if z_ptr is not None:
                y *= z * sigmoid(z)
            store(y_ptr + t.to(tl.int64)[:, None] * D + d[None, :], y, on_d[None, :] & (t <= last)[:, None], EVEN)
            x, dt, z, B, C = next_x, next_dt, next_z, next_B, next_C
    if chunk == n_chunks - 1:
        store(final_ptr + b * (D * N) + d[None, :] * N + n[:, None], h, on, EVEN)
