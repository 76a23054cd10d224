"""The causal convolution with SiLU on a GPU, forward and backward, in [B, L, D].

A program walks a piece of time for its channels with the last inputs in registers, so each value is loaded once and
the backward makes the values before SiLU again instead of keeping them. dweight is summed in a fixed order. The rows
of several steps are asked for before the first is used: one row in flight a warp leaves half of the bandwidth idle.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
# ruff: noqa: RUF005, SIM108  (Triton has neither unpacking in tuples nor constant conditional expressions)

import torch
import triton
import triton.language as tl
from torch import Tensor

from dnamamba.kernels.triton_scan_math import sigmoid

PIECE = 128  # steps of one program; the W-1 steps beside it are read twice
BACKWARD_PIECE = 256  # half as many parts of dweight
BLOCK_D = 128  # channels of one program, one warp: four a thread, so that the backward's 16 numbers of each fit
WIDE_BLOCK_D = 256  # of the forward where it divides D: 16 bytes a thread
ROWS = 8  # steps whose rows are in flight together; divides both pieces


@triton.jit
def _taps(w_ptr, d, on, W: tl.constexpr):
    """The taps by lag, the newest input's first."""
    taps = ()
    for lag in tl.static_range(W):
        taps = taps + (tl.load(w_ptr + d * W + W - 1 - lag, mask=on, other=0.0).to(tl.float32),)
    return taps


@triton.jit
def _input(x_ptr, tail_ptr, b, t, d, on, stride_b, stride_t, D: tl.constexpr, W: tl.constexpr):
    """Input t, for t < 0 that of the tail or zero."""
    value = tl.load(x_ptr + b * stride_b + t * stride_t + d, mask=on & (t >= 0), other=0.0).to(tl.float32)
    if tail_ptr is not None:
        # The address is inside the tail for -W < t < 0 only.
        row = tl.load(tail_ptr + (b * (W - 1) + W - 1 + t) * D + d, mask=on & (t < 0), other=0.0)
        value += row.to(tl.float32)
    return value


@triton.jit
def _flag(reset_ptr, b, t, L):
    return tl.load(reset_ptr + b * L + t, mask=(t >= 0) & (t < L), other=0) != 0


@triton.jit
def _earlier(x_ptr, tail_ptr, reset_ptr, b, first, d, on, L, stride_b, stride_t, D: tl.constexpr, W: tl.constexpr):
    """The W-1 inputs before `first`, the newest first, zeros where a reset before `first` hides them."""
    inputs = ()
    for lag in tl.static_range(1, W):
        value = _input(x_ptr, tail_ptr, b, first - lag, d, on, stride_b, stride_t, D, W)
        if reset_ptr is not None:
            for j in tl.static_range(1, lag):
                value = tl.where(_flag(reset_ptr, b, first - j, L), 0.0, value)
        inputs = inputs + (value,)
    return inputs


@triton.jit
def _hidden(values, flag):
    """Zeros instead of all values where the flag is set; a NaN is dropped too."""
    kept = ()
    for i in tl.static_range(len(values)):
        kept = kept + (tl.where(flag, 0.0, values[i]),)
    return kept


@triton.jit
def _shifted(newest, values):
    """The newest value in front, the oldest dropped."""
    kept = ()
    for i in tl.static_range(len(values)):
        if i == 0:
            kept = kept + (newest,)
        else:
            kept = kept + (values[i - 1],)
    return kept


@triton.jit
def _weighted(total, newest, earlier, taps):
    total += taps[0] * newest
    for i in tl.static_range(len(earlier)):
        total += taps[i + 1] * earlier[i]
    return total


@triton.jit
def _rows(ptr, first, L, stride, on, ROWS: tl.constexpr):
    """The rows of ROWS steps, in the dtype they lie in: half the registers of float32 while they are in flight."""
    values = ()
    for i in tl.static_range(ROWS):
        values = values + (tl.load(ptr + (first + i) * stride, mask=on & (first + i < L), other=0.0),)
    return values


@triton.jit
def _before_activation_gradient(grad, newest, earlier, taps, bias, SILU: tl.constexpr):
    if SILU:
        value = _weighted(bias, newest, earlier, taps)
        s = sigmoid(value)
        grad *= s + value * s * (1.0 - s)
    return grad


@triton.jit
def _input_gradient(grad, grads, flag, flags, taps, RESETS: tl.constexpr, W: tl.constexpr):
    """dx of the input W-1 steps ago: its own output's gradient is the oldest kept, this step's meets the last tap."""
    dx = taps[0] * (grad if W == 1 else grads[W - 2])
    cut = False
    for lag in tl.static_range(1, W):
        part = taps[lag] * (grad if lag == W - 1 else grads[W - 2 - lag])
        if RESETS:
            cut = cut | (flag if lag == W - 1 else flags[W - 2 - lag])
            part = tl.where(cut, 0.0, part)
        dx += part
    return dx


@triton.jit
def _place(L, D, PIECE: tl.constexpr, BLOCK_D: tl.constexpr):
    pieces = tl.cdiv(L, PIECE)
    b = (tl.program_id(0) // pieces).to(tl.int64)
    first = (tl.program_id(0) % pieces).to(tl.int64) * PIECE
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    return b, first, tl.minimum(first + PIECE, L), d, d < D


@triton.jit(do_not_specialize=["L"])
def conv_kernel(
    x_ptr, w_ptr, bias_ptr, tail_ptr, reset_ptr, y_ptr, L, stride_b, stride_t,
    D: tl.constexpr, W: tl.constexpr, SILU: tl.constexpr, PIECE: tl.constexpr, BLOCK_D: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    b, first, last, d, on = _place(L, D, PIECE, BLOCK_D)
    taps = _taps(w_ptr, d, on, W)
    bias = tl.zeros([BLOCK_D], tl.float32)
    if bias_ptr is not None:
        bias += tl.load(bias_ptr + d, mask=on, other=0.0).to(tl.float32)
    earlier = _earlier(x_ptr, tail_ptr, reset_ptr, b, first, d, on, L, stride_b, stride_t, D, W)
    for start in range(first, last, ROWS):
        rows = _rows(x_ptr + b * stride_b + d, start, L, stride_t, on, ROWS)
        for i in tl.static_range(ROWS):
            t = start + i
            newest = rows[i].to(tl.float32)
            if reset_ptr is not None:
                earlier = _hidden(earlier, _flag(reset_ptr, b, t, L))
            value = _weighted(bias, newest, earlier, taps)
            if SILU:
                value *= sigmoid(value)
            tl.store(y_ptr + (b * L + t) * D + d, value.to(y_ptr.dtype.element_ty), mask=on & (t < L))
            earlier = _shifted(newest, earlier)


@triton.jit(do_not_specialize=["L"])
def conv_backward_kernel(
    x_ptr, w_ptr, bias_ptr, tail_ptr, reset_ptr, dy_ptr, dx_ptr, dtail_ptr, dw_ptr,
    L, stride_b, stride_t, dx_stride_b, dx_stride_t,
    D: tl.constexpr, W: tl.constexpr, SILU: tl.constexpr, PIECE: tl.constexpr, BLOCK_D: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    """dx of a piece, and its part of dweight and of dbias, [programs, W + 1, D]; the first does the tail."""
    b, first, last, d, on = _place(L, D, PIECE, BLOCK_D)
    taps = _taps(w_ptr, d, on, W)
    none = tl.zeros([BLOCK_D], tl.float32)
    bias = none
    if bias_ptr is not None:
        bias += tl.load(bias_ptr + d, mask=on, other=0.0).to(tl.float32)
    earlier = _earlier(x_ptr, tail_ptr, reset_ptr, b, first, d, on, L, stride_b, stride_t, D, W)
    grads = ()  # of the W-1 outputs before t, the newest first; a reset between two steps cuts their tie, see `flags`
    flags = ()  # whether those steps reset
    sums = (none,)
    for _ in tl.static_range(1, W):
        grads = grads + (none,)
        flags = flags + (first < 0,)
        sums = sums + (none,)
    total = none
    x_rows, dy_rows = x_ptr + b * stride_b + d, dy_ptr + b * L * D + d
    dx_rows = dx_ptr + b * dx_stride_b + d
    for start in range(first, last, ROWS):
        xs = _rows(x_rows, start, L, stride_t, on, ROWS)
        dys = _rows(dy_rows, start, L, D, on, ROWS)
        for i in tl.static_range(ROWS):
            t = start + i
            newest = xs[i].to(tl.float32)
            flag = first < 0
            if reset_ptr is not None:
                flag = _flag(reset_ptr, b, t, L)
                earlier = _hidden(earlier, flag)
            grad = _before_activation_gradient(dys[i].to(tl.float32), newest, earlier, taps, bias, SILU)
            total += grad
            more = (sums[0] + grad * newest,)
            for lag in tl.static_range(1, W):
                more = more + (sums[lag] + grad * earlier[lag - 1],)
            sums = more
            dx = _input_gradient(grad, grads, flag, flags, taps, reset_ptr is not None, W)
            at = t - (W - 1)
            place = dx_rows + at * dx_stride_t
            tl.store(place, dx.to(dx_ptr.dtype.element_ty), mask=on & (at >= first) & (at < L))
            if dtail_ptr is not None:
                place = dtail_ptr + (b * (W - 1) + t) * D + d
                tl.store(place, dx.to(dtail_ptr.dtype.element_ty), mask=on & (at < 0))
            earlier, grads = _shifted(newest, earlier), _shifted(grad, grads)
            flags = _shifted(flag, flags)
    # Past the piece: the outputs there still see its last inputs. dx of an input is whole W-1 steps after it.
    end = first + (last - first + ROWS - 1) // ROWS * ROWS
    xs = _rows(x_rows, end, L, stride_t, on, W - 1)
    dys = _rows(dy_rows, end, L, D, on, W - 1)
    for i in tl.static_range(W - 1):
        t = end + i
        newest = xs[i].to(tl.float32)
        flag = first < 0
        if reset_ptr is not None:
            flag = _flag(reset_ptr, b, t, L)
            earlier = _hidden(earlier, flag)
        grad = _before_activation_gradient(dys[i].to(tl.float32), newest, earlier, taps, bias, SILU)
        dx = _input_gradient(grad, grads, flag, flags, taps, reset_ptr is not None, W)
        at = t - (W - 1)
        tl.store(dx_rows + at * dx_stride_t, dx.to(dx_ptr.dtype.element_ty), mask=on & (at >= first) & (at < L))
        earlier, grads = _shifted(newest, earlier), _shifted(grad, grads)
        flags = _shifted(flag, flags)
    row = dw_ptr + tl.program_id(0).to(tl.int64) * (W + 1) * D + d
    for lag in tl.static_range(W):
        tl.store(row + (W - 1 - lag) * D, sums[lag], mask=on)
    tl.store(row + W * D, total, mask=on)


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().contiguous()


def _arguments(
    x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None
) -> list[object]:
    """x with a dense last axis, and the other inputs as the kernels read them."""
    x = x.detach() if x.stride(-1) == 1 else x.detach().contiguous()
    resets = None if reset is None else reset.contiguous().view(torch.uint8)
    return [x, _dense(weight), _dense(bias), _dense(tail), resets]


def conv_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None, activation: bool
) -> Tensor:
    """Return y [B, L, D] in the dtype of x."""
    B, L, D = x.shape
    inputs = _arguments(x, weight, bias, tail, reset)
    x = inputs[0]
    y = torch.empty(B, L, D, dtype=x.dtype, device=x.device)
    block = BLOCK_D if D % WIDE_BLOCK_D else WIDE_BLOCK_D
    conv_kernel[(B * triton.cdiv(L, PIECE), triton.cdiv(D, block))](
        *inputs, y, L, x.stride(0), x.stride(1),
        D=D, W=weight.shape[1], SILU=activation, PIECE=PIECE, BLOCK_D=block, ROWS=ROWS, num_warps=1,
    )  # fmt: skip
    return y


def conv_backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, reset: Tensor | None,
    activation: bool, into: Tensor | None = None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return dx, dweight, dbias, dtail; None where the input was None.

    dx goes into `into` where it is given: [B, L, D] with a dense last axis, no memory shared with x or dy.
    """
    B, L, D = x.shape
    W = weight.shape[1]
    inputs = _arguments(x, weight, bias, tail, reset)
    x = inputs[0]
    dx = torch.empty(B, L, D, dtype=x.dtype, device=x.device) if into is None else into
    dtail = None if tail is None else torch.empty(tail.shape, dtype=tail.dtype, device=x.device)
    programs = B * triton.cdiv(L, BACKWARD_PIECE)
    partial = torch.empty(programs, W + 1, D, dtype=torch.float32, device=x.device)
    conv_backward_kernel[(programs, triton.cdiv(D, BLOCK_D))](
        *inputs, dy.contiguous(), dx, dtail, partial, L, x.stride(0), x.stride(1), dx.stride(0), dx.stride(1),
        D=D, W=W, SILU=activation, PIECE=BACKWARD_PIECE, BLOCK_D=BLOCK_D, ROWS=ROWS, num_warps=1,
    )  # fmt: skip
    sums = partial.sum(0)
    return (
        dx,
        sums[:W].t().to(weight.dtype).clone(memory_format=torch.contiguous_format),
        None if bias is None else sums[W].to(bias.dtype).clone(),
        dtail,
    )
