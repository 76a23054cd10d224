"""What this machine can run: packages, device, C compiler, and a numeric self-test of every kernel engine."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dnamamba import __version__
from dnamamba.installed import Package, required_packages
from dnamamba.kernels import (
    causal_conv1d,
    causal_conv1d_step,
    embedding,
    linear_cross_entropy,
    rms_norm,
    selective_scan,
    selective_step,
)
from dnamamba.kernels.engines import find_c_compiler
from dnamamba.kernels.scan_summary import scan_summary

LIMIT = 1e-4
"""Largest relative error of a value or gradient, float32 inputs; rounding alone leaves about 1e-6."""

_REMEDY = {
    "cpu": "reinstall numba (`pip install --force-reinstall numba llvmlite`), or empty the kernel cache below; "
    "engine='reference' works without it, slowly",
    "triton": "install a C compiler (gcc or clang) and a Triton that belongs to this torch, and check the driver "
    "(`nvidia-smi`); engine='reference' works without them, slowly",
    "reference": "this torch is broken: reinstall it",
}


@dataclass(frozen=True)
class Check:
    """One kernel on one engine."""

    name: str
    engine: str
    error: float
    """Largest relative error against the reference in float64; infinite when the kernel did not run."""
    seconds: float
    message: str = ""
    """What was raised, when it did not run."""

    @property
    def ok(self) -> bool:
        return self.error < LIMIT


@dataclass(frozen=True)
class Report:
    """What `dnamamba doctor` found."""

    version: str
    """Of dnamamba."""
    packages: list[Package]
    machine: dict[str, str]
    runs_on: dict[str, str]
    """Kernel engine by device."""
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks) and not self.unfit

    @property
    def unfit(self) -> list[Package]:
        """Packages that are not here in a version that works; those of optional parts may be missing."""
        return [one for one in self.packages if not one.fits and (one.extra is None or one.version is not None)]

    def text(self) -> str:
        """The report for a terminal, ending with what to do about each failure."""
        lines = ["versions", f"  {'dnamamba':<14} {self.version}"]
        lines += [f"  {one.name:<14} {one.told}" for one in self.packages if one.extra is None]
        if not self.packages:
            lines.append("  (dnamamba is not installed here: what it asks for is not known)")
        optional = [one for one in self.packages if one.extra is not None]
        lines += ["optional parts"] * bool(optional) + [f"  {one.name:<14} {one.told}" for one in optional]
        lines += ["machine"] + [f"  {name:<12} {value}" for name, value in self.machine.items()]
        lines += ["what runs where"] + [f"  {device:<12} {engine}" for device, engine in self.runs_on.items()]
        lines.append(f"self-test (relative error against float64, at most {LIMIT:.0e})")
        for check in self.checks:
            verdict = "ok" if check.ok else "FAILED"
            detail = check.message or f"{check.error:.1e}  {check.seconds:6.2f} s"
            lines.append(f"  {check.name:<16} {check.engine:<10} {verdict:<7} {detail}")
        failed = dict.fromkeys(check.engine for check in self.checks if not check.ok)
        lines += [f"to do: {engine}: {_REMEDY[engine]}" for engine in failed]
        lines += [f"to do: pip install '{one.name}{one.wanted}'" for one in self.unfit]
        wrong = [f"{sum(not c.ok for c in self.checks)} kernel checks failed"] * bool(failed)
        wrong += [f"{len(self.unfit)} packages do not fit"] * bool(self.unfit)
        lines.append("; ".join(wrong) or "all kernels work")
        return "\n".join(lines)


Case = tuple[str, Callable[..., Any], dict[str, Tensor], dict[str, Tensor]]


def _cases() -> Iterator[Case]:
    """Name, op, float inputs that get gradients, other inputs; sizes that end in the middle of every block."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    B, L, D, N = 2, 70, 40, 16
    reset = torch.rand(B, L, generator=draw) < 0.05
    A = -torch.arange(1.0, N + 1).repeat(D, 1)
    scan = {"x": normal(B, L, D), "dt": normal(B, L, D) - 3, "A": A, "B": normal(B, L, N), "C": normal(B, L, N)}
    scan |= {"D": normal(D), "z": normal(B, L, D), "dt_bias": normal(D), "initial_state": normal(B, D, N)}

    def scan_op(**t: Any) -> Any:
        return selective_scan(**t, return_final_state=True)

    yield "selective_scan", scan_op, scan, {"reset": reset}
    conv = {"x": normal(B, L, D), "weight": normal(D, 4), "bias": normal(D), "initial_tail": normal(B, 3, D)}
    yield "causal_conv1d", causal_conv1d, conv, {"reset": reset}
    yield "rms_norm", rms_norm, {"x": normal(B, L, D), "weight": normal(D), "residual": normal(B, L, D)}, {}
    targets = torch.randint(0, 4, (B, L), generator=draw)
    loss = {"hidden": normal(B, L, D), "weight": normal(16, D)}
    yield "cross_entropy", lambda **t: linear_cross_entropy(**t)[0], loss, {"targets": targets}
    yield "embedding", embedding, {"weight": normal(16, D)}, {"tokens": targets}
    piece = {k: scan[k] for k in ("x", "dt", "A", "B", "dt_bias")}
    yield "scan_summary", lambda **t: scan_summary(**t)[:2], {}, piece | {"reset": reset}
    step = {k: t[:, 0] if k in ("x", "dt", "z", "B", "C") else t for k, t in scan.items() if k != "initial_state"}
    yield "selective_step", selective_step, {}, step | {"state": scan["initial_state"]}
    conv_step = {"x": conv["x"][:, 0], "tail": conv["initial_tail"], "weight": conv["weight"], "bias": conv["bias"]}
    yield "conv step", causal_conv1d_step, {}, conv_step


def _run(
    op: Callable[..., Any], floats: dict[str, Tensor], others: dict[str, Tensor], engine: str, device: str, double: bool
) -> list[Tensor]:
    """Values, then the gradients of all `floats`."""

    def moved(t: Tensor) -> Tensor:
        return t.to(device, torch.float64 if double and t.is_floating_point() else t.dtype)

    leaves = {k: moved(t).requires_grad_() for k, t in floats.items()}
    outputs = op(**leaves, **{k: moved(t) for k, t in others.items()}, engine=engine)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    grads = torch.autograd.grad([t.square().sum() for t in outputs], list(leaves.values())) if leaves else ()
    return [t.detach().cpu().double() for t in (*outputs, *grads)]


def _check(case: Case, engine: str, device: str) -> Check:
    name, op, floats, others = case
    start = time.perf_counter()
    try:
        ours = _run(op, floats, others, engine, device, double=False)
    except Exception as error:  # whatever a broken driver or package raises is the finding
        return Check(name, engine, float("inf"), time.perf_counter() - start, f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    theirs = _run(op, floats, others, "reference", "cpu", double=True)
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True)]
    worst = max(e if e == e else float("inf") for e in errors)  # a NaN is as wrong as can be
    return Check(name, engine, worst, seconds)


def _machine() -> dict[str, str]:
    machine = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "processor": f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads",
    }
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            machine[f"cuda:{index}"] = (
                f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute capability {gpu.major}.{gpu.minor}"
            )
    else:
        machine["cuda"] = "none: kernels run on the processor"
    machine["C compiler"] = find_c_compiler() or "none (Triton needs one, on a GPU only)"
    return machine


def _kernel_cache() -> str:
    try:
        from dnamamba.kernels.cpu_code import cache_folder
    except ImportError as error:
        return f"none: {error}"
    folder = cache_folder()
    return "none writable: kernels are compiled anew in every process" if folder is None else str(folder)


def examine() -> Report:
    """Look at this machine and run every kernel on each engine that it has, against the reference in float64.

    Returns:
        The report; `ok` is False when a kernel did not run or is off by more than `LIMIT`.
    """
    engines = [("reference", "cpu"), ("cpu", "cpu")]
    runs_on = {"cpu": "cpu (compiled by numba)", "float64": "reference (plain torch)"}
    if torch.cuda.is_available():
        engines.append(("triton", "cuda"))
        runs_on = {"cuda": "triton"} | runs_on
    machine = _machine() | {"kernel cache": _kernel_cache()}
    checks = [_check(case, engine, device) for engine, device in engines for case in _cases()]
    return Report(__version__, required_packages(), machine, runs_on, checks)
