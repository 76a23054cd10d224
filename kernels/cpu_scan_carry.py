"""Slow states over chunk borders, without the drift of a float32 walk.

A state that barely decays is rounded at each of a hundred thousand steps, and those errors stay: 1e-5 at 2^17 steps.
So a chunk's first value is kept aside and only the small deviation from it is walked: the sum is rounded once a chunk.
2^v - 1 is computed as such, for 2^v next to 1 has lost most digits of the difference.
Fast lanes keep nothing aside, and theirs is the plain walk.
"""

from typing import Any

from dnamamba.kernels.cpu_compile import inlined
from dnamamba.kernels.cpu_jobs import BLOCK, DELTA, DRIVE, GRAD, LANES, SLOW
from dnamamba.kernels.cpu_math import LOG2_E, exp2_less_one
from dnamamba.kernels.cpu_scan_layout import resets
from dnamamba.kernels.cpu_vector import any_above, broadcast, choose_above, fma, load, load_broadcast, zeros

_BOUND = -SLOW * LOG2_E


@inlined
def any_slow(A: int, span: Any, steps: int) -> bool:
    """Whether a lane of a block of states decays slowly; `span` is the sum of the chunk's deltas."""
    slowest = load(A, 0) * span
    for i in range(LANES, BLOCK * LANES, LANES):
        exponent = load(A, i) * span
        slowest = choose_above(exponent, slowest, exponent, slowest)
    return any_above(slowest, broadcast(_BOUND * steps))  # type: ignore[no-any-return]


@inlined
def carry_forward(
    A: int, B: int, B_row: int, reset: int, state: Any, span: Any, steps: int, scratch: int, record: int
) -> Any:
    """One state after the chunk; `state` is the one before it."""
    a, one = load(A, 0), broadcast(1.0)
    aside = choose_above(a * span, broadcast(_BOUND * steps), state, zeros())
    rest = state - aside
    for t in range(steps):
        if resets(reset, t):
            aside, rest = zeros(), zeros()
        loss = exp2_less_one(load(scratch, t * record + DELTA) * a)
        drive = load(scratch, t * record + DRIVE) * load_broadcast(B, t * B_row)
        rest = fma(rest, loss + one, fma(aside, loss, drive))
    return aside + rest


@inlined
def carry_back(
    A: int, C: int, C_row: int, reset: int, gamma: Any, span: Any, steps: int, scratch: int, record: int
) -> Any:
    """One state's gamma before the chunk; `gamma` is the one after it."""
    a, one = load(A, 0), broadcast(1.0)
    aside = choose_above(a * span, broadcast(_BOUND * steps), gamma, zeros())
    rest = gamma - aside
    for back in range(steps):
        t = steps - 1 - back
        loss = exp2_less_one(load(scratch, t * record + DELTA) * a)
        rest = fma(load(scratch, t * record + GRAD), load_broadcast(C, t * C_row), rest)
        rest = fma(rest, loss + one, aside * loss)
        if resets(reset, t):  # the state before belongs to another sequence
            aside, rest = zeros(), zeros()
    return aside + rest
