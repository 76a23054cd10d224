"""Time the compiled CPU scan, forward and forward + backward, beside plain torch scans and its arithmetic limit.

Run it on an otherwise idle machine. Unit: million time steps x channels a second, N = 16, float32, with bias, softplus,
D and gate. Rivals run on a shorter piece, which favours them: their memory is what hurts at length.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.bench.cpu_exponentials import exponentials_a_second
from dnamamba.bench.results import ResultLines
from dnamamba.kernels import reference, selective_scan

CHANNELS, STATES = 256, 16
Inputs = dict[str, Tensor]


def draw(length: int) -> Inputs:
    """dt as the Mamba initialisation gives it: bias log-uniform 1e-3 .. 1e-1, raw dt ~ N(0, 0.5)."""
    torch.manual_seed(0)
    x, z, dt = torch.randn(3, 1, length, CHANNELS)
    rows_B, rows_C = torch.randn(2, 1, length, STATES)
    step = torch.exp(torch.empty(CHANNELS).uniform_(-6.9, -2.3))
    return {
        "x": x, "dt": dt * 0.5, "A": -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1), "B": rows_B, "C": rows_C,
        "D": torch.ones(CHANNELS), "z": z, "dt_bias": torch.log(torch.expm1(step)),
    }  # fmt: skip


def _prepared(t: Inputs) -> tuple[Tensor, Tensor]:
    """Decay and drive of every step, [B, L, D, N]: what the plain scans materialise."""
    step = F.softplus(t["dt"] + t["dt_bias"])
    return torch.exp(step[..., None] * t["A"]), (step * t["x"])[..., None] * t["B"][:, :, None]


def _finish(y: Tensor, t: Inputs) -> Tensor:
    return (y + t["D"] * t["x"]) * F.silu(t["z"])


def transformers_slow_path(**t: Tensor) -> Tensor:
    """The loop of transformers' MambaMixer.slow_forward: everything materialised, one matmul a step."""
    decay, drive = _prepared(t)
    state, outputs = torch.zeros_like(decay[:, 0]), []
    for i in range(decay.shape[1]):
        state = decay[:, i] * state + drive[:, i]
        outputs.append(torch.matmul(state, t["C"][:, i, :, None])[..., 0])
    return _finish(torch.stack(outputs, 1), t)


def mambapy_pscan(**t: Tensor) -> Tensor:
    """The tree scan of mamba.py."""
    from mambapy.pscan import pscan

    states = pscan(*_prepared(t))
    return _finish((states @ t["C"][..., None])[..., 0], t)


def _chunk(decay: Tensor, drive: Tensor, state: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for i in range(decay.shape[1]):
        state = decay[:, i] * state + drive[:, i]
        outputs.append((state * C[:, i, None]).sum(-1))
    return torch.stack(outputs, 1), state


def compiled_chunk() -> Callable[..., Tensor]:
    """torch.compile over 16 unrolled steps."""
    fast = torch.compile(_chunk)

    def scan(**t: Tensor) -> Tensor:
        decay, drive = _prepared(t)
        state, outputs = torch.zeros_like(decay[:, 0]), []
        for i in range(0, decay.shape[1], 16):
            y, state = fast(decay[:, i : i + 16], drive[:, i : i + 16], state, t["C"][:, i : i + 16])
            outputs.append(y)
        return _finish(torch.cat(outputs, 1), t)

    return scan


def rivals() -> dict[str, tuple[Callable[..., Tensor], int]]:
    """Name -> scan and the length it is timed at."""
    found = {
        "plain torch loop": (lambda **t: reference.selective_scan(**t)[0], 512),
        "transformers slow path": (transformers_slow_path, 512),
        "torch.compile, 16-step chunks": (compiled_chunk(), 512),
    }
    if find_spec("mambapy"):
        found["mambapy pscan"] = (mambapy_pscan, 512)
    return found


def rates(scan: Callable[..., Tensor], length: int, repeats: int) -> tuple[float, float]:
    """Median forward and forward + backward, million step-channels a second."""
    inputs = draw(length)
    leaves = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
    dy = torch.randn(1, length, CHANNELS)
    forward, both = [], []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        with torch.no_grad():
            scan(**inputs)
        middle = time.perf_counter()
        torch.autograd.grad(scan(**leaves), list(leaves.values()), dy)
        if repeat:  # the first warms up
            forward.append(middle - start)
            both.append(time.perf_counter() - middle)
    work = length * CHANNELS / 1e6
    return work / statistics.median(forward), work / statistics.median(both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="append one JSON object a line")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--no-rivals", action="store_true")
    options = parser.parse_args()
    limit = exponentials_a_second() / STATES / 1e6
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"limit by exponentials alone: {limit:.0f} M step-channels/s")
    others = {} if options.no_rivals else {n: rates(scan, L, 2) for n, (scan, L) in rivals().items()}
    lines = ResultLines("cpu_scan", options.json, "cpu")
    for length in (16_384, 131_072):
        ours = rates(selective_scan, length, options.repeats if length < 100_000 else 3)
        for i, metric in enumerate(("forward", "forward + backward")):
            print(f"1x{CHANNELS}x{length:<7} {metric:<19} ours {ours[i]:7.1f}", end="")
            print("".join(f"   {name} {rate[i]:.2f}" for name, rate in others.items()))
            lines.write(
                f"1x{CHANNELS}x{length} float32 {metric}", "steps_per_s", "million step-channels/s", ours[i],
                {name: rate[i] for name, rate in others.items()},
                limit, "16 polynomial exponentials a step-channel, nothing else",
            )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
