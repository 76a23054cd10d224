"""One optimiser step of the whole model: tokens a second and peak memory, beside mamba-ssm.

    python tests/benchmarks/bench_train_step.py [--cases "128x6 1x1048576" ..] [--mode fast|lean|none|plain ..]
    python tests/benchmarks/bench_train_step.py --cases "128x6 1x1048576" --profile

A case is width x blocks, batch x length. bfloat16 autocast, float32 parameters, fused AdamW, vocabulary 16, random
tokens. mamba-ssm's column is what was measured of its own language model on one H200 (torch 2.11); where it is
installed, it runs here too. Bytes a token: the allocator's peak over a step, weights and optimiser included.
"""

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from result_lines import ResultLines
from torch.profiler import ProfilerActivity, profile

from dnamamba.model import MambaLM, ModelConfig

# Case: mamba-ssm's tokens a second and bytes a token, one H200.
PUBLISHED = {
    "128x6 1024x1024": (3.51e6, 20_074),
    "128x6 32x32768": (4.62e6, 19_978),
    "128x6 8x131072": (4.45e6, 19_978),
    "128x6 1x1048576": (3.48e6, 19_978),
    "128x6 1x4194304": (3.48e6, 19_922),
    "256x8 1024x1024": (1.34e6, 48_760),
    "256x8 32x32768": (1.84e6, 48_503),
    "256x8 8x131072": (1.80e6, 48_503),
    "256x8 1x1048576": (1.40e6, 48_503),
    "128x12 1024x1024": (1.76e6, 34_987),
    "128x12 64x16384": (2.31e6, 34_795),
    "128x12 8x131072": (2.26e6, 34_795),
    "128x12 1x1048576": (1.77e6, 34_795),
    "128x12 1x2097152": (1.72e6, 34_754),
    "256x16 1024x1024": (0.68e6, 87_495),
    "256x16 64x16384": (0.90e6, 86_983),
    "256x16 8x131072": (0.90e6, 86_983),
    "256x16 1x1048576": (0.70e6, 86_983),
    "64x8 1x1048576": (2.86e6, 13_132),
    "512x12 1x262144": (0.58e6, 134_783),
}
DEFAULT = ["128x6 1x1048576", "128x6 32x32768", "128x6 1024x1024", "256x8 1x1048576", "256x8 32x32768"]
MODES = {"fast": "cheap", "lean": "all", "none": "none", "plain": "none"}
"""What the backward computes again; plain is the path without a plan, autograd keeping what it likes."""


def numbers(case: str) -> tuple[int, ...]:
    """Width, blocks, batch, length."""
    found = re.fullmatch(r"(\d+)x(\d+) (\d+)x(\d+)", case)
    if found is None:
        raise SystemExit(f"case {case!r}: want width x blocks, batch x length, as in '128x6 1x1048576'")
    return tuple(map(int, found.groups()))


def draw(case: str, device: str) -> dict[str, torch.Tensor]:
    """Random letters, each target the next token."""
    _, _, batch, length = numbers(case)
    stream = torch.randint(0, 4, (batch, length + 1), device=device)
    return {"tokens": stream[:, :-1].to(torch.uint8), "targets": stream[:, 1:].contiguous()}


def our_step(case: str, mode: str, device: str) -> Callable[[], None]:
    """A function that trains one step of our model."""
    width, blocks, *_ = numbers(case)
    torch.manual_seed(0)
    model = MambaLM(ModelConfig(d_model=width, n_layers=blocks)).to(device)
    model.recompute = MODES[mode]
    if mode == "plain":
        for layer in model.backbone.layers:
            layer.forward = lambda *inputs, layer=layer: layer.plain(*inputs[:4])
    optimiser = torch.optim.AdamW(model.parameter_groups(0.1), lr=1e-4, fused=True)
    batch = draw(case, device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss, count, _ = model.loss(batch)
        (loss / count).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def their_step(case: str) -> Callable[[], None] | None:
    """The same of mamba-ssm, None where it is not installed."""
    try:
        from mamba_ssm.models.config_mamba import MambaConfig
        from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel
    except ImportError:
        return None
    width, blocks, *_ = numbers(case)
    config = MambaConfig(d_model=width, n_layer=blocks, vocab_size=16, pad_vocab_size_multiple=16)
    model = MambaLMHeadModel(config, device="cuda")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = draw(case, "cuda")
    tokens = batch["tokens"].long()

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(tokens).logits
        torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch["targets"].flatten()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def measure(step: Callable[[], None], device: str, steps: int) -> tuple[float, int]:
    """Median seconds of a step, and the peak of allocated bytes (0 on the CPU)."""
    cuda = device == "cuda"
    for _ in range(2):
        step()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return median(seconds), torch.cuda.max_memory_allocated() if cuda else 0


def print_profile(step: Callable[[], None], device: str, rows: int = 45, steps: int = 2) -> None:
    """Kernels by time, and matrix products by the shapes they were called with; both per step."""
    cuda = device == "cuda"
    step()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with profile(activities=activities, record_shapes=True) as recorded:
        for _ in range(steps):
            step()
        if cuda:
            torch.cuda.synchronize()

    def own(event: object) -> float:
        """Milliseconds a step."""
        time_us = event.self_device_time_total if cuda else event.self_cpu_time_total  # type: ignore[attr-defined]
        return float(time_us) / 1e3 / steps

    def on_device(event: object) -> bool:
        return not cuda or "CUDA" in str(event.device_type)  # type: ignore[attr-defined]

    kernels = sorted((e for e in recorded.key_averages() if own(e) > 0 and on_device(e)), key=own, reverse=True)
    total = sum(map(own, kernels))
    print(f"  {'ms/step':>9} {'share':>6} {'calls':>6} {'us/call':>9}  kernel   (all kernels: {total:.2f} ms)")
    for event in kernels[:rows]:
        calls = event.count / steps
        each = own(event) / calls * 1e3
        print(f"  {own(event):9.3f} {own(event) / total:6.1%} {calls:6.0f} {each:9.1f}  {event.key[:110]}")
    ops = [e for e in recorded.key_averages(group_by_input_shape=True) if e.key.startswith("aten::") and own(e) > 0]
    print(f"  {'ms/step':>9} {'calls':>6} {'us/call':>9}  torch ops by the shapes of their inputs")
    for event in sorted(ops, key=own, reverse=True)[:rows]:
        calls = event.count / steps
        print(f"  {own(event):9.3f} {calls:6.0f} {own(event) / calls * 1e3:9.1f}  {event.key} {event.input_shapes}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=DEFAULT, help="as '128x6 1x1048576'")
    parser.add_argument("--mode", choices=MODES, nargs="+", default=["fast"], help="what the backward computes again")
    parser.add_argument("--steps", type=int, default=5, help="timed steps a case, after two that are not")
    parser.add_argument("--json", type=Path, help="append result lines to this file")
    parser.add_argument("--profile", action="store_true", help="print where the time of a step goes")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    wish = parser.parse_args()
    device = wish.device
    print(torch.cuda.get_device_name() if device == "cuda" else "CPU", "torch", torch.__version__, "bfloat16 autocast")
    print(
        f"{'case':20} {'mode':5} {'ms/step':>9} {'M tokens/s':>11} {'bytes/token':>12}   mamba-ssm: M tokens/s, bytes"
    )
    lines = ResultLines("train_step", wish.json, device)
    for case in wish.cases:
        _, _, batch, length = numbers(case)
        tokens = batch * length
        published = PUBLISHED.get(case)
        rivals = {"mamba-ssm published": published} if published else {}
        if device == "cuda" and (theirs := their_step(case)):
            seconds, peak = measure(theirs, device, wish.steps)
            rivals["mamba-ssm"] = (tokens / seconds, round(peak / tokens))
            del theirs
            torch.cuda.empty_cache()
        for mode in wish.mode:
            step = our_step(case, mode, device)
            seconds, peak = measure(step, device, wish.steps)
            beside = "   ".join(f"{name}: {rate / 1e6:.2f}, {size:,}" for name, (rate, size) in rivals.items())
            rate = tokens / seconds
            print(
                f"{case:20} {mode:5} {seconds * 1e3:9.2f} {rate / 1e6:11.3f} {peak / tokens:12,.0f}   {beside}",
                flush=True,
            )
            name = case if mode == "fast" else f"{case} {mode}"
            lines.write(name, "tokens_per_s", "1/s", rate, {k: v[0] for k, v in rivals.items()})
            if peak:
                lines.write(name, "bytes_per_token", "bytes", peak / tokens, {k: v[1] for k, v in rivals.items()})
            if wish.profile:
                print_profile(step, device)
            del step
            if device == "cuda":
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
