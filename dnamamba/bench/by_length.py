"""Time against length: the scan and its rivals, each on to where a call takes too long or does not fit."""

from collections.abc import Callable, Sequence

import torch

from dnamamba.bench.clock import free_memory, median_seconds
from dnamamba.bench.contenders import Contender, both_of, contenders, forward_of
from dnamamba.bench.limits import scan_limits
from dnamamba.bench.results import Result, short_name
from dnamamba.config import format_size

METRICS = {"forward_ms": forward_of, "forward_backward_ms": both_of}
FREE_SHARE = 0.6
"""Share of the free memory that a call may be expected to take."""


def measure_lengths(
    width: int, lengths: Sequence[int], dtype: torch.dtype, device: str, cap: float, tell: Callable[[str], None]
) -> list[Result]:
    """Milliseconds of a call at batch 1, forward and forward + backward.

    Args:
        width: channels of the scan and of its rivals.
        lengths: in steps, growing.
        dtype: of the activations; the long convolution computes in float32 always.
        device: "cuda" or "cpu".
        cap: a contender whose call took more seconds than this is not asked for the next length.
        tell: called with a line before each length.
    """
    field = contenders(width, dtype, device)
    stopped: dict[tuple[str, str], str] = {}
    results = []
    for length in lengths:
        tell(f"scan and rivals, width {width}, length {format_size(length)}")
        limits = scan_limits(1, width, length, dtype, device)
        for metric in METRICS:
            seconds = {one.name: _measure(one, length, metric, device, cap, stopped) for one in field}
            worst = max(limits, key=lambda name: _limit(limits[name], metric))
            notes = {name: stopped[name, metric] for name, found in seconds.items() if found is None}
            ms = {name: found * 1e3 for name, found in seconds.items() if found is not None}
            case, bound = f"1x{width}x{length} {short_name(dtype)}", _limit(limits[worst], metric) * 1e3
            ours = ms.pop("scan", None)
            results.append(Result("selective_scan", case, metric, "ms", ours, ms, bound, worst, notes))
    return results


def _measure(
    one: Contender, length: int, metric: str, device: str, cap: float, stopped: dict[tuple[str, str], str]
) -> float | None:
    """Seconds of a call, None where this contender has stopped; `stopped` says why."""
    key = (one.name, metric)
    if key in stopped:
        return None
    free = free_memory(device)
    if free is not None and one.memory * length > FREE_SHARE * free:
        stopped[key] = f"about {one.memory * length / 2**30:.0f} GiB at {format_size(length)}"
        return None
    try:
        seconds = median_seconds(METRICS[metric](one, one.inputs(length)), device)
    except torch.OutOfMemoryError:
        stopped[key] = f"out of memory at {format_size(length)}"
        return None
    except RuntimeError as error:  # a backend of attention that this device, dtype or width does not have
        if "No available kernel" not in str(error):
            raise
        stopped[key] = "not available here"
        return None
    finally:
        if device == "cuda":
            torch.cuda.empty_cache()
    if seconds > cap:
        stopped[key] = f"{seconds:.2g} s a call at {format_size(length)}"
    return seconds


def _limit(limit: tuple[float, float], metric: str) -> float:
    return limit[0] if metric == "forward_ms" else sum(limit)
