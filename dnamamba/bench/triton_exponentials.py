"""How many exponentials a second an NVIDIA GPU computes when it does nothing else."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import torch
import triton
import triton.language as tl

from dnamamba.bench.clock import median_seconds

BLOCK, WARPS, ROUNDS = 1024, 4, 4096


@triton.jit
def exponential_kernel(out_ptr, rounds, BLOCK: tl.constexpr):
    """Eight chains a thread: 2^-v, again and again, which settles near 0.64."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = at.to(tl.float32) * 1e-6
    for _ in range(rounds):
        value = tl.exp2(-value)
    tl.store(out_ptr + at, value)


def exponentials_a_second(programs: int | None = None, rounds: int = ROUNDS) -> float:
    """Exponentials a second on the current GPU; sixteen programs a multiprocessor keep it full."""
    if programs is None:
        programs = torch.cuda.get_device_properties().multi_processor_count * 16
    out = torch.empty(programs * BLOCK, device="cuda")
    seconds = median_seconds(lambda: exponential_kernel[(programs,)](out, rounds, BLOCK=BLOCK, num_warps=WARPS), "cuda")
    return programs * BLOCK * rounds / seconds
