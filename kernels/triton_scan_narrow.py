"""The output pass in tiles half as wide: one walk replaces chunks, and the walk that finds their states.

The walk of triton_scan_sparse.py with four steps a round. A thread holds four neighbouring states of two channels,
which a load of A as the caller has it, [D, N], decides: all that meets it follows. 93 instructions a step and tile of
16 channels, where the tile of 32 has 168: two tiles on a scheduler then hide each other's waiting.
"""
# mypy: ignore-errors
# ruff: noqa: SIM108
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import (
    LOG2E,
    load,
    rows,
    sigmoid,
    start_over,
    state_rows,
    store,
    time_step,
    zeros_as,
)

STAGES = 4


@triton.jit
def _each(v):
    """The four steps of [4, ..], one by one."""
    v = tl.reshape(v, [2, 2, v.shape[1]])
    first, second = tl.split(tl.permute(v, (2, 1, 0)))  # steps 0, 1 and 2, 3
    v0, v1 = tl.split(first)
    v2, v3 = tl.split(second)
    return v0, v1, v2, v3


@triton.jit
def _together(v0, v1, v2, v3):
    """The inverse of `_each`."""
    v = tl.join(tl.join(v0, v1), tl.join(v2, v3))
    return tl.reshape(tl.permute(v, (2, 1, 0)), [4, v0.shape[0]])


@triton.jit
def _step(h, A, step, weight, B, reset_ptr, t, last, EVEN: tl.constexpr):
    """The state after step `t`."""
    old = start_over(h, reset_ptr, t, last, EVEN)
    return tl.exp2(A * step[:, None]) * old + B[None, :] * weight[:, None]


@triton.jit(do_not_specialize=["L", "T", "n_chunks"], do_not_specialize_on_alignment=["border_ptr"])
def narrow_output_kernel(
    x_ptr, dt_ptr, z_ptr, B_ptr, C_ptr, A_ptr, D_ptr, bias_ptr, reset_ptr, start_ptr,
    y_ptr, border_ptr, final_ptr,
    L, T, n_chunks, sxb, sdb, szb, sbb, scb,
    SX: tl.constexpr, SD: tl.constexpr, SZ: tl.constexpr, SB: tl.constexpr, SC: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BD: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    WORDS: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Arguments and grid as in triton_scan_forward.output_kernel, but A [D, N] and start [.., D, N]."""
    TILES: tl.constexpr = (D + BD - 1) // BD
    PAST_END: tl.constexpr = float("-inf") if SOFTPLUS else 0.0
    pid = tl.program_id(0)
    d = (pid % TILES) * BD + tl.arange(0, BD)
    item = pid // TILES  # of [batch, chunk]
    b = (item // n_chunks).to(tl.int64)
    chunk = item % n_chunks
    n = tl.arange(0, NP)
    steps = tl.arange(0, 4)
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
    t = zero + steps
    x = rows(x_ptr, SX, t, last, d, on_d, EVEN).to(tl.float32)
    dt = rows(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END).to(tl.float32)
    z = x if z_ptr is None else rows(z_ptr, SZ, t, last, d, on_d, EVEN).to(tl.float32)
    B = state_rows(B_ptr, SB, t, last, n, N, NP, WORDS, EVEN)
    C = state_rows(C_ptr, SC, t, last, n, N, NP, WORDS, EVEN)
    for i in tl.range(0, left, 4, num_stages=STAGES):
        if i % BLOCK == 0:
            store(border_ptr + ((zero + i) // BLOCK).to(tl.int64) * (N * D) + nd, h, on, EVEN)
        t = zero + i + 4 + steps
        next_x = rows(x_ptr, SX, t, last, d, on_d, EVEN).to(tl.float32)
        next_dt = rows(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END).to(tl.float32)
        next_z = next_x if z_ptr is None else rows(z_ptr, SZ, t, last, d, on_d, EVEN).to(tl.float32)
        next_B = state_rows(B_ptr, SB, t, last, n, N, NP, WORDS, EVEN)
        next_C = state_rows(C_ptr, SC, t, last, n, N, NP, WORDS, EVEN)
        t = zero + i + steps
        step = time_step(dt + bias, (t <= last)[:, None], SOFTPLUS, EVEN)
        # Joined and split: so the compiler moves them to the states' layout, not what they are made of.
        step, weight = tl.split(tl.join(step, step * x))
        s0, s1, s2, s3 = _each(step)
        w0, w1, w2, w3 = _each(weight)
        B0, B1, B2, B3 = _each(B)
        C0, C1, C2, C3 = _each(C)
        h = _step(h, A, s0, w0, B0, reset_ptr, zero + i, last, EVEN)
        y0 = tl.sum(h * C0[None, :], axis=1)
        h = _step(h, A, s1, w1, B1, reset_ptr, zero + i + 1, last, EVEN)
        y1 = tl.sum(h * C1[None, :], axis=1)
        h = _step(h, A, s2, w2, B2, reset_ptr, zero + i + 2, last, EVEN)
        y2 = tl.sum(h * C2[None, :], axis=1)
        h = _step(h, A, s3, w3, B3, reset_ptr, zero + i + 3, last, EVEN)
        y3 = tl.sum(h * C3[None, :], axis=1)
        y = _together(y0, y1, y2, y3) + skip * x
        if z_ptr is not None:
            y *= z * sigmoid(z)
        store(y_ptr + t.to(tl.int64)[:, None] * D + d[None, :], y, on_d[None, :] & (t <= last)[:, None], EVEN)
        x, dt, z, B, C = next_x, next_dt, next_z, next_B, next_C
    if chunk == n_chunks - 1:
        store(final_ptr + b * (D * N) + dn, h, on, EVEN)
