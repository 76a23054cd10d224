"""The scan's output pass: walk one chunk of one tile of channels in order, state in registers, and write y."""
# mypy: ignore-errors
# ruff: noqa: RUF005
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import LOG2E, load, row, sigmoid, state_row, store, time_step, unpack

UNROLL = 4  # steps a round; rows are loaded so many steps ahead
UNROLL_FULL = 2  # the same where programs wait for a place on the machine: more of them fit
REGISTERS_FULL = 96


# Alignment of the [N, D] tensors is hidden on purpose: without wide loads the compiler keeps all states of a channel in
# one thread, and the sum over states needs no exchange between threads.
@triton.jit(
    do_not_specialize=["L", "T", "n_chunks"],
    do_not_specialize_on_alignment=["A_ptr", "start_ptr", "border_ptr", "final_ptr"],
)
def output_kernel(
    x_ptr, dt_ptr, z_ptr, B_ptr, C_ptr, A_ptr, D_ptr, bias_ptr, reset_ptr, start_ptr,
    y_ptr, border_ptr, final_ptr,
    L, T, n_chunks, sxb, sdb, szb, sbb, scb,
    SX: tl.constexpr, SD: tl.constexpr, SZ: tl.constexpr, SB: tl.constexpr, SC: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BD: tl.constexpr, BLOCK: tl.constexpr, U: tl.constexpr,
    WORDS: tl.constexpr, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Grid: tiles of channels x chunks x batch, tiles fastest, so that neighbours share rows of B and C in the cache.

    To save registers, ptxas moves a load down to its first use, or to the first store or barrier it must not cross. So
    each round of U steps first loads the rows of the next round and carries them over the back edge of the loop.
    """
    TILES: tl.constexpr = (D + BD - 1) // BD
    pid = tl.program_id(0)
    d = (pid % TILES) * BD + tl.arange(0, BD)
    item = pid // TILES  # of [batch, chunk]
    b = (item // n_chunks).to(tl.int64)
    chunk = item % n_chunks
    m = tl.arange(0, NP // 2)  # state n = 2 m + p, in plane p
    on_d = d < D

    bias = 0.0 if bias_ptr is None else load(bias_ptr + d, on_d, EVEN).to(tl.float32)
    skip = 0.0 if D_ptr is None else load(D_ptr + d, on_d, EVEN).to(tl.float32)
    A, h = (), ()  # two planes [NP / 2, BD]
    for p in tl.static_range(2):
        on = (2 * m + p < N)[:, None] & on_d[None, :]
        nd = (2 * m + p)[:, None] * D + d[None, :]
        A = A + (load(A_ptr + nd, on, EVEN) * LOG2E,)
        if start_ptr is None:
            h = h + (tl.zeros([NP // 2, BD], tl.float32),)
        else:
            h = h + (load(start_ptr + item.to(tl.int64) * (N * D) + nd, on, EVEN),)

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

    PAST_END: tl.constexpr = float("-inf") if SOFTPLUS else 0.0  # a step of length zero leaves the state as it is
    left = tl.minimum(L - first, T).to(tl.int32)  # steps of this chunk
    last = left - 1
    xs, dts, zs = (), (), ()
    for u in tl.static_range(U):
        t = left * 0 + u
        xs = xs + (row(x_ptr, SX, t, last, d, on_d, EVEN),)
        dts = dts + (row(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END),)
        if z_ptr is not None:
            zs = zs + (row(z_ptr, SZ, t, last, d, on_d, EVEN),)
    Bs, Cs = (), ()
    for q in tl.static_range(U):
        Bs = Bs + (state_row(B_ptr, SB, left * 0 + q, last, m, N, WORDS is not None, EVEN),)
        Cs = Cs + (state_row(C_ptr, SC, left * 0 + q, last, m, N, WORDS is not None, EVEN),)
    for at in range(0, left, BLOCK):
        for p in tl.static_range(2):
            nd = (2 * m + p)[:, None] * D + d[None, :]
            store(border_ptr + nd, h[p], (2 * m + p < N)[:, None] & on_d[None, :], EVEN)
        border_ptr += N * D
        for i in range(at, at + BLOCK, U):
            next_xs, next_dts, next_zs, next_Bs, next_Cs = (), (), (), (), ()
            for u in tl.static_range(U):
                t = left * 0 + i + u
                next_xs = next_xs + (row(x_ptr, SX, t + U, last, d, on_d, EVEN),)
                next_dts = next_dts + (row(dt_ptr, SD, t + U, last, d, on_d, EVEN, PAST_END),)
                if z_ptr is not None:
                    next_zs = next_zs + (row(z_ptr, SZ, t + U, last, d, on_d, EVEN),)
                next_Bs = next_Bs + (state_row(B_ptr, SB, t + U, last, m, N, WORDS is not None, EVEN),)
                next_Cs = next_Cs + (state_row(C_ptr, SC, t + U, last, m, N, WORDS is not None, EVEN),)
            for u in tl.static_range(U):
                t = left * 0 + i + u
                step = time_step(dts[u].to(tl.float32) + bias, t < left, SOFTPLUS, EVEN)
                x = xs[u].to(tl.float32)
                y = skip * x
                new = ()
                for p in tl.static_range(2):
                    old = h[p]
                    if reset_ptr is not None:
                        old = tl.where(load(reset_ptr + t, t < left, EVEN, 0) != 0, 0.0, old)
                    state = tl.exp2(A[p] * step[None, :]) * old + unpack(Bs[u][p], p == 1, WORDS) * (step * x)[None, :]
                    y += tl.sum(state * unpack(Cs[u][p], p == 1, WORDS), axis=0)
                    new = new + (state,)
                h = new
                if z_ptr is not None:
                    z = zs[u].to(tl.float32)
                    y *= z * sigmoid(z)
                store(y_ptr + t.to(tl.int64) * D + d, y, on_d & (t < left), EVEN)
            xs, dts, zs, Bs, Cs = next_xs, next_dts, next_zs, next_Bs, next_Cs
    if chunk == n_chunks - 1:
        for p in tl.static_range(2):
            n = 2 * m + p
            on = (n < N)[:, None] & on_d[None, :]
            store(final_ptr + b * (D * N) + d[None, :] * N + n[:, None], h[p], on, EVEN)
