"""Where a run computes, and in which precision."""

import resource
import sys
import time
from typing import Literal

import torch
from torch import Tensor

from dnamamba.errors import InputError
from dnamamba.kernels.engines import require_c_compiler

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


def choose_device(device: Device | torch.device) -> torch.device:
    """The device meant: "auto" is the first CUDA device where there is one, else the CPU.

    From Python it may be one of several GPUs too: "cuda:1", or a torch.device.

    Raises:
        InputError: another word, "cuda" without one, or a GPU beside no C compiler, which Triton needs.
    """
    kind, colon, number = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and (kind == "auto" or not number.isdecimal())):
        raise InputError(f"device: want auto, cpu or cuda, got {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: {device} is wanted but torch sees no GPU; `dnamamba doctor` says more")
    if number and kind == "cuda" and int(number) >= torch.cuda.device_count():
        raise InputError(f"device: {device} is wanted but torch sees {torch.cuda.device_count()} GPUs, from cuda:0 on")
    if kind == "auto":
        device = kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        try:
            require_c_compiler()
        except RuntimeError as error:
            raise InputError(f"device: {error}; run.device=cpu needs none") from None
    return torch.device(device)


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The dtype of matrix products: bfloat16 where wanted and had, else None for float32 throughout.

    "auto" is bfloat16 on a GPU that has it in hardware, float32 elsewhere.

    Raises:
        InputError: another word, or bfloat16 is wanted on a GPU without it.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(f"precision: want auto, float32 or bfloat16, got {precision!r}")
    had = device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not had:
        raise InputError("precision: bfloat16 is wanted but this GPU has none; use precision=float32")
    if precision == "bfloat16" or (precision == "auto" and device.type == "cuda" and had):
        return torch.bfloat16
    return None


def settled_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """What a precision comes to on a device; errors as `autocast_dtype`."""
    return "float32" if autocast_dtype(precision, device) is None else "bfloat16"


def peak_memory(device: torch.device) -> int:
    """Bytes: the most in use on a GPU since `reset_peak_memory`, or the most that this process ever held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure anew where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def send_to_host(values: Tensor) -> Tensor:
    """A copy on the CPU, there once the device has come so far. Reading a tensor itself would wait for all that is
    queued on the device by then, not for what the tensor was made of."""
    if values.device.type != "cuda":
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    return host


def send_to_device(values: Tensor, device: torch.device) -> Tensor:
    """A copy on a device, made when its turn comes: the host goes on at once. Any other copy to a GPU waits until all
    that is queued on it is done."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class Moment:
    """A moment in a device's own work: on a GPU when what was queued before it is done, which the host learns later."""

    def __init__(self, device: torch.device) -> None:
        self._event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._event is not None:
            self._event.record()
        self._clock = time.monotonic()

    def wait(self) -> None:
        """Until the device is there."""
        if self._event is not None:
            self._event.synchronize()

    def since(self, earlier: "Moment") -> float:
        """Seconds from `earlier`; both must have come."""
        if self._event is None or earlier._event is None:
            return self._clock - earlier._clock
        return float(earlier._event.elapsed_time(self._event)) / 1000
