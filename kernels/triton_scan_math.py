"""What every Triton scan kernel shares: softplus and the logistic function from the fast exponential, and its loads."""
# mypy: ignore-errors
# ruff: noqa: SIM108, SIM300
# (kernels are Triton's language, not Python: no annotations, no starred tuples)

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def softplus(v):
    """Return log(1 + exp(v)) and e = exp(-|v|), from which its derivative follows without another exponential.

    log1p(e) is e times a polynomial of degree 7 on [0, 1] (Chebyshev fit, relative error below 3e-7), so that v = -14,
    a step of 1e-6, is as exact as any; log(1 + e) itself would be 6% off there.
    """
    e = tl.exp2(-tl.abs(v) * LOG2E)
    p = e * -0.008336497470736504 + 0.04337085038423538
    p = p * e - 0.10667790472507477
    p = p * e + 0.1767549365758896
    p = p * e - 0.2447046935558319
    p = p * e + 0.3327118754386902
    p = p * e - 0.49997127056121826
    p = p * e + 0.9999997615814209
    return tl.maximum(v, 0.0) + p * e, e


@triton.jit
def time_step(raw, live, SOFTPLUS: tl.constexpr, EVEN: tl.constexpr):
    """The length of a step, dt after bias; zero past the end (not `live`), which leaves the state as it is.

    With softplus the load has put -inf there already, see PAST_END in the kernels.
    """
    if SOFTPLUS:
        step, _ = softplus(raw)
    elif EVEN:
        step = raw
    else:
        step = tl.where(live, raw, 0.0)
    return step


@triton.jit
def softplus_slope(v, e):
    """The derivative of softplus at v, the logistic function, where e = exp(-|v|)."""
    r = tl.rsqrt(1.0 + e)
    return r * r * tl.where(v > 0.0, 1.0, e)


@triton.jit
def sigmoid(v):
    """1 / (1 + exp(-v)); a squared reciprocal root is one special-function result, a division six steps."""
    r = tl.rsqrt(1.0 + tl.exp2(-v * LOG2E))
    return r * r


@triton.jit
def load(ptr, mask, EVEN: tl.constexpr, other: tl.constexpr = 0.0):
    """A load that needs no mask where every axis divides evenly (EVEN)."""
    if EVEN:
        return tl.load(ptr)
    return tl.load(ptr, mask=mask, other=other)


@triton.jit
def store(ptr, value, mask, EVEN: tl.constexpr):
    """Store in the pointer's dtype, without a mask where every axis divides evenly (EVEN)."""
    value = value.to(ptr.dtype.element_ty)
    if EVEN:
        tl.store(ptr, value)
    else:
        tl.store(ptr, value, mask=mask)


@triton.jit
def row(ptr, STRIDE: tl.constexpr, t, last, axis, on, EVEN: tl.constexpr, other: tl.constexpr = 0.0):
    """The row of step `t`, `axis` along it; past step `last` that one's again (EVEN), or `other`."""
    if EVEN:
        return tl.load(ptr + tl.minimum(t, last).to(tl.int64) * STRIDE + axis)
    return tl.load(ptr + t.to(tl.int64) * STRIDE + axis, mask=on & (t <= last), other=other)


@triton.jit
def rows(ptr, STRIDE: tl.constexpr, t, last, axis, on, EVEN: tl.constexpr, other: tl.constexpr = 0.0):
    """The rows of steps `t`, `axis` along them, [steps, axis]; past step `last` that one's again (EVEN), or `other`."""
    if EVEN:
        return tl.load(ptr + tl.minimum(t, last).to(tl.int64)[:, None] * STRIDE + axis[None, :])
    mask = on[None, :] & (t <= last)[:, None]
    return tl.load(ptr + t.to(tl.int64)[:, None] * STRIDE + axis[None, :], mask=mask, other=other)


@triton.jit
def state_rows(
    ptr, STRIDE: tl.constexpr, t, last, n, N: tl.constexpr, NP: tl.constexpr, WORDS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The rows of B or C of steps `t` as float32 [steps, NP]; `ptr` and STRIDE count 32-bit words if WORDS says so."""
    if WORDS is None:
        values = rows(ptr, STRIDE, t, last, n, n < N, EVEN).to(tl.float32)
    else:
        m = tl.arange(0, NP // 2)
        words = rows(ptr, STRIDE, t, last, m, 2 * m < N, EVEN, 0)
        values = tl.reshape(tl.join(half_word(words, False, WORDS), half_word(words, True, WORDS)), [t.shape[0], NP])
    return values


@triton.jit
def two_of(v):
    """The two steps of v [2, ..], one by one."""
    return tl.split(tl.permute(v, (1, 0)))


@triton.jit
def two_of_both(v, w):
    """The two steps of v and of w [2, ..]: v0, v1, w0, w1. Together, so that they change layout in one exchange."""
    first, second = tl.split(tl.permute(tl.join(v, w), (1, 2, 0)))
    v0, w0 = tl.split(first)
    v1, w1 = tl.split(second)
    return v0, v1, w0, w1


@triton.jit
def both_together(v0, v1, w0, w1):
    """The inverse of `two_of_both`."""
    return tl.split(tl.permute(tl.join(tl.join(v0, w0), tl.join(v1, w1)), (2, 0, 1)))


@triton.jit
def two_together(v0, v1):
    """The inverse of `two_of`."""
    return tl.permute(tl.join(v0, v1), (1, 0))


@triton.jit
def four_of(v):
    """The four steps of v [4, ..], one by one."""
    v = tl.reshape(v, [2, 2, v.shape[1]])
    first, second = tl.split(tl.permute(v, (2, 1, 0)))  # steps 0, 1 and 2, 3
    v0, v1 = tl.split(first)
    v2, v3 = tl.split(second)
    return v0, v1, v2, v3


@triton.jit
def four_of_both(v, w):
    """The four steps of v and of w [4, ..]: v0 .. v3, w0 .. w3, in one exchange as in `two_of_both`."""
    both = tl.reshape(tl.join(v, w), [2, 2, v.shape[1], 2])
    first, second = tl.split(tl.permute(both, (2, 3, 1, 0)))
    both0, both1 = tl.split(first)
    both2, both3 = tl.split(second)
    v0, w0 = tl.split(both0)
    v1, w1 = tl.split(both1)
    v2, w2 = tl.split(both2)
    v3, w3 = tl.split(both3)
    return v0, v1, v2, v3, w0, w1, w2, w3


@triton.jit
def four_together(v0, v1, v2, v3):
    """The inverse of `four_of`."""
    v = tl.join(tl.join(v0, v1), tl.join(v2, v3))
    return tl.reshape(tl.permute(v, (2, 1, 0)), [4, v0.shape[0]])


@triton.jit
def start_over(h, reset_ptr, t, last, EVEN: tl.constexpr):
    """The state before step `t`: zero where a new sequence starts there."""
    if reset_ptr is not None:
        h = tl.where(load(reset_ptr + t, t <= last, EVEN, 0) != 0, 0.0, h)
    return h


@triton.jit
def advance(h, A, step, weight, B, reset_ptr, t, last, EVEN: tl.constexpr):
    """The state after step `t`; all but h and A a number a channel or a state, with an axis of 1 for the other."""
    return tl.exp2(A * step) * start_over(h, reset_ptr, t, last, EVEN) + B * weight


@triton.jit
def zeros_as(v):
    """Zeros in the layout of `v`: tl.zeros has none, and the compiler may then choose a worse one for all they meet."""
    return tl.minimum(tl.abs(v), 0.0)


@triton.jit
def half_word(word, ODD: tl.constexpr, WORDS: tl.constexpr):
    """One of the two 16-bit values (of dtype WORDS) in a 32-bit word, as float32."""
    if WORDS == tl.bfloat16:
        # A bfloat16 is the upper half of a float32.
        value = (word & -65536 if ODD else word << 16).to(tl.float32, bitcast=True)
    else:
        value = (word >> 16 if ODD else word).to(tl.int16).to(WORDS, bitcast=True).to(tl.float32)
    return value


@triton.jit
def state_row(
    ptr, STRIDE: tl.constexpr, t, last, m, N: tl.constexpr, WORDS: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """A row of B or C in two parts, even and odd states, as `unpack` takes them: (words, words) or (even, odd).

    Two 16-bit values share a 32-bit word (WORDS; `ptr` and STRIDE count words then): one register in a loop.
    """
    if WORDS:
        word = row(ptr, STRIDE, t, last, m, 2 * m < N, EVEN, 0)
        parts = (word, word)
    else:
        even = row(ptr, STRIDE, t, last, 2 * m, 2 * m < N, EVEN)
        parts = (even, row(ptr, STRIDE, t, last, 2 * m + 1, 2 * m + 1 < N, EVEN))
    return parts


@triton.jit
def unpack(part, ODD: tl.constexpr, WORDS: tl.constexpr):
    """Even or odd states of a `state_row` as a float32 column [states, 1]; WORDS: the dtype in a word, or None."""
    if WORDS is None:
        value = part.to(tl.float32)
    else:
        value = half_word(part, ODD, WORDS)
    return value[:, None]


@triton.jit
def prefetch(
    ptr, STRIDE: tl.constexpr, t, last, WIDTH: tl.constexpr, ROWS: tl.constexpr, PREFETCH: tl.constexpr,
    PARTS: tl.constexpr = 2,
):  # fmt: skip
    """Ask L2 for WIDTH values of ROWS rows from step `t` on, without waiting: a later load then misses L1 only.

    It needs no register and no scoreboard, unlike a load made early. PREFETCH is off where there is no PTX.
    """
    if PREFETCH:
        part = tl.arange(0, PARTS * ROWS)
        steps = tl.minimum(tl.maximum(t + part // PARTS, 0), last)
        address = (ptr + steps.to(tl.int64) * STRIDE + part % PARTS * (WIDTH // PARTS)).to(tl.int64)
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [address], dtype=tl.int32, is_pure=False, pack=1
        )
