"""From how far can a small model learn to copy? Taught nearest copies first; then asked at every distance.

    python tests/benchmarks/learn_to_copy.py --out MODEL [--model 128x4] [--farthest 4k] [--minutes 2] [--device cuda]

Random letters, in which runs of 60 to 200 come once more from a distance that is log-uniform between 8 and a bound.
The bound begins at 24 and grows by 1.4 whenever the copies' later letters (from the 21st on) cost less than half a bit:
a model that meets distances up to 1,024 from the beginning had learnt nothing of any after 8 M tokens, one that met
near ones first copied from 24, 33 and 46 letters by then (64x2, two CPU cores). No genome, no window over 2.5 bounds.
The table at the end: bits a letter for letters 31 to 200 of a run that came once before, exactly so far upstream, the
rest being random. MODEL is a model directory (`dnamamba pretrain --start-from MODEL` goes on from it on genomes).
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, IterableDataset

from dnamamba.config import format_size, parse_size
from dnamamba.letters import vocabulary_of
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model_directory import save
from dnamamba.pipelines.alphabet import ALPHABETS

NEAREST, FIRST_BOUND, GROWTH = 8, 24, 1.4
RUN, GAP = (60, 200), (0, 60)  # letters of a copy, and between two
RECOGNISED = 20  # letters of a copy before which a reader cannot know that it is one
LEARNT = 0.5  # bits a letter
WARMUP = 100  # steps

Row = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]


def copied(rng: np.random.Generator, length: int, bound: int) -> Row:
    """Letters 0..3 and which of them a reader of all the others before could know."""
    letters = rng.integers(0, 4, length)
    known = np.zeros(length, bool)
    at = int(rng.integers(NEAREST, bound))
    while at < length:
        size = min(int(rng.integers(*RUN)), length - at)
        far = int(np.exp(rng.uniform(np.log(NEAREST), np.log(min(bound, at)))))
        letters[at : at + size] = np.resize(letters[at - far : at], size) if far < size else letters[at - far :][:size]
        known[at + RECOGNISED : at + size] = True
        at += size + int(rng.integers(*GAP))
    return letters, known


class Copies(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches of `tokens` letters at one bound, without end."""

    def __init__(self, bound: int, tokens: int, seed: int) -> None:
        """Windows of 2.5 bounds, 256 letters at least."""
        self.bound, self.length, self.seed = bound, max(256, bound * 5 // 2), seed
        self.rows = max(2, tokens // self.length)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.bound, worker.id if worker else 0])
        while True:
            rows = [copied(rng, self.length, self.bound) for _ in range(self.rows)]
            yield torch.from_numpy(np.stack([r[0] for r in rows])), torch.from_numpy(np.stack([r[1] for r in rows]))


@torch.no_grad()
def copying(model: MambaLM, distance: int, device: str, rows: int = 64) -> float:
    """Bits a letter of a run's later part, its only copy `distance` letters upstream."""
    rng, run = np.random.default_rng(distance), RUN[1]
    letters = rng.integers(0, 4, (rows, distance + run))
    for row in letters:
        row[distance:] = np.resize(row[:distance], run)
    asked = torch.from_numpy(letters).to(device)
    start = ALPHABETS[model.config.alphabet].start
    logits, _ = model(torch.nn.functional.pad(asked[:, :-1], (1, 0), value=start))
    later = slice(distance + 30, None)
    nats = torch.nn.functional.cross_entropy(logits[:, later].flatten(0, 1).float(), asked[:, later].flatten())
    return float(nats) / math.log(2)


def learn(asked: argparse.Namespace) -> MambaLM:
    """Train until the bound passes `--farthest` or the time is up."""
    torch.manual_seed(asked.seed)
    width, blocks = map(int, asked.model.split("x"))
    model = MambaLM(ModelConfig(d_model=width, n_layers=blocks, d_state=asked.states)).to(asked.device)
    alphabet = ALPHABETS[model.config.alphabet]
    model.vocabulary = vocabulary_of(alphabet)
    optimiser = torch.optim.AdamW(model.parameter_groups(0.1), lr=asked.lr, betas=(0.9, 0.95))
    on_gpu = asked.device == "cuda"
    bound, step, tokens, began = FIRST_BOUND, 0, 0, time.monotonic()
    while bound <= asked.farthest:
        data = Copies(bound, asked.tokens, asked.seed)
        mean, here = float("nan"), 0
        for letters, known in DataLoader(data, batch_size=None, num_workers=asked.workers, pin_memory=on_gpu):
            letters, known = letters.to(asked.device, non_blocking=True), known.to(asked.device, non_blocking=True)
            inputs = torch.nn.functional.pad(letters[:, :-1], (1, 0), value=alphabet.start)
            for group in optimiser.param_groups:
                group["lr"] = asked.lr * min(1.0, (step + 1) / WARMUP)
            with torch.autocast(asked.device, torch.bfloat16, enabled=on_gpu):
                logits, _ = model(inputs)
            nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), letters.flatten(), reduction="none")
            optimiser.zero_grad()
            nats.mean().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step, here, tokens = step + 1, here + 1, tokens + letters.numel()
            bits = (nats.detach() * known.flatten()).sum() / known.sum() / math.log(2)
            mean = bits if here == 1 else mean + 0.05 * (bits - mean)
            seconds = time.monotonic() - began
            looked = here % 20 == 0
            if (looked and float(mean) < LEARNT) or seconds > 60 * asked.minutes:
                break
            if step % 200 == 0:
                print(f"  step {step:,}, {tokens / 1e6:.0f} M tokens, {float(mean):.2f} bits", flush=True)
        rate = tokens / seconds / 1e3
        at = f"{seconds:5.0f} s  step {step:,}, {tokens / 1e6:.0f} M tokens ({rate:,.0f} k/s)"
        print(f"{at}: up to {bound:,} letters {float(mean):.2f} bits", flush=True)
        if seconds > 60 * asked.minutes:
            break
        bound = int(bound * GROWTH)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--model", default="128x4", help="width x blocks")
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--farthest", type=parse_size, default="4k")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tokens", type=parse_size, default="32k", help="letters a step")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    wish = parser.parse_args()
    print(f"random letters, copies from up to {format_size(wish.farthest)} of them; on {wish.device}")
    taught = learn(wish).eval()
    print("distance, bits a letter: " + ", ".join(
        f"{distance} {copying(taught, distance, wish.device):.2f}" for distance in (1 << k for k in range(4, 13))
    ))  # fmt: skip
    save(taught.cpu(), wish.out, overwrite=True)
    print(wish.out)
