"""The synthetic tasks on a GPU: Mamba beside S4D on induction heads and on selective copying, tables and reports.

    python tests/benchmarks/show_tasks.py --out FOLDER [--json FILE] [--only induction-heads|selective-copying]
        [--induction-steps N] [--copying-steps N] [--copying-lr LR] [--copying-batch N] [--seed N]

Every model of a task gets the same steps, samples and learning rate. Induction heads are trained at the paper's
settings with fewer steps at most; selective copying with fewer steps and a higher constant learning rate than the
paper's 400,000 at 1e-4. A second start with the same options goes on where the first one stopped.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from dnamamba.bench.results import ResultLines
from dnamamba.config import format_size
from dnamamba.tasks.run import run_task


def cases(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Task -> settings in place of the paper's."""
    copying = {"steps": options.copying_steps, "lr": options.copying_lr, "batch": options.copying_batch}
    every = {"induction-heads": {"steps": options.induction_steps}, "selective-copying": copying}
    every = {name: {**changes, "seed": options.seed} for name, changes in every.items()}
    return every if options.only is None else {options.only: every[options.only]}


def write_lines(lines: ResultLines, found: dict[str, Any]) -> None:
    """Accuracy at every length and milliseconds a step, S4D as the rival."""
    models, settings = found["models"], found["settings"]
    steps = f"{settings['batch']}x{settings['length']}, at most {settings['steps']} steps"
    for ours, theirs in zip(models["mamba"]["measured"], models["s4d"]["measured"], strict=True):
        case = f"{found['task']} {steps}, tested at {format_size(ours['length'])}"
        lines.write(case, "accuracy", "1", ours["accuracy"], {"s4d": theirs["accuracy"]}, found["chance"], "chance")
    took = {name: 1000 * one["looks"][-1]["seconds"] / one["looks"][-1]["step"] for name, one in models.items()}
    lines.write(f"{found['task']} {steps}", "ms_per_step", "ms", took["mamba"], {"s4d": took["s4d"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["induction-heads", "selective-copying"])
    parser.add_argument("--induction-steps", type=int, default=100_000)
    parser.add_argument("--copying-steps", type=int, default=12_000)
    parser.add_argument("--copying-lr", type=float, default=3e-3)
    parser.add_argument("--copying-batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lines = ResultLines("task", options.json, device)
    for name, changes in cases(options).items():
        began = time.perf_counter()
        out = options.out / name
        print(run_task(name, ["mamba", "s4d"], [], changes, out, "auto", False))  # type: ignore[arg-type]
        print(f"{name}: {time.perf_counter() - began:.0f} s on {lines.about['device']}\n", flush=True)
        write_lines(lines, json.loads((out / "metrics.json").read_text()))


if __name__ == "__main__":
    main()
