"""Time the selective scan at the shapes of training beside its limits and mamba-ssm. Needs an NVIDIA GPU.

    python tests/benchmarks/bench_selective_scan.py [--json FILE]

The limits: exponentials (one a state and step, four more in softplus and gate, at the rate measured of them alone) and
bytes (each input and output once, at the bandwidth of a large copy). mamba-ssm is timed where it is installed; else
its published column is what was measured on one H200 with torch 2.11 and stands in the JSON as "mamba-ssm published".
Attention, long convolution and a plain torch scan stand beside it by length in `dnamamba bench --part scan`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
from triton.testing import do_bench

from dnamamba.bench.contenders import scan_inputs
from dnamamba.bench.limits import scan_limits
from dnamamba.bench.results import ResultLines
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


def median(run: Callable[[], Any]) -> float:
    return float(do_bench(run, warmup=20, rep=80, return_mode="median"))


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


def scan_table(log: ResultLines) -> None:
    print(
        f"{'batch x channels x length':28} {'':5} {'forward':>8} {'backward':>8}  mamba-ssm        exponentials   bytes"
    )
    for shape, published in PUBLISHED.items():
        name = "x".join(map(str, shape)) + " bf16"
        bound = {
            name: (forward * 1e3, backward * 1e3)
            for name, (forward, backward) in scan_limits(*shape, torch.bfloat16, "cuda").items()
        }
        for slow in (False, True) if shape == (1, 512, 2**20) else (False,):
            t = scan_inputs(*shape, torch.bfloat16, "cuda", slow=slow)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="append result lines to this file")
    wish = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__, "triton", triton.__version__, "median ms")
    log = ResultLines("selective_scan", wish.json, "cuda")
    scan_table(log)


if __name__ == "__main__":
    main()
