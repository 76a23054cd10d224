"""From how far can a small model learn to copy? Taught nearest copies first; then asked at every distance.

    python tests/benchmarks/learn_to_copy.py --out MODEL [--model 256x4] [--farthest 16k] [--total 400M] [--device cuda]

Random letters, in which runs of 60 to 200 come once more, 2% of them changed, from a distance that is log-uniform
between 8 and a bound. The bound begins at 24 and grows by 1.4 as soon as copies from its farther half cost less than
half a bit a letter (from the 21st on), or when a 24th of all letters was spent on it: a model that meets distances
up to 1,024 from the beginning had learnt nothing of any after 8 M letters, one that met near ones first copied from 24,
33 and 46 letters by then (64x2, two CPU cores). No genome; windows of 2.5 bounds.
The table at the end: bits a letter for letters 31 to 200 of a run that came once before, exactly so far upstream, the
rest being random. MODEL is a model directory (`dnamamba pretrain --start-from MODEL` goes on from it on genomes).
"""

import argparse
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch

from dnamamba.config import format_size, parse_size
from dnamamba.letters import vocabulary_of
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model_directory import save
from dnamamba.pipelines.alphabet import ALPHABETS

NEAREST, FIRST_BOUND, GROWTH = 8, 24, 1.4
RUN, GAP = (60, 200), (0, 60)  # letters of a copy, and between two
WORN = 0.02  # share of letters that changed
RECOGNISED = 20  # letters of a copy before which a reader cannot know that it is one
LEARNT = 0.5  # bits a letter
PATIENCE = 24  # bounds for which there are letters, however little is learnt
WARMUP, COOLING = 100, 0.2  # steps; share of all letters over which the rate falls to nothing


class Copies(NamedTuple):
    """Letters and what there is to know about them, each [rows, length]."""

    letters: torch.Tensor
    """0..3, int64."""
    far: torch.Tensor
    """How far upstream the letter was copied from, for a reader who had 20 letters to notice; 0 where nobody can know.
    Another copy of the same letters may stand nearer."""


def copies(dice: torch.Generator, rows: int, length: int, bound: int) -> Copies:
    """Random letters with runs that come once more from NEAREST to `bound` letters upstream."""

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=dice, device=dice.device)

    runs = length // (sum(RUN) + sum(GAP)) * 4 + 8  # twice as many as fill a row on average
    size = RUN[0] + (uniform(rows, runs) * (RUN[1] - RUN[0])).long()
    gap = GAP[0] + (uniform(rows, runs) * (GAP[1] - GAP[0])).long()
    gap[:, 0] = NEAREST + 1 + (uniform(rows) * (bound - NEAREST)).long()  # before which there is nothing to copy
    start = (size + gap).cumsum(1) - size
    farthest = start.clamp(max=bound).float()
    distance = (NEAREST * (farthest / NEAREST) ** uniform(rows, runs)).long()

    at = torch.arange(length, device=dice.device).expand(rows, length).contiguous()
    run = (torch.searchsorted(start, at, right=True) - 1).clamp(min=0)
    into = at - start.gather(1, run)
    inside = (into >= 0) & (into < size.gather(1, run))
    distance = torch.where(inside, distance.gather(1, run), 0)
    # Every letter points upstream to its original, which may be a copy too: double the steps until nothing moves.
    source = at - distance
    while True:
        further = source.gather(1, source)
        if torch.equal(further, source):
            break
        source = further
    letters = (uniform(rows, length) * 4).long().gather(1, source)
    changed = (letters + 1 + (uniform(rows, length) * 3).long()) % 4
    letters = torch.where(uniform(rows, length) < WORN, changed, letters)
    return Copies(letters, torch.where(into >= RECOGNISED, distance, 0))


@torch.no_grad()
def copying(model: MambaLM, distance: int, device: str, rows: int = 64) -> float:
    """Bits a letter of a run's later part, its only copy `distance` letters upstream."""
    dice = torch.Generator().manual_seed(distance)
    letters = torch.randint(0, 4, (rows, distance + RUN[1]), generator=dice)
    for at in range(distance, distance + RUN[1]):
        letters[:, at] = letters[:, at - distance]
    asked = letters.to(device)
    start = ALPHABETS[model.config.alphabet].start
    logits, _ = model(torch.nn.functional.pad(asked[:, :-1], (1, 0), value=start))
    later = slice(distance + 30, None)
    nats = torch.nn.functional.cross_entropy(logits[:, later].flatten(0, 1).float(), asked[:, later].flatten())
    return float(nats) / math.log(2)


def beginner(asked: argparse.Namespace) -> MambaLM:
    """The model before this script teaches it."""
    torch.manual_seed(asked.seed)
    width, blocks = map(int, asked.model.split("x"))
    config = ModelConfig(
        d_model=width, n_layers=blocks, d_state=asked.states, dt_rank=asked.dt_rank or width // 2, dt_min=asked.dt_min,
        dt_floor=min(asked.dt_min, 1e-4),
    )  # fmt: skip
    model = MambaLM(config)
    model.vocabulary = vocabulary_of(ALPHABETS[model.config.alphabet])
    return model.to(asked.device)


def learn(model: MambaLM, asked: argparse.Namespace) -> None:
    """Train on `--total` letters, the bound growing up to `--farthest`."""
    dice = torch.Generator(asked.device).manual_seed(asked.seed)
    alphabet = ALPHABETS[model.config.alphabet]
    optimiser = torch.optim.AdamW(model.parameter_groups(0.1), lr=asked.lr, betas=(0.9, 0.95))
    bound, step, tokens, here, began = FIRST_BOUND, 0, 0, 0, time.monotonic()
    bits = torch.full((), 2.0, device=asked.device)  # of the bound's farther half, a moving mean
    while tokens < asked.total:
        length = max(256, bound * 5 // 2)
        letters, far = copies(dice, max(2, asked.tokens // length), length, bound)
        inputs = torch.nn.functional.pad(letters[:, :-1], (1, 0), value=alphabet.start)
        left = 1 - tokens / asked.total
        for group in optimiser.param_groups:
            group["lr"] = asked.lr * min(1.0, (step + 1) / WARMUP, left / COOLING)
        with torch.autocast(asked.device, torch.bfloat16, enabled=asked.device == "cuda"):
            logits, _ = model(inputs)
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), letters.flatten(), reduction="none")
        optimiser.zero_grad()
        nats.mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        farther = (far > bound / 2).flatten()
        now = (nats.detach() * farther).sum() / farther.sum().clamp(min=1) / math.log(2)
        bits = torch.where(farther.any(), bits + 0.05 * (now - bits), bits)
        step, tokens, here = step + 1, tokens + letters.numel(), here + letters.numel()
        if step % 20 and tokens < asked.total:
            continue
        if float(bits) < LEARNT or here > asked.total / PATIENCE or tokens >= asked.total:
            seconds = time.monotonic() - began
            print(
                f"{seconds:5.0f} s  step {step:,}, {tokens / 1e6:.0f} M letters ({tokens / seconds / 1e3:,.0f} k/s): "
                f"from {bound // 2:,} to {bound:,} letters {float(bits):.2f} bits",
                flush=True,
            )
            here, bound = 0, min(int(bound * GROWTH), asked.farthest)
            bits = torch.full_like(bits, 2.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--model", default="256x4", help="width x blocks")
    parser.add_argument("--states", type=int, default=32)
    parser.add_argument("--dt-rank", type=int, help="of the step sizes' projection; half the width when left out")
    parser.add_argument("--dt-min", type=float, default=1e-4, help="smallest step size at the start")
    parser.add_argument("--farthest", type=parse_size, default="16k")
    parser.add_argument("--total", type=parse_size, default="400M", help="letters in all")
    parser.add_argument("--tokens", type=parse_size, default="32k", help="letters a step")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    wish = parser.parse_args()
    print(f"random letters, copies from up to {format_size(wish.farthest)} of them; on {wish.device}", flush=True)
    taught = beginner(wish)
    try:
        learn(taught, wish)
    except KeyboardInterrupt:
        print("stopped: what is learnt so far is kept", flush=True)
    taught.eval()
    print("distance, bits a letter: " + ", ".join(
        f"{distance} {copying(taught, distance, wish.device):.2f}" for distance in (1 << k for k in range(4, 15))
    ))  # fmt: skip
    save(taught.cpu(), wish.out, overwrite=True)
    print(wish.out)
