"""Result lines of the GPU benchmarks: one JSON object a line, in the project's format."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch


class ResultLines:
    """Lines of one benchmark, appended to a file where one is wanted."""

    def __init__(self, bench: str, file: Path | None, device: str) -> None:
        self.bench, self.file = bench, file
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        try:
            from triton import __version__ as triton
        except ImportError:
            triton = "none"
        self.about = {
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "triton": triton,
            "commit": commit.stdout.strip() or "unknown",
            "date": date.today().isoformat(),
        }

    def write(
        self,
        case: str,
        metric: str,
        unit: str,
        ours: float,
        rivals: dict[str, float],
        limit: float | None = None,
        limit_is: str | None = None,
    ) -> None:
        """Append one line; without a file nothing happens."""
        line = {
            "bench": self.bench, "case": case, "metric": metric, "unit": unit, "ours": float(f"{ours:.5g}"),
            "rivals": rivals, "limit": limit, "limit_is": limit_is,
        } | self.about  # fmt: skip
        if self.file:
            with self.file.open("a") as out:
                out.write(json.dumps(line) + "\n")
