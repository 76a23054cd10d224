"""Which engine runs an op: Triton on a GPU, the compiled engine on the CPU, or the plain reference."""

import os
import shutil
from functools import cache

import torch
from torch import Tensor

ENGINES = ("triton", "cpu", "reference")
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def choose(op: str, engine: str | None, *tensors: Tensor | None) -> str:
    """Name the engine that runs `op` on these tensors; `engine` is the caller's wish or None.

    Without a wish float64 goes to the reference, a CUDA tensor to Triton, a CPU tensor to the compiled engine, and any
    other device to the reference.

    Raises:
        ValueError: an unknown engine, several devices, or a dtype or device that the wished engine cannot run.
        RuntimeError: Triton is chosen and has no C compiler to build its launcher with.
    """
    present = [t for t in tensors if t is not None]
    devices = {t.device for t in present}
    if len(devices) > 1:
        raise ValueError(f"{op}: all tensors must be on one device, got {', '.join(sorted(map(str, devices)))}")
    device = devices.pop().type
    double = any(t.dtype == torch.float64 for t in present)
    if engine is None:
        engine = "reference" if double else {"cuda": "triton", "cpu": "cpu"}.get(device, "reference")
    if engine not in ENGINES:
        raise ValueError(f"{op}: engine must be one of {', '.join(ENGINES)} or None, got {engine!r}")
    if engine != "reference" and double:
        raise ValueError(f"{op}: float64 is computed by engine='reference' only, got engine={engine!r}")
    if engine == "cpu" and device != "cpu":
        raise ValueError(f"{op}: engine='cpu' takes CPU tensors, got {device}")
    if engine == "triton":
        if device == "cuda":
            require_c_compiler()
        elif os.environ.get("TRITON_INTERPRET") != "1":
            raise ValueError(
                f"{op}: engine='triton' takes CUDA tensors (or TRITON_INTERPRET=1, set early), got {device}"
            )
    return engine


def find_c_compiler() -> str | None:
    """The C compiler that Triton would build its launcher with, or None."""
    return os.environ.get("CC") or next((path for name in ("gcc", "clang", "cc") if (path := shutil.which(name))), None)


@cache
def require_c_compiler() -> None:
    """Stop with a message that names the fix when Triton could not build its launcher."""
    if find_c_compiler() is None:
        raise RuntimeError(
            "Triton builds its GPU launcher with the system's C compiler, and none was found (CC, gcc, clang, cc): "
            "install one, for example `apt-get install gcc` or `conda install gcc`, or set CC to its path; "
            "engine='reference' runs without one, slowly"
        )


def check_floats(op: str, **tensors: Tensor | None) -> None:
    """Raise ValueError naming the first tensor whose dtype no engine takes."""
    for name, tensor in tensors.items():
        if tensor is not None and tensor.dtype not in (*FLOATS, torch.float64):
            raise ValueError(f"{op}: {name} must be float32, bfloat16, float16 or float64, got {tensor.dtype}")


def check_shape(op: str, name: str, tensor: Tensor | None, shape: tuple[int, ...], axes: str) -> None:
    """Raise ValueError when an optional tensor is not of `shape`; `axes` spells it, as in "[B, L, D]"."""
    if tensor is not None and tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{op}: {name} must be {axes} = {list(shape)}, got {list(tensor.shape)}")


def check_reset(op: str, reset: Tensor | None, shape: tuple[int, int]) -> None:
    """Raise ValueError when `reset` is not a bool tensor of `shape` [B, L]."""
    check_shape(op, "reset", reset, shape, "[B, L]")
    if reset is not None and reset.dtype != torch.bool:
        raise ValueError(f"{op}: reset must be bool, got {reset.dtype}")
