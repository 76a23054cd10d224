"""The scan's output pass: walk one chunk of one tile of channels in order, state in registers, and write y."""

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import LOG2E, load, sigmoid, store, time_step

UNROLL = 4  # steps whose loads are issued together, ahead of the arithmetic and of the stores that would fence them


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
    SOFTPLUS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Grid: tiles of channels x chunks x batch, tiles fastest, so that neighbours share rows of B and C in the cache."""
    TILES: tl.constexpr = (D + BD - 1) // BD
    pid = tl.program_id(0)
    d = (pid % TILES) * BD + tl.arange(0, BD)
    row = pid // TILES  # of [batch, chunk]
    b = (row // n_chunks).to(tl.int64)
    chunk = row % n_chunks
    n = tl.arange(0, NP)
    on_d = d < D
    on_n = n < N
    on = on_n[:, None] & on_d[None, :]
    nd = n[:, None] * D + d[None, :]

    A = load(A_ptr + nd, on, EVEN) * LOG2E  # [N, D]
    bias = 0.0 if bias_ptr is None else load(bias_ptr + d, on_d, EVEN).to(tl.float32)
    skip = 0.0 if D_ptr is None else load(D_ptr + d, on_d, EVEN).to(tl.float32)
    if start_ptr is None:
        h = tl.zeros([NP, BD], tl.float32)
    else:
        h = load(start_ptr + row.to(tl.int64) * (N * D) + nd, on, EVEN)

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
    for at in range(0, left, BLOCK):
        store(border_ptr + nd, h, on, EVEN)
        border_ptr += N * D
        for i in range(0, BLOCK, U):
            xs, dts, zs, Bs, Cs, resets = (), (), (), (), (), ()
            for u in tl.static_range(U):
                live = at + i + u < left
                xs = xs + (load(x_ptr + u * SX + d, on_d & live, EVEN),)
                dts = dts + (load(dt_ptr + u * SD + d, on_d & live, EVEN, PAST_END),)
                Bs = Bs + (load(B_ptr + u * SB + n, on_n & live, EVEN),)
                Cs = Cs + (load(C_ptr + u * SC + n, on_n & live, EVEN),)
                if z_ptr is not None:
                    zs = zs + (load(z_ptr + u * SZ + d, on_d & live, EVEN),)
                if reset_ptr is not None:
                    resets = resets + (load(reset_ptr + u, live, EVEN, 0),)
            for u in tl.static_range(U):
                step = time_step(dts[u].to(tl.float32) + bias, at + i + u < left, SOFTPLUS, EVEN)
                x = xs[u].to(tl.float32)
                if reset_ptr is not None:
                    h = tl.where(resets[u] != 0, 0.0, h)
                h = tl.exp2(A * step[None, :]) * h + Bs[u].to(tl.float32)[:, None] * (step * x)[None, :]
                y = tl.sum(h * Cs[u].to(tl.float32)[:, None], axis=0) + skip * x
                if z_ptr is not None:
                    z = zs[u].to(tl.float32)
                    y *= z * sigmoid(z)
                store(y_ptr + u * D + d, y, on_d & (at + i + u < left), EVEN)
            x_ptr += U * SX
            dt_ptr += U * SD
            B_ptr += U * SB
            C_ptr += U * SC
            y_ptr += U * D
            if z_ptr is not None:
                z_ptr += U * SZ
            if reset_ptr is not None:
                reset_ptr += U
    if chunk == n_chunks - 1:
        store(final_ptr + b * (D * N) + d[None, :] * N + n[:, None], h, on, EVEN)
