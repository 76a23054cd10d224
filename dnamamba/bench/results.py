"""What a benchmark found, and the project's lines of JSON for it: one figure a line, with the machine it is of."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


@dataclass(frozen=True)
class Result:
    """One measured figure beside those of its rivals and its physical limit."""

    bench: str
    case: str
    metric: str
    unit: str
    ours: float | None
    """None where it was not measured; `notes` says why."""
    rivals: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    """What the machine allows at best, in the unit of `ours`."""
    limit_is: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    """By name of what has no figure: why."""


def short_name(dtype: torch.dtype) -> str:
    """As cases spell it: bf16, float32."""
    return "bf16" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch.")


def describe_machine(device: str) -> dict[str, str]:
    """Device and versions, as every line of JSON carries them; `commit` is that of the checkout, if this is one."""
    root = Path(__file__).parent
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    cores = f"{os.cpu_count()} cores {platform.machine()}, {torch.get_num_threads()} threads"
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cores,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "triton": _version("triton"),
        "commit": head.stdout.strip() or "unknown",
        "date": date.today().isoformat(),
    }


def to_line(result: Result, machine: Mapping[str, str]) -> str:
    """One JSON object in the project's format; `notes` only where there are some."""
    line = {
        "bench": result.bench, "case": result.case, "metric": result.metric, "unit": result.unit,
        "ours": _short(result.ours), "rivals": {name: _short(value) for name, value in result.rivals.items()},
        "limit": _short(result.limit), "limit_is": result.limit_is,
    } | ({"notes": dict(result.notes)} if result.notes else {})  # fmt: skip
    return json.dumps(line | dict(machine))


def append_lines(file: Path, results: Iterable[Result], machine: Mapping[str, str]) -> None:
    """Append a line for each result."""
    with file.open("a", encoding="utf-8") as out:
        out.writelines(to_line(result, machine) + "\n" for result in results)


class ResultLines:
    """Lines of one benchmark script, appended to a file where one is wanted, as they come."""

    def __init__(self, bench: str, file: Path | None, device: str) -> None:
        self.bench, self.file, self.about = bench, file, describe_machine(device)

    def write(
        self,
        case: str,
        metric: str,
        unit: str,
        ours: float,
        rivals: Mapping[str, float],
        limit: float | None = None,
        limit_is: str | None = None,
    ) -> None:
        """Append one line; without a file nothing happens."""
        if self.file:
            result = Result(self.bench, case, metric, unit, ours, rivals, limit, limit_is)
            append_lines(self.file, [result], self.about)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
