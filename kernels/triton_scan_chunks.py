"""What lets chunks of the sequence run side by side: the state every chunk hands to the next, forward and backward.

`chunk_kernel` finds what one chunk adds to the state at its far end, starting from nothing, and how much time passes in
it. `carry_kernel` walks the few chunks in order: carried = exp(A * time) * carried + added. The backward needs the same
with time reversed, for gamma[t] = exp(A * dt[t]) * (gradient of the state after step t).

A tile stops when its slowest channel has forgotten. Where it may (SORTED), a tile is therefore made of channels that
forget about equally fast, out of a block of SORTED neighbours, which `order_kernel` has put in order.
"""
# mypy: ignore-errors
# ruff: noqa: RUF005, SIM108
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

from dnamamba.kernels.triton_scan_math import (
    LOG2E,
    load,
    prefetch,
    row,
    sigmoid,
    softplus,
    state_row,
    store,
    time_step,
    unpack,
)

UNROLL = 4
NOTHING_LEFT = tl.constexpr(-25.0)  # log2: a part decayed to 2^-25 is half of the last place of a float32


@triton.jit
def _left(A_even, A_odd, time, pair, on_d, N: tl.constexpr, EVEN: tl.constexpr):
    """Log2 of what is left of what happened `time` ago, in state 2 `pair` or 2 `pair` + 1: the larger of the two."""
    even, odd = A_even * time[None, :], A_odd * time[None, :]
    if not EVEN:
        even = tl.where((2 * pair < N)[:, None] & on_d[None, :], even, float("-inf"))
        odd = tl.where((2 * pair + 1 < N)[:, None] & on_d[None, :], odd, float("-inf"))
    return tl.maximum(even, odd)


@triton.jit
def _side_by_side(machine, PARTS: tl.constexpr):
    """Which unit this program belongs to, and which of the unit's PARTS programs it is.

    They read the same rows: a machine's width apart, one multiprocessor is given all of them, and its L1 serves them.
    Each round has another order, as one of its four schedulers is given every fourth program.
    """
    pid = tl.program_id(0)
    turn = pid // (PARTS * machine)
    first = turn * PARTS * machine
    wide = tl.minimum(machine, (tl.num_programs(0) - first) // PARTS)
    unit = turn * machine + (pid - first) % wide
    return unit, ((pid - first) // wide + turn) % PARTS


@triton.jit
def order_kernel(
    A_ptr, bias_ptr, order_ptr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, SORTED: tl.constexpr, SOFTPLUS: tl.constexpr,
):  # fmt: skip
    """The channels of each block of SORTED, slowest first, past D last. Grid: blocks.

    A kernel of its own: in front of the walk, its instructions cost the compiler two minutes more.
    """
    first = tl.program_id(0) * SORTED
    i = tl.arange(0, SORTED)
    n = tl.arange(0, NP)
    d = first + i
    at = n[:, None] * D + d[None, :]
    A = tl.load(A_ptr + at, mask=(n < N)[:, None] & (d < D)[None, :], other=float("-inf"))
    step = tl.load(bias_ptr + d, mask=d < D, other=0.0).to(tl.float32)
    if SOFTPLUS:
        step, _ = softplus(step)
    # A float's bits, in the order of the floats (a NaN has a place too), with the channel in the lowest: no two alike.
    key = (tl.max(A, 0) * -step).to(tl.int32, bitcast=True)
    key = tl.where(d < D, key ^ (key >> 31 & 0x7FFFFFFF), 0x7FFFFFFF)
    tl.store(order_ptr + d, first + (tl.sort(key & -SORTED | i) & SORTED - 1))


@triton.jit(
    do_not_specialize=["L", "T", "n_chunks", "first_chunk", "n_walked", "machine"],
    do_not_specialize_on_alignment=["A_ptr", "added_ptr", "order_ptr"],  # a wide load would give a lane four channels
)
def chunk_kernel(
    x_ptr, dt_ptr, z_ptr, B_ptr, A_ptr, bias_ptr, reset_ptr, added_ptr, time_ptr, order_ptr,
    L, T, n_chunks, first_chunk, n_walked, machine, sxb, sdb, szb, sbb,
    SX: tl.constexpr, SD: tl.constexpr, SZ: tl.constexpr, SB: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, NG: tl.constexpr, BD: tl.constexpr, BLOCK: tl.constexpr,
    U: tl.constexpr, WORDS: tl.constexpr, PREFETCH: tl.constexpr, SOFTPLUS: tl.constexpr, ADJOINT: tl.constexpr,
    SORTED: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Walk a chunk away from the end where its sum is wanted, and stop once nothing further away can matter.

    Forward: from the last step to the first, weight dt * x, row B. ADJOINT: from the first step to the last, weight
    dy = dout * silu(z) (x_ptr holds dout), row C (B_ptr holds it). The states stand in NG groups of NP / NG, 1, 2 or 4:
    in a fresh model later ones are faster, and when the later half of the groups has stopped, the walk goes on with the
    other half. Of each batch row's n_chunks, n_walked are walked, from first_chunk on: who wants only where chunks
    start needs no sum of the outermost ones. SORTED: channels of a block that is dealt out to its tiles as
    `order_kernel` put them in order, BD times a power of two, or 0. Every block then has all its tiles, and EVEN says
    that D is a multiple of it.

    To save registers, ptxas moves a load down to its first use, or to the first store that it must not cross. So each
    round of U steps first loads the rows of the next and carries them over the back edge of the loop, and stores `time`
    on the way.
    """
    WIDTH: tl.constexpr = SORTED if SORTED else BD
    BLOCKS: tl.constexpr = (D + WIDTH - 1) // WIDTH
    PARTS: tl.constexpr = max(2, WIDTH // BD)  # of a row, that are prefetched one by one
    HALF: tl.constexpr = NP // NG // 2  # a group's states: n = 2 (g HALF + m) + p, in planes p as B's words hold them
    if SORTED:
        unit, tile = _side_by_side(machine, SORTED // BD)
        corner = unit % BLOCKS * SORTED
        d = tl.load(order_ptr + corner + tile * BD + tl.arange(0, BD))
    else:
        unit = tl.program_id(0)
        corner = unit % BLOCKS * BD
        d = corner + tl.arange(0, BD)
    b = (unit // BLOCKS // n_walked).to(tl.int64)
    chunk = first_chunk + unit // BLOCKS % n_walked
    item = b * n_chunks + chunk
    on_d = d < D
    m = tl.arange(0, HALF)
    first = chunk.to(tl.int64) * T
    steps = tl.minimum(L - first, T).to(tl.int32)
    blocks = tl.cdiv(steps, BLOCK)

    As, sums = (), ()
    for k in tl.static_range(2 * NG):
        n = 2 * (k // 2 * HALF + m) + k % 2
        As = As + (load(A_ptr + n[:, None] * D + d[None, :], (n < N)[:, None] & on_d[None, :], EVEN) * LOG2E,)
        sums = sums + (tl.zeros([HALF, BD], tl.float32),)
    bias = 0.0 if bias_ptr is None else load(bias_ptr + d, on_d, EVEN).to(tl.float32)
    x_ptr += b * sxb + first * SX
    dt_ptr += b * sdb + first * SD
    B_ptr += b * sbb + first * SB
    if z_ptr is not None:
        z_ptr += b * szb + first * SZ
    if reset_ptr is not None:
        reset_ptr += b * L + first

    PAST_END: tl.constexpr = float("-inf") if SOFTPLUS else 0.0
    time = tl.zeros([BD], tl.float32)  # between the wanted end and the step at hand
    is_open = steps > 0  # no reset between the wanted end and the step at hand
    block = blocks * 0
    last = steps - 1
    time_ptr += item * D
    xs, dts, zs, Bs = (), (), (), ()
    for u in tl.static_range(U):
        t = tl.maximum(block + u if ADJOINT else last - u, 0)
        xs = xs + (row(x_ptr, SX, t, last, d, on_d, EVEN),)
        dts = dts + (row(dt_ptr, SD, t, last, d, on_d, EVEN, PAST_END),)
        if ADJOINT and z_ptr is not None:
            zs = zs + (row(z_ptr, SZ, t, last, d, on_d, EVEN),)
        for g in tl.static_range(NG):
            Bs = Bs + (state_row(B_ptr, SB, t, last, g * HALF + m, N, WORDS is not None, EVEN),)
    # Not a loop a group: the compiler's time grows with the cube of what stands here.
    for halved in tl.static_range(3 if NG == 4 else NG):  # NG >> halved groups are walked
        alive = is_open
        for g in tl.static_range((NG >> halved) // 2, NG >> halved):
            if halved > 0:  # one group then; before the first step everything is left
                left = _left(As[2 * g], As[2 * g + 1], time, g * HALF + m, on_d, N, EVEN)
                alive &= tl.max(left) > NOTHING_LEFT
        while (block < blocks) & alive:
            ahead = (block + 1) * BLOCK if ADJOINT else last - (block + 2) * BLOCK + 1
            prefetch(x_ptr + corner, SX, ahead, last, WIDTH, BLOCK, PREFETCH, PARTS)
            prefetch(dt_ptr + corner, SD, ahead, last, WIDTH, BLOCK, PREFETCH, PARTS)
            if ADJOINT and z_ptr is not None:
                prefetch(z_ptr + corner, SZ, ahead, last, WIDTH, BLOCK, PREFETCH, PARTS)
            prefetch(B_ptr, SB, ahead, last, 2, BLOCK, PREFETCH)
            for i in range(0, BLOCK, U):
                next_xs, next_dts, next_zs, next_Bs = (), (), (), ()
                for u in tl.static_range(U):
                    done = block * BLOCK + i + u  # steps walked in this chunk
                    t = done if ADJOINT else last - done
                    ahead = tl.maximum(t + U if ADJOINT else t - U, 0)
                    next_xs = next_xs + (row(x_ptr, SX, ahead, last, d, on_d, EVEN),)
                    next_dts = next_dts + (row(dt_ptr, SD, ahead, last, d, on_d, EVEN, PAST_END),)
                    if ADJOINT and z_ptr is not None:
                        next_zs = next_zs + (row(z_ptr, SZ, ahead, last, d, on_d, EVEN),)
                    for g in tl.static_range(NG):
                        if g < NG >> halved:
                            words = state_row(B_ptr, SB, ahead, last, g * HALF + m, N, WORDS is not None, EVEN)
                            next_Bs = next_Bs + (words,)
                        else:
                            next_Bs = next_Bs + (Bs[u * NG + g],)

                    here = (t >= 0) & (t <= last)
                    step = time_step(dts[u].to(tl.float32) + bias, here, SOFTPLUS, EVEN)
                    if not EVEN:
                        step = tl.where(here, step, 0.0)
                    weight = xs[u].to(tl.float32)
                    if not ADJOINT:
                        weight *= step
                    elif z_ptr is not None:
                        z = zs[u].to(tl.float32)
                        weight *= z * sigmoid(z)
                    if reset_ptr is not None:
                        is_reset = load(reset_ptr + t, here, EVEN, 0) != 0
                    if ADJOINT:
                        time += step
                        if reset_ptr is not None:
                            is_open &= not is_reset
                    new = ()
                    for k in tl.static_range(2 * NG):
                        if k // 2 < NG >> halved:
                            part = unpack(Bs[u * NG + k // 2][k % 2], k % 2 == 1, WORDS)
                            part *= tl.exp2(As[k] * time[None, :]) * weight[None, :]
                            if reset_ptr is not None:
                                part = tl.where(is_open, part, 0.0)
                            new = new + (sums[k] + part,)
                        else:
                            new = new + (sums[k],)
                    sums = new
                    if not ADJOINT:
                        time += step
                        if reset_ptr is not None:
                            is_open &= not is_reset
                    if u % 2 == 1:  # holds the loads above it in place
                        if SORTED:  # and writes a NaN at most: the channels are far apart
                            tl.store(time_ptr + d, time, mask=on_d & (time != time))
                        else:
                            store(time_ptr + d, time, on_d, EVEN)
                xs, dts, zs, Bs = next_xs, next_dts, next_zs, next_Bs
            block += 1
            left = time[None, :] + float("-inf")
            for g in tl.static_range((NG >> halved) // 2, NG >> halved):
                left = tl.maximum(left, _left(As[2 * g], As[2 * g + 1], time, g * HALF + m, on_d, N, EVEN))
            alive = (tl.max(left) > NOTHING_LEFT) & is_open
    for k in tl.static_range(2 * NG):
        n = 2 * (k // 2 * HALF + m) + k % 2
        at_nd = item * (N * D) + n[:, None] * D + d[None, :]
        store(added_ptr + at_nd, sums[k], (n < N)[:, None] & on_d[None, :], EVEN)
    store(time_ptr + d, time, on_d, EVEN)


@triton.jit(do_not_specialize=["n_pieces", "n_chunks", "K"])
def carry_kernel(
    added_ptr, time_ptr, cut_ptr, A_ptr, start_ptr, enters_ptr, n_pieces, n_chunks, K,
    D: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BD: tl.constexpr, U: tl.constexpr,
    ADJOINT: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Turn what each piece adds into the state that each chunk of K pieces receives. `cut` marks pieces with a reset.

    A mark of its own: no sum of dt can say "decay 0", and 0 times a NaN would leak. What enters is [.., D, N] as the
    output pass reads it, or [.., N, D] for the gradient pass (ADJOINT): with K = 1 it may take the place of `added`.
    What the outermost chunk's pieces add is nobody's start: nothing past its first piece (adjoint: last) is read.
    """
    TILES: tl.constexpr = (D + BD - 1) // BD
    pid = tl.program_id(0)
    d = (pid % TILES) * BD + tl.arange(0, BD)
    b = (pid // TILES).to(tl.int64)
    n = tl.arange(0, NP)
    on_d = d < D
    on = (n < N)[:, None] & on_d[None, :]
    nd = n[:, None] * D + d[None, :]
    entering = nd if ADJOINT else n[:, None] + d[None, :] * N
    A = load(A_ptr + nd, on, EVEN) * LOG2E
    if start_ptr is None:
        carried = tl.zeros([NP, BD], tl.float32)
    else:
        carried = load(start_ptr + b * (N * D) + nd, on, EVEN)
    needed = n_pieces - K + 1 if ADJOINT else (n_chunks - 1) * K + 1
    for first in range(0, needed, U):
        added, times, cuts = (), (), ()
        for u in tl.static_range(U):
            live = first + u < needed
            item = b * n_pieces + (n_pieces - 1 - first - u if ADJOINT else first + u)
            added = added + (tl.load(added_ptr + item * (N * D) + nd, mask=on & live, other=0.0),)
            times = times + (tl.load(time_ptr + item * D + d, mask=on_d & live, other=0.0),)
            if cut_ptr is not None:
                cuts = cuts + (tl.load(cut_ptr + item, mask=live, other=0),)
        for u in tl.static_range(U):
            piece = n_pieces - 1 - first - u if ADJOINT else first + u
            entered = first + u < needed  # and the chunk's first, or its last that there is
            entered &= ((piece % K == K - 1) | (piece == n_pieces - 1)) if ADJOINT else piece % K == 0
            chunk = b * n_chunks + piece // K
            tl.store(enters_ptr + chunk * (N * D) + entering, carried, mask=on & entered)
            carried *= tl.exp2(A * times[u][None, :])
            if cut_ptr is not None:
                carried = tl.where(cuts[u] != 0, 0.0, carried)
            carried += added[u]
