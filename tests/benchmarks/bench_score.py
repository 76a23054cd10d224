"""Variants a second of `VariantScorer`, beside the naive engine (two whole windows an allele and strand), in one run.

    python tests/benchmarks/bench_score.py --vcf V --reference G [--model DIR | --shape 128x12] [--contexts 8k 128k 1M]
                                           [--variants N] [--naive 100] [--json FILE]

The first N alleles of the file that can be scored are scored, both strands, the model and the reference open; the naive
engine takes some of them, evenly spread, for at most --seconds. Its scores must agree. Random weights time alike.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pysam
import torch

from dnamamba.bench.results import ResultLines
from dnamamba.config import parse_size
from dnamamba.device import choose_device
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model_directory import load
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.naive import naive_parts
from dnamamba.scoring.scorer import VariantScorer
from dnamamba.scoring.strand import Strand
from dnamamba.scoring.types import VariantScore


def read_variants(path: Path) -> list[Variant]:
    """Every alternate allele of a VCF file."""
    with pysam.VariantFile(str(path)) as file:
        return [
            Variant(record.chrom, record.pos, record.id or ".", record.ref, alt)
            for record in file
            for alt in record.alts or ()
        ]


def timed_model(args: argparse.Namespace, device: torch.device) -> MambaLM:
    if args.model:
        return load(args.model, device=device)
    width, blocks = map(int, args.shape.split("x"))
    torch.manual_seed(0)
    return MambaLM(ModelConfig(d_model=width, n_layers=blocks)).to(device).eval()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(scorer: VariantScorer, variants: list[Variant]) -> tuple[float, list[VariantScore]]:
    """Variants a second, and their scores."""
    begin = time.perf_counter()
    scores = list(scorer.score_many(variants))
    return len(variants) / (time.perf_counter() - begin), scores


def naive_rate(
    scorer: VariantScorer, variants: list[Variant], scores: list[VariantScore], seconds: float
) -> tuple[float, int, float]:
    """Variants a second of the naive engine, how many were timed, and the largest difference of a score in nats."""
    context = None if scorer.context == "full" else scorer.context
    strands = {}
    done, worst, spent = 0, 0.0, 0.0
    for number, (variant, score) in enumerate(zip(variants, scores, strict=True)):
        contig = scorer.reference.resolve(variant.chrom)
        strands = strands or {reverse: Strand(scorer.reference, contig, reverse=reverse) for reverse in (False, True)}
        begin = time.perf_counter()
        parts = [
            naive_parts(scorer.model, strand, [variant], context=context, horizon=scorer.horizon)
            for strand in strands.values()
        ]
        wait(scorer.model.device)
        if number:  # the first one compiles and warms up
            spent += time.perf_counter() - begin
            done += 1
        worst = max(worst, abs(sum(part.total for part in parts) / 2 - score.score))
        if spent > seconds:
            break
    return done / spent, done, worst


def rank_correlation(one: list[VariantScore], other: list[VariantScore]) -> float:
    ranks = [np.argsort(np.argsort([s.score for s in scores])) for scores in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vcf", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a model directory; without one, random weights of --shape")
    parser.add_argument("--shape", default="128x12", help="width x blocks")
    parser.add_argument("--contexts", nargs="+", default=["8k", "128k", "1M"])
    parser.add_argument("--horizon", type=parse_size, default=512)
    parser.add_argument("--variants", type=int, help="how many alleles; all of the file without it")
    parser.add_argument("--naive", type=int, default=100, help="alleles for the naive engine, at most")
    parser.add_argument("--seconds", type=float, default=60.0, help="for the naive engine, each context")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = choose_device(args.device)
    lines = ResultLines("score", args.json, device.type)
    model, reference = timed_model(args, device), open_reference(args.reference)
    name = f"{model.config.d_model}x{model.config.n_layers}"
    # Alleles that are skipped cost nothing; they would only flatter the rate.
    quick = VariantScorer(model, reference, context=256, horizon=0, strands="forward")
    alleles = read_variants(args.vcf)
    variants = list(islice((v for v in alleles if not isinstance(quick.prepare([v]), str)), args.variants))
    spread = np.linspace(0, len(variants) - 1, min(args.naive, len(variants)), dtype=int)
    print(f"{lines.about['device']}, torch {torch.__version__}, model {name}, horizon {args.horizon}, both strands")
    print(f"{args.vcf.name}: {len(alleles):,} alleles, {len(variants):,} timed; {reference.path}")
    head = ("context", "variants/s", "no early end", "bfloat16", "rank corr.", "naive/s", "of", "ratio", "worst, nats")
    print(("{:>10}" + "{:>13}" * (len(head) - 1)).format(*head))
    for context in (parse_size(text) for text in args.contexts):
        options = {"context": context, "horizon": args.horizon}
        scorer = VariantScorer(model, reference, **options)
        list(scorer.score_many(variants[: max(1, len(variants) // 20)]))  # compile and warm up
        ours, scores = rate(scorer, variants)
        whole, _ = rate(VariantScorer(model, reference, **options, early_stop=False), variants)
        half, coarse = rate(VariantScorer(model, reference, **options, precision="bfloat16"), variants)
        correlation = rank_correlation(scores, coarse)
        theirs, timed, worst = naive_rate(
            scorer, [variants[i] for i in spread], [scores[i] for i in spread], args.seconds
        )
        print(
            f"{context:>10,}{ours:13,.1f}{whole:13,.1f}{half:13,.1f}{correlation:13.5f}{theirs:13.3f}{timed:13}"
            f"{ours / theirs:13,.1f}{worst:13.2e}",
            flush=True,
        )
        case = f"{name} context {context} horizon {args.horizon}"
        rivals = {"two whole windows": round(theirs, 4)}
        lines.write(case, "variants_per_s", "1/s", ours, rivals)
        lines.write(case, "variants_per_s_bfloat16", "1/s", half, rivals)
        wanted = {2**17: 100, 2**20: 600}.get(context)
        lines.write(case, "times_naive", "x", ours / theirs, {}, wanted, "wanted" if wanted else None)
        lines.write(case, "bfloat16_rank_correlation", "", correlation, {}, 0.99, "wanted")
        lines.write(case, "worst_difference_from_naive", "nats", worst, {}, 1e-3, "promised")


if __name__ == "__main__":
    main()
