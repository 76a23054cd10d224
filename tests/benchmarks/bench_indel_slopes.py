"""Does a score drift with an indel's length? Regress it on length, beside the plain and the mean log-likelihood.

    python tests/benchmarks/bench_indel_slopes.py [--model DIR] [--count 1000] [--context 4k] [--json FILE]

Neutral sequence is the simulator's unique DNA (a Markov chain with the human dinucleotides) at one GC content.
Deletions take 1..50 bases out at random places; insertions put as many in: drawn from the same chain ("neutral"), or
each letter with probability 1/4 ("uniform", which is another composition and so is not neutral). Without --model a
small model is trained on the chain first, about a minute on two cores.

Plain is log p(alternate) - log p(reference) over alleles and horizon. Mean is the mean log-likelihood of the whole
alternate window less that of the reference window, times the window's bases: in the same nats. The limit is 0.02.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from dnamamba.bench.results import ResultLines
from dnamamba.config import parse_size
from dnamamba.device import choose_device
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model_directory import load
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.simulate.base_process import draw, transition
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.naive import window_log_p
from dnamamba.scoring.scorer import VariantScorer
from dnamamba.scoring.strand import stream_start

GC, CPG = 0.41, 0.23  # the human genome's
LONGEST = 50
LIMIT = 0.02  # nats a base
LENGTH = 2**19  # of the contig
LETTERS = np.frombuffer(b"ACGT", np.uint8)


def neutral(rng: np.random.Generator, length: int) -> np.ndarray:
    """Tokens 0..3 of the chain, uint8 [length]."""
    return draw(rng, np.zeros(length, np.int64), transition(GC, CPG)[None])


def text(tokens: np.ndarray) -> str:
    return LETTERS[tokens].tobytes().decode()


def trained_model(device: torch.device, steps: int = 150) -> MambaLM:
    """A small model of the chain."""
    torch.manual_seed(0)
    model = MambaLM(ModelConfig(d_model=32, n_layers=2)).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    sequence = torch.from_numpy(neutral(np.random.default_rng(1), steps * 8 * 256).reshape(steps, 8, 256)).to(device)
    for rows in sequence:
        tokens = torch.cat([torch.full_like(rows[:, :1], DNA.start), rows[:, :-1]], 1)
        loss, count, _ = model.loss({"tokens": tokens, "targets": rows.long()}, letters=4)
        optimiser.zero_grad()
        (loss / count).backward()
        optimiser.step()
        schedule.step()
    print(f"trained {steps} steps: {loss.item() / int(count):.4f} nats a base; the chain's entropy is {entropy():.4f}")
    return model.eval()


def entropy() -> float:
    table = transition(GC, CPG)
    base = np.array([1 - GC, GC, GC, 1 - GC]) / 2
    return float(-(base[:, None] * table * np.log(table)).sum())


def made_variants(kind: str, contig: str, count: int, rng: np.random.Generator) -> list[Variant]:
    """Indels of 1..LONGEST bases, each length as often as any other, away from both ends."""
    variants = []
    for number in range(count):
        size = number % LONGEST + 1
        at = int(rng.integers(LENGTH // 8, LENGTH - LENGTH // 8))
        ref = alt = contig[at]
        if kind == "deletion":
            ref = contig[at : at + 1 + size]
        else:
            fresh = rng.integers(0, 4, size) if kind == "uniform insertion" else neutral(rng, size)
            alt += text(fresh)
        variants.append(Variant("neutral", at + 1, str(size), ref, alt))
    return variants


def window_scores(scorer: VariantScorer, contig: str, variant: Variant) -> tuple[float, float]:
    """The plain and the mean log-likelihood score of the forward strand, nats."""
    at, horizon = variant.pos - 1, scorer.horizon
    start = stream_start(at + 1, scorer.context)
    after = contig[at + len(variant.ref) : at + len(variant.ref) + horizon]
    sums = []
    for allele in (variant.ref, variant.alt):
        window = contig[start:at] + allele + after
        log_p = window_log_p(scorer.model, DNA.table[np.frombuffer(window.encode(), np.uint8)])
        sums.append((log_p[at + 1 - start :].sum(), log_p.mean(), len(window)))
    (ref, ref_mean, length), (alt, alt_mean, _) = sums
    return float(alt - ref), float(alt_mean - ref_mean) * length


def slope(sizes: list[int], scores: list[float]) -> tuple[float, float]:
    """Least squares: nats a base, and its standard error."""
    (found, _), covariance = np.polyfit(sizes, scores, 1, cov=True)
    return float(found), float(covariance[0, 0] ** 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="indels of each kind")
    parser.add_argument("--context", type=parse_size, default=4096)
    parser.add_argument("--horizon", type=parse_size, default=512)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = choose_device(args.device)
    lines = ResultLines("indel_slopes", args.json, device.type)
    model = load(args.model, device=device) if args.model else trained_model(device)
    rng = np.random.default_rng(2)
    contig = text(neutral(rng, LENGTH))
    print(f"{args.count} indels of each kind, 1..{LONGEST} bases; slopes in nats a base (standard error)")
    print(f"{'kind':20}{'ours':>20}{'plain':>20}{'mean':>20}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "neutral.fa").write_text(f">neutral\n{contig}\n")
        reference = open_reference(Path(folder, "neutral.fa"))
        scorer = VariantScorer(model, reference, context=args.context, horizon=args.horizon)
        for kind in ("neutral insertion", "deletion", "uniform insertion"):
            variants = made_variants(kind, contig, args.count, rng)
            sizes = [int(variant.id) for variant in variants]
            ours = slope(sizes, [score.score for score in scorer.score_many(variants)])
            pairs = [window_scores(scorer, contig, variant) for variant in variants]
            plain, mean = (slope(sizes, list(s)) for s in zip(*pairs, strict=True))
            cells = (f"{value:+.4f} ({error:.4f})" for value, error in (ours, plain, mean))
            print(f"{kind:20}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
            rivals = {"plain log-likelihood": round(plain[0], 5), "mean log-likelihood": round(mean[0], 5)}
            limit = None if kind == "uniform insertion" else LIMIT
            case = f"{kind}, {model.config.d_model}x{model.config.n_layers}, context {args.context}"
            lines.write(case, "slope", "nats/base", ours[0], rivals, limit, limit and "wanted")


if __name__ == "__main__":
    main()
