"""Time the selective scan beside its limits, mamba-ssm, FlashAttention and a plain torch scan. Needs an NVIDIA GPU.

    python tests/benchmarks/bench_selective_scan.py [--json FILE] [--quick]

The limits: exponentials (one a state and step, four more in softplus and gate, 16 results a clock and multiprocessor)
and bytes (each input and output once, at the bandwidth of a large copy). mamba-ssm is timed where it is installed; else
its published column is what was measured on one H200 with torch 2.11 and stands in the JSON as "mamba-ssm published".
"""

import argparse
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import triton
from result_lines import ResultLines
from triton.testing import do_bench

from dnamamba.kernels import triton_scan

# (batch, channels, length): mamba-ssm forward and backward, ms, one H200, bf16
PUBLISHED = {
    (1, 512, 2**20): (11.3, 60.0),
    (1, 256, 2**20): (10.0, 26.4),
    (8, 512, 2**17): (11.0, 40.9),
    (64, 512, 1024): (0.565, 2.31),
    (1024, 256, 1024): (6.76, 29.5),
    (8, 1536, 2048): (0.449, 1.75),
    (1, 2048, 65536): (2.96, 11.5),
}
N = 16


def median(run: Callable[[], Any]) -> float:
    return float(do_bench(run, warmup=20, rep=80, return_mode="median"))


def inputs(B: int, D: int, L: int, slow: bool = False) -> dict[str, torch.Tensor]:
    """bf16 inputs with dt as Mamba initialises it, or every step about 1e-3."""
    normal = torch.randn
    device, dtype = "cuda", torch.bfloat16
    steps = torch.exp(torch.rand(D, device=device) * math.log(100) + math.log(1e-3))
    if slow:
        steps = torch.full_like(steps, 1e-3)
    return {
        "x": normal(B, L, D, device=device, dtype=dtype),
        "dt": normal(B, L, D, device=device, dtype=dtype) * (0.05 if slow else 0.5),
        "A": -torch.arange(1.0, N + 1, device=device).repeat(D, 1),
        "B": normal(B, L, N, device=device, dtype=dtype),
        "C": normal(B, L, N, device=device, dtype=dtype),
        "D": torch.ones(D, device=device),
        "z": normal(B, L, D, device=device, dtype=dtype),
        "dt_bias": steps + torch.log(-torch.expm1(-steps)),
    }


def ours(t: dict[str, torch.Tensor]) -> tuple[float, float]:
    ins = [*t.values(), None, None]
    borders = triton_scan.scan_forward(*ins, True)[2]
    dy = torch.randn_like(t["x"])
    forward = median(lambda: triton_scan.scan_forward(*ins, True))
    return forward, median(lambda: triton_scan.scan_backward(dy, None, *ins, borders, True))


def mamba_ssm(t: dict[str, torch.Tensor]) -> tuple[float, float] | None:
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    rows = {k: v.transpose(1, 2).contiguous().requires_grad_() for k, v in t.items() if v.ndim == 3}
    rest = {k: v.detach().requires_grad_() for k, v in t.items() if v.ndim < 3}

    def run() -> torch.Tensor:
        scan: torch.Tensor = selective_scan_fn(
            rows["x"], rows["dt"], rest["A"], rows["B"], rows["C"], rest["D"], rows["z"], rest["dt_bias"], True
        )
        return scan

    y = run()
    dy = torch.randn_like(y)
    leaves = [*rows.values(), *rest.values()]
    return median(run), median(lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True))


def plain_scan(t: dict[str, torch.Tensor]) -> float:
    """One Python step a base, as an eager model without kernels walks it: timed on 256 steps, scaled to the length."""
    x, dt, A, B, C = (t[k][:, :256].float() if t[k].ndim == 3 else t[k] for k in ("x", "dt", "A", "B", "C"))

    def run() -> torch.Tensor:
        h = torch.zeros(*x.shape[::2], N, device=x.device)
        ys = []
        for i in range(x.shape[1]):
            step = dt[:, i, :, None]
            h = torch.exp(step * A) * h + step * B[:, i, None] * x[:, i, :, None]
            ys.append((h * C[:, i, None]).sum(-1))
        return torch.stack(ys, 1)

    return median(run) * t["x"].shape[1] / x.shape[1]


@cache
def bandwidth() -> float:
    """Bytes a second, read and written, of a large copy."""
    a = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    return 2 * a.numel() / median(lambda: b.copy_(a)) * 1e3


def limits(shape: tuple[int, int, int]) -> dict[str, tuple[float, float]]:
    """Forward and backward milliseconds that exponentials and bytes alone would take; nothing recomputed."""
    B, D, L = shape
    card = torch.cuda.get_device_properties(0)
    clock = 1.98e9  # of an H200 under this load; torch does not tell
    special = card.multi_processor_count * 16 * clock
    elements, rows = B * L * D, B * L * N
    by_exp = (elements * (N + 4) / special * 1e3, elements * (2 * N + 4) / special * 1e3)
    by_bytes = ((4 * elements + 2 * rows) * 2 / bandwidth() * 1e3, (7 * elements + 4 * rows) * 2 / bandwidth() * 1e3)
    return {"exponentials": by_exp, "bytes": by_bytes}


def attention(length: int) -> float:
    q, k, v = torch.randn(3, 1, 4, length, 64, device="cuda", dtype=torch.bfloat16)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        return median(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))


def scan_table(log: ResultLines) -> None:
    print(
        f"{'batch x channels x length':28} {'':5} {'forward':>8} {'backward':>8}  mamba-ssm        exponentials   bytes"
    )
    for shape, published in PUBLISHED.items():
        name = "x".join(map(str, shape)) + " bf16"
        bound = limits(shape)
        for slow in (False, True) if shape == (1, 512, 2**20) else (False,):
            t = inputs(*shape, slow=slow)
            mine = ours(t)
            theirs = None if slow else mamba_ssm(t)
            rival, label = (theirs, "mamba-ssm") if theirs else (published, "mamba-ssm published")
            case = name + (" slow dt" if slow else "")
            print(
                f"{case:28} {'':5} {mine[0]:8.3f} {mine[1]:8.3f}  {rival[0]:6.2f} {rival[1]:6.2f}"
                f"{'' if theirs else ' (published)'}  " + "  ".join(f"{f:6.2f} {b:6.2f}" for f, b in bound.values()),
                flush=True,
            )
            for i, metric in enumerate(("forward_ms", "backward_ms")):
                worst = max(bound, key=lambda k, i=i: bound[k][i])
                log.write(case, metric, "ms", mine[i], {} if slow else {label: rival[i]}, bound[worst][i], worst)
            del t
            torch.cuda.empty_cache()


def length_table(log: ResultLines, longest: int) -> None:
    print(f"\n{'length':>9} {'scan 1 x 256':>12} {'attention 256':>14} {'plain scan':>12}   forward, ms")
    for power in range(10, longest + 1, 2):
        length = 2**power
        t = inputs(1, 256, length)
        mine = ours(t)[0]
        rivals = {"FlashAttention": round(attention(length), 4), "plain torch": round(plain_scan(t), 2)}
        print(f"{length:9,} {mine:12.3f} {rivals['FlashAttention']:14.3f} {rivals['plain torch']:12.1f}", flush=True)
        bound = limits((1, 256, length))
        worst = max(bound, key=lambda k: bound[k][0])
        log.write(f"1x256x{length} bf16", "forward_ms", "ms", mine, rivals, bound[worst][0], worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="append result lines to this file")
    parser.add_argument("--quick", action="store_true", help="lengths to 2^14 only in the table beside attention")
    wish = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__, "triton", triton.__version__, "median ms")
    log = ResultLines("selective_scan", wish.json, "cuda")
    scan_table(log)
    length_table(log, 14 if wish.quick else 18)


if __name__ == "__main__":
    main()
