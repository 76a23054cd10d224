"""Train at contexts from 2^10 to 2^24: tokens a second, peak bytes a token, seconds a step, beside mamba-ssm.

    python tests/benchmarks/bench_long_context.py [--cases "128x12 1x16777216" ...] [--memory fast lean 16] [--json F]
    python tests/benchmarks/bench_long_context.py --chromosome [--memory fast]

A case is width x blocks, batch x length. `--memory` is the training's own setting: fast, lean, or GB; the plan that it
leads to stands in the table as windows x tokens at a time. One optimiser step: bfloat16 autocast, float32 parameters,
fused AdamW, random letters. Bytes a token: the allocator's peak over a step, weights and optimiser included.
`--chromosome` is one exact step through 248,956,422 bases, the length of human chromosome 1. mamba-ssm's figures were
measured of its own language model on one H200; where it has none, it ran out of memory or was not tried.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from bench_train_step import PUBLISHED

from dnamamba.bench.results import ResultLines
from dnamamba.bench.training import read_case
from dnamamba.memory import MemoryPlan, Portion, plan_memory
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model.sliced import sliced_step

CHROMOSOME = 248_956_422
MODELS = ("128x6", "256x8", "128x12", "256x16")
POWERS = range(10, 25, 2)
TOKENS = 2**20


def default_cases() -> list[str]:
    """The published cases of the four models, and every other power of two from 2^10 to 2^24."""
    cases = [case for case in PUBLISHED if case.split()[0] in MODELS]
    for model in MODELS:
        cases += [f"{model} {max(1, TOKENS >> power)}x{1 << power}" for power in POWERS]
    return sorted(set(cases), key=lambda case: (MODELS.index(case.split()[0]), read_case(case)[3], read_case(case)[2]))


def build(case: str, device: str, recompute: str) -> tuple[MambaLM, torch.optim.Optimizer]:
    """Our model and its optimiser."""
    width, blocks, *_ = read_case(case)
    torch.manual_seed(0)
    model = MambaLM(ModelConfig(d_model=width, n_layers=blocks)).to(device)
    model.recompute = recompute
    return model, torch.optim.AdamW(model.parameter_groups(0.1), lr=1e-4, fused=True)


class Told:
    """Says how far a long step is, every ten seconds."""

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()

    def __call__(self, share: float) -> None:
        now = time.perf_counter()
        if now - self.last > 10:
            self.last = now
            print(f"  {share:6.1%} after {now - self.began:.0f} s", flush=True)


def step_of(
    model: MambaLM, optimiser: torch.optim.Optimizer, case: str, portion: Portion, say: bool
) -> Callable[[], tuple[float, float]]:
    """A function that trains one step and returns the mean loss and the gradient's norm."""
    _, _, batch, length = read_case(case)
    device = model.device
    letters = torch.randint(0, 4, (batch, length + 1), dtype=torch.uint8, device=device)  # a byte a base, whole
    autocast = torch.bfloat16 if device.type == "cuda" else None
    tell = Told() if say else None

    def step() -> tuple[float, float]:
        loss = torch.zeros((), device=device, dtype=torch.float64)
        for rows in letters.split(portion.rows):

            def cut(start: int, end: int, rows: torch.Tensor = rows) -> dict[str, torch.Tensor | None]:
                return {"tokens": rows[:, start:end], "targets": rows[:, start + 1 : end + 1].long()}

            part, _, _ = sliced_step(
                model, cut, length, portion.slice_length,
                scale=1 / (batch * length), autocast=autocast, progress=tell,
            )  # fmt: skip
            loss += part
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss) / (batch * length), float(norm)

    return step


def measure(step: Callable[[], tuple[float, float]], device: str, steps: int, warm: int) -> tuple[float, int, float]:
    """Median seconds of a step, the peak of allocated bytes (0 on the CPU), the last loss."""
    for _ in range(warm):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    loss = norm = 0.0
    for _ in range(steps):
        began = time.perf_counter()
        loss, norm = step()
        seconds.append(time.perf_counter() - began)
    if not 0 < loss < 10 or not 0 < norm < 1e6:
        raise SystemExit(f"loss {loss}, gradient norm {norm}: that is no training step")
    return median(seconds), torch.cuda.max_memory_allocated() if device == "cuda" else 0, loss


def choose(model: MambaLM, case: str, memory: str | float, slice_length: int | None) -> Portion:
    """The training's own plan for a case, or a slice length that was asked for."""
    _, _, batch, length = read_case(case)
    if slice_length is not None:
        return Portion(min(batch, max(1, slice_length // length)), min(length, slice_length))
    autocast = torch.bfloat16 if model.device.type == "cuda" else None
    plan: MemoryPlan = plan_memory(model, {length: batch}, memory, autocast=autocast)
    return plan[length]


def run_case(case: str, memory: str | float, wish: argparse.Namespace, lines: ResultLines) -> None:
    _, _, batch, length = read_case(case)
    tokens = batch * length
    model, optimiser = build(case, wish.device, wish.recompute)
    portion = choose(model, case, memory, wish.slice)
    step = step_of(model, optimiser, case, portion, say=tokens >= 2**26)
    began = time.perf_counter()
    warm = 2 if tokens < 2**24 else 1 if tokens < 2**26 else 0  # a plan's own probe has compiled everything
    seconds, peak, loss = measure(step, wish.device, 1 if tokens >= 2**24 else wish.steps, warm)
    rate, each = tokens / seconds, peak / tokens
    published = PUBLISHED.get(case)
    beside = "" if published is None else f"{published[0] / 1e6:.2f} M, {published[1]:,} B"
    ratio = "" if published is None else f"   {rate / published[0]:.2f}x, {each / published[1]:.2f}x"
    plan = f"{portion.rows}x{portion.slice_length}"
    print(
        f"{case:20} {memory!s:5} {plan:>14} {seconds:9.3f} {rate / 1e6:8.3f} {each:9,.0f} {peak / 1e9:7.2f} {loss:8.4f}"
        f"   {beside}{ratio}   ({time.perf_counter() - began:.0f} s)",
        flush=True,
    )
    name = f"{case} {memory}{'' if isinstance(memory, str) else ' GB'}"
    rivals = [{}, {}] if published is None else [{"mamba-ssm published": value} for value in published]
    lines.write(name, "tokens_per_s", "1/s", rate, rivals[0])
    lines.write(name, "step_seconds", "s", seconds, {})
    if peak:
        lines.write(name, "bytes_per_token", "bytes", each, rivals[1])
        lines.write(name, "peak_gb", "1e9 bytes", peak / 1e9, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", help="as '128x6 1x1048576'; all models and contexts when left out")
    parser.add_argument("--memory", nargs="+", default=["fast", "lean"], help="fast, auto, lean or GB")
    parser.add_argument("--recompute", default="cheap", help="what a block's backward computes again")
    parser.add_argument("--slice", type=int, help="tokens at a time, in place of the plan's")
    parser.add_argument("--chromosome", action="store_true", help=f"one 128x12 step through {CHROMOSOME:,} bases")
    parser.add_argument(
        "--steps", type=int, default=3, help="timed steps a case, after two that are not; one from 2^24 on"
    )
    parser.add_argument("--json", type=Path, help="append result lines to this file")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    wish = parser.parse_args()
    cases = wish.cases or ([f"128x12 1x{CHROMOSOME}"] if wish.chromosome else default_cases())
    memories = [text if text in ("fast", "auto", "lean") else float(text) for text in wish.memory]
    where = torch.cuda.get_device_name() if wish.device == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, recompute {wish.recompute}")
    print(
        f"{'case':20} {'':5} {'at a time':>14} {'seconds':>9} {'M tok/s':>8} {'B/token':>9} {'peak GB':>7} {'loss':>8}"
        "   mamba-ssm, ratios to it"
    )
    lines = ResultLines("long_context", wish.json, wish.device)
    for case in cases:
        for memory in memories:
            run_case(case, memory, wish, lines)
            if wish.device == "cuda":
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
