"""One optimiser step of the whole model: tokens a second and peak memory, beside mamba-ssm.

    python tests/benchmarks/bench_train_step.py [--cases "128x6 1x1048576" ..] [--mode fast|lean|none|plain ..]
    python tests/benchmarks/bench_train_step.py --cases "128x6 1x1048576" --profile

A case is width x blocks, batch x length. bfloat16 autocast, float32 parameters, fused AdamW, vocabulary 16, random
tokens. mamba-ssm's column is what was measured of its own language model on one H200 (torch 2.11); where it is
installed, it runs here too. Bytes a token: the allocator's peak over a step, weights and optimiser included.
"""

import argparse
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from dnamamba.bench.results import ResultLines
from dnamamba.bench.training import MODES, draw_batch, measure_step, read_case, training_step

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


def their_step(case: str) -> Callable[[], None]:
    """The same of mamba-ssm."""
    from mamba_ssm.models.config_mamba import MambaConfig
    from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel

    shape = read_case(case)
    config = MambaConfig(d_model=shape.width, n_layer=shape.blocks, vocab_size=16, pad_vocab_size_multiple=16)
    model = MambaLMHeadModel(config, device="cuda")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = draw_batch(shape, "cuda")
    tokens = batch["tokens"].long()

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(tokens).logits
        torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch["targets"].flatten()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


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
        shape = read_case(case)
        tokens = shape.batch * shape.length
        published = PUBLISHED.get(case)
        rivals = {"mamba-ssm published": published} if published else {}
        if device == "cuda" and find_spec("mamba_ssm"):
            seconds, peak = measure_step(partial(their_step, case), device)
            rivals["mamba-ssm"] = (tokens / seconds, round(peak / tokens))
            torch.cuda.empty_cache()
        for mode in wish.mode:
            build = partial(training_step, case, mode, device, torch.bfloat16)
            seconds, peak = measure_step(build, device)
            beside = "   ".join(f"{name}: {rate / 1e6:.2f}, {size:,}" for name, (rate, size) in rivals.items())
            rate = tokens / seconds
            print(
                f"{case:20} {mode:5} {seconds * 1e3:9.2f} {rate / 1e6:11.3f} {(peak or 0) / tokens:12,.0f}   {beside}",
                flush=True,
            )
            name = case if mode == "fast" else f"{case} {mode}"
            lines.write(name, "tokens_per_s", "1/s", rate, {k: v[0] for k, v in rivals.items()})
            if peak:
                lines.write(name, "bytes_per_token", "bytes", peak / tokens, {k: v[1] for k, v in rivals.items()})
            if wish.profile:
                print_profile(build(), device)
            if device == "cuda":
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
