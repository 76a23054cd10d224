"""Training on several GPUs against one: tokens a second of a sequence shared, and of a batch shared.

    torchrun --nproc-per-node 2 tests/benchmarks/bench_parallel.py [--json FILE] [--model 128x12] [--recompute cheap]

A step is forward, backward, the sum of the gradients over the GPUs, clipping and fused AdamW, in bfloat16, on random
letters; median of several. `context`: one sequence of 2^21 tokens, on one GPU whole and on all of them in pieces.
`data`: 16 windows of 2^17, in micro-batches of 8 at most. One GPU trains while the others wait.
"""

import argparse
import os
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist

from dnamamba.bench.results import ResultLines
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.parallel import piece_of, sharing
from dnamamba.parallel.launch import Launch
from dnamamba.parallel.processes import ALONE, Processes

ROWS_AT_ONCE = 8


def draw(rows: int, length: int, device: torch.device) -> dict[str, torch.Tensor | None]:
    """Random letters, the same on every process, each target the next token."""
    stream = torch.randint(0, 4, (rows, length + 1), device=device, generator=torch.Generator(device).manual_seed(1))
    return {"tokens": stream[:, :-1].to(torch.uint8), "targets": stream[:, 1:].contiguous()}


def time_steps(model: MambaLM, batch: dict[str, torch.Tensor | None], processes: Processes, steps: int) -> float:
    """Median milliseconds of a step on this process's part of the work."""
    optimiser = torch.optim.AdamW(model.parameter_groups(0.1), lr=1e-4, fused=True)
    parameters = list(model.parameters())
    assert batch["tokens"] is not None
    rows, tokens = batch["tokens"].shape[0], batch["tokens"].numel()
    times = []
    for _ in range(steps + 2):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        if processes.size > 1:
            dist.barrier()
        begin.record()
        for first in range(0, rows, ROWS_AT_ONCE):
            part = {name: None if t is None else t[first : first + ROWS_AT_ONCE] for name, t in batch.items()}
            with sharing(model, processes.relay):
                with torch.autocast("cuda", torch.bfloat16):
                    loss, _, _ = model.loss(part)
                (loss / tokens).backward()
        processes.sum_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return median(times[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--model", default="128x12", help="width x blocks")
    parser.add_argument("--recompute", default="cheap", choices=("none", "cheap", "all"))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--length", type=int, default=2**21, help="of the shared sequence")
    arguments = parser.parse_args()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    launch = Launch(rank, size, device.index)
    width, blocks = map(int, arguments.model.split("x"))
    lines = ResultLines("parallel_step", arguments.json if rank == 0 else None, "cuda")

    def fresh() -> MambaLM:
        torch.manual_seed(0)
        model = MambaLM(ModelConfig(d_model=width, n_layers=blocks)).to(device)
        model.recompute = arguments.recompute
        return model

    for way, rows, length in (("context", 1, arguments.length), ("data", 16, 2**17)):
        batch = draw(rows, length, device)
        alone = time_steps(fresh(), batch, ALONE, arguments.steps) if rank == 0 else 0.0
        dist.barrier()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        processes = Processes(launch, device, context=size if way == "context" else 1)
        mine = piece_of(batch, rank, size)
        if way == "data":
            mine = {name: None if t is None else t[rank::size] for name, t in batch.items()}
        together = time_steps(fresh(), mine, processes, arguments.steps)
        if rank == 0:
            rates = [rows * length / one * 1e3 for one in (alone, together)]
            peak = torch.cuda.max_memory_allocated() / (rows * length / size)
            print(
                f"{way:8} {arguments.model} {rows}x{length}: {rates[0] / 1e6:.2f} M tokens/s on one GPU, "
                f"{rates[1] / 1e6:.2f} on {size}: {rates[1] / rates[0]:.2f} times; {peak:,.0f} bytes a token of each"
            )
            case = f"{way} {arguments.model} {rows}x{length} on {size}"
            lines.write(case, "tokens_per_s", "1/s", rates[1], {"one GPU": float(f"{rates[0]:.5g}")}, size * rates[0],
                        f"{size} times one GPU")  # fmt: skip
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
