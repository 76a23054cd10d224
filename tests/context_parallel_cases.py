"""Context parallelism against one process, as a script for several: prints the relative errors of every case.

python tests/context_parallel_cases.py RANK WORLD FILE [cuda]      (FILE: where the processes of one run meet)
"""

import atexit
import json
import sys
from typing import Any

import torch
import torch.distributed as dist
from random_models import random_model, random_tokens
from torch import Tensor

from dnamamba.model import MambaLM, ModelState, block_plan
from dnamamba.parallel import SequenceGroup, piece_of, sharing
from dnamamba.parallel.launch import part

DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Rows, length, resets, carried state, recomputation; 37 leaves pieces of 9 and 10 to four processes.
CASES: dict[str, dict[str, Any]] = {
    "whole": {"length": 48},
    "uneven, packed": {"length": 37, "resets": 0.1},
    "resets at the borders of pieces": {"length": 40, "at": (10, 18, 20, 29, 39)},
    "carried state": {"length": 37, "state": True, "resets": 0.05},
    "carried state, recomputed": {"length": 37, "state": True, "recompute": "all"},
    "long, computed again": {"length": 300, "state": True, "resets": 0.01, "recompute": "cheap"},
    "pieces as short as the convolution": {"length": 3 * 4, "state": True},
}


def make_batch(case: dict[str, Any]) -> dict[str, Tensor | None]:
    rows, length = 2, case["length"]
    tokens = random_tokens(rows, length, seed=1)
    targets = random_tokens(rows, length, seed=2, vocab=4).long()
    targets[0, ::5] = -100
    reset = None
    if "resets" in case or "at" in case:
        draw = torch.Generator().manual_seed(3)
        reset = torch.rand(rows, length, generator=draw) < case.get("resets", 0.0)
        reset[:, :5] = False  # what came before the sequence is seen by some of it
        reset[0, list(case.get("at", ()))] = True
    return {"tokens": tokens, "targets": targets, "reset": reset}


def start_of(model: MambaLM, case: dict[str, Any], dtype: torch.dtype) -> ModelState | None:
    if not case.get("state"):
        return None
    draw = torch.Generator().manual_seed(4)
    zeros = ModelState.zeros(model.config, 2, dtype=dtype)
    drawn = [torch.randn(t.shape, generator=draw, dtype=dtype).to(model.device) for t in zeros.tensors()]
    return ModelState.from_tensors([t.requires_grad_() for t in drawn])


def step(model: MambaLM, batch: dict[str, Tensor | None], state: ModelState | None, final: float) -> dict[str, Tensor]:
    """Loss and gradients of the model's loss plus `final` times a function of the state after the sequence."""
    model.zero_grad()
    batch = {name: None if t is None else t.to(model.device) for name, t in batch.items()}
    loss, count, after = model.loss(batch, state)
    weights = torch.Generator().manual_seed(5)
    extra = sum(
        (t * torch.randn(t.shape, generator=weights, dtype=t.dtype).to(t.device)).sum() for t in after.tensors()
    )
    (loss + final * extra).backward()
    found = {"loss": loss.detach(), "count": count} | {name: p.grad for name, p in model.named_parameters()}
    if state is not None:
        found |= {
            f"start {i}": torch.zeros_like(t) if t.grad is None else t.grad for i, t in enumerate(state.tensors())
        }
    return found | {f"final {i}": t.detach() for i, t in enumerate(after.tensors())}


def errors(
    case: dict[str, Any], dtype: torch.dtype, context: SequenceGroup, rows: slice, device: torch.device
) -> dict[str, float]:
    """Relative error of everything a step gives, this process holding one piece of `rows`, against one process."""
    batch = make_batch(case)
    torch.manual_seed(0)  # the same weights in every process
    model = random_model(dtype=dtype, n_layers=2, d_model=case.get("width", 16)).to(device)
    model.recompute = case.get("recompute", "none")
    alone = step(model, batch, start_of(model, case, dtype), 0.5)
    mine = piece_of(batch, context.rank, context.size)
    mine = {name: None if t is None else t[rows] for name, t in mine.items()}
    start = start_of(model, case, dtype)
    state = None if start is None else start.index(rows)
    if state is not None:
        state = ModelState.from_tensors([t.detach().requires_grad_() for t in state.tensors()])
    # The function of the final state is split unevenly among the processes, each of which has a copy of that state.
    share = 0.5 * (1 if context.size == 1 else (context.rank + 1) / (context.size * (context.size + 1) / 2))
    with sharing(model, context):
        ours = step(model, mine, state, share if rows == slice(None) else 0.0)
    if rows != slice(None):
        alone = step(model, batch, start_of(model, case, dtype), 0.0)
    found = {}
    for name, value in ours.items():
        exact = alone[name]
        if name.startswith("final"):
            exact = exact[rows]
        elif name.startswith("start"):
            exact = exact[rows]
            dist.all_reduce(value, group=context.group)
        else:
            dist.all_reduce(value)
        found[name] = float((value.double() - exact.double()).norm() / exact.double().norm().clamp_min(1e-9))
    return found


def is_quick(case: dict[str, Any], kind: str) -> bool:
    """All but the plain walk over many steps."""
    return kind == "float32" or case["length"] < 100


def large(everyone: SequenceGroup, device: torch.device) -> dict[str, dict[str, float]]:
    """A length that many chunks of the GPU's scan share, in float32 and in training's precision."""
    case = {"length": 2**17 + 64, "width": 64, "state": True, "at": (70_000,), "recompute": "cheap"}
    found = {"large, float32": errors(case, torch.float32, everyone, slice(None), device)}
    with torch.autocast("cuda", torch.bfloat16):
        found["large, bfloat16"] = errors(case, torch.float32, everyone, slice(None), device)
    return found


def main(rank: int, world: int, file: str, kind: str = "cpu") -> None:
    torch.set_num_threads(1)
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    backend = "gloo"
    if kind == "cuda":
        torch.cuda.set_device(device)
        backend = "nccl"
    dist.init_process_group(backend, init_method=f"file://{file}", rank=rank, world_size=world)
    atexit.register(part)  # when nothing holds the groups any more
    everyone = SequenceGroup(dist.group.WORLD)
    result = large(everyone, device) if kind == "cuda" else {}
    block_plan.PIECE = 64 * 32  # the backward of a piece goes over several spans
    result |= {
        f"{name}, {kind}": errors(case, dtype, everyone, slice(None), device)
        for name, case in CASES.items()
        for kind, dtype in DTYPES.items()
        if is_quick(case, kind)
    }
    if world == 4:  # data x context: two rows, each cut in two
        pairs = [dist.new_group([0, 1]), dist.new_group([2, 3])]
        mine = SequenceGroup(pairs[rank // 2])
        row = slice(rank // 2, rank // 2 + 1)
        for name in ("uneven, packed", "carried state"):
            for kind, dtype in DTYPES.items():
                result[f"2 x 2, {name}, {kind}"] = errors(CASES[name], dtype, mine, row, device)
    worst = {name: max(found.values()) for name, found in result.items()}
    gathered: list[Any] = [None] * world
    dist.all_gather_object(gathered, worst)
    if rank == 0:
        print(json.dumps({name: max(one[name] for one in gathered) for name in worst}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
