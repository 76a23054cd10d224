"""What a model's scores say of real variants: AUROC with intervals, beside baselines that know no model.

    python tests/benchmarks/variant_effects.py --model runs/hg38 --data DATA --out results/ [--context 16k]

ClinVar 2023 (chr1, first 2,000 records): benign against pathogenic; substitutions apart from indels, all and within one
consequence. 1000 Genomes (1 Mb of chr20): common substitutions against random ones, random ones of the same change,
and singletons. AUROC is the chance that a benign (common) variant scores higher than a pathogenic (other) one: 0.5 says
nothing. Intervals: 95%, variants of each class resampled.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from variant_baselines import cpg, gc, markov, mutability, train_markov
from variant_labels import COMMON, Labelled, clinvar, common_against, frequencies

from dnamamba.config import parse_size
from dnamamba.model_directory import read_record
from dnamamba.pictures import pyplot, save_picture
from dnamamba.pipelines.reference import open_reference
from dnamamba.scoring.scorer import VariantScorer

MARKOV_TRAINED_ON = ("human/hg38.chr2_1-2333275.fa.gz", "nuclear/human.ENm001.hg16.fa.gz")
BOOTSTRAPS = 1000


def auroc(values: np.ndarray, label: np.ndarray, stratum: np.ndarray) -> float:
    """Mann and Whitney's U over its pairs, ties half; pairs lie within one stratum."""
    wins = pairs = 0.0
    for kind in np.unique(stratum):
        here = stratum == kind
        ours, positive = values[here], label[here]
        n, m = int(positive.sum()), int((~positive).sum())
        if n and m:
            wins += rankdata(ours)[positive].sum() - n * (n + 1) / 2
            pairs += n * m
    return wins / pairs if pairs else float("nan")


def interval(values: np.ndarray, label: np.ndarray, stratum: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95% of AUROCs of resampled variants, as many of each class in each stratum as there are."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero((stratum == kind) & (label == side)) for kind in np.unique(stratum) for side in (0, 1)]
    drawn = (np.concatenate([rng.choice(g, len(g)) for g in groups if len(g)]) for _ in range(BOOTSTRAPS))
    found = [auroc(values[i], label[i], stratum[i]) for i in drawn]
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def compare(case: Labelled, predictors: dict[str, np.ndarray]) -> dict:
    """AUROC and interval of every predictor over the variants that all of them have a number for."""
    known = np.all([np.isfinite(values) for values in predictors.values()], axis=0)
    label, stratum = case.label[known], case.stratum[known]
    used = np.isin(stratum, [s for s in np.unique(stratum) if 0 < label[stratum == s].sum() < (stratum == s).sum()])
    rows = {}
    for name, values in predictors.items():
        args = values[known][used], label[used], stratum[used]
        rows[name] = {"auroc": auroc(*args), "interval": interval(*args)}
    return {"positive": int(label[used].sum()), "negative": int((~label[used]).sum()), "predictors": rows}


def draw(results: dict, path: Path) -> None:
    plt = pyplot()
    figure, ax = plt.subplots(figsize=(9, 0.9 + 0.9 * len(results)), layout="constrained")
    names = list(next(iter(results.values()))["predictors"])
    for i, name in enumerate(names):
        rows = [result["predictors"][name] for result in results.values()]
        at = np.arange(len(rows)) + (i - len(names) / 2) * 0.12
        middle = np.array([row["auroc"] for row in rows])
        error = np.abs(np.array([row["interval"] for row in rows]).T - middle)
        ax.errorbar(middle, at, xerr=error, fmt="o", ms=4, label=name)
    ax.axvline(0.5, color="#888", lw=0.8)
    ax.set_yticks(
        range(len(results)), [f"{n}\n{r['positive']:,} v {r['negative']:,}" for n, r in results.items()], fontsize=8
    )
    ax.invert_yaxis()
    ax.set_xlabel("AUROC (95% interval)")
    ax.legend(fontsize=8)
    save_picture(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--context", default="16k")
    parser.add_argument("--horizon", default="512")
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data, began = arguments.data, time.monotonic()
    cases = [
        clinvar(data, indels=False, by_consequence=False),
        clinvar(data, indels=False, by_consequence=True),
        clinvar(data, indels=True, by_consequence=False),
        common_against(data, "random"),
        common_against(data, "matched"),
        common_against(data, "singletons"),
    ]
    variants, frequency, letters = frequencies(data)
    known = [v for v, f in zip(variants, frequency, strict=True) if COMMON <= f <= 1 - COMMON]
    chain = train_markov([data / name for name in MARKOV_TRAINED_ON])
    print(f"Markov chain of order {chain.order} fitted, {time.monotonic() - began:.1f} s", flush=True)
    results = {}
    for case in cases:
        reference = open_reference(data / case.reference)
        scorer = VariantScorer(
            arguments.model,
            reference,
            context=parse_size(arguments.context),
            horizon=parse_size(arguments.horizon),
            precision=arguments.precision,
        )
        scores = list(scorer.score_many(case.variants))
        at_z = case.reference.endswith("z_1Mb.fa.gz")
        results[case.name] = compare(
            case,
            {
                "model": np.array([np.nan if s.score is None else s.score for s in scores]),
                "model, allele part": np.array([np.nan if s.allele is None else s.allele for s in scores]),
                "Markov chain": markov(chain, reference, case.variants),
                "mutability": mutability(reference, case.variants, known, letters, same=at_z),
                "CpG transition": cpg(reference, case.variants),
                "GC": gc(reference, case.variants),
            },
        )
        print(f"\n{case.name}: {results[case.name]['positive']:,} v {results[case.name]['negative']:,}")
        for name, row in results[case.name]["predictors"].items():
            print(f"  {name:20} {row['auroc']:.3f}  ({row['interval'][0]:.3f}-{row['interval'][1]:.3f})", flush=True)
    about = {
        "model": read_record(arguments.model).weights_sha256,
        "context": arguments.context,
        "horizon": arguments.horizon,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "seconds": round(time.monotonic() - began, 1),
    }
    (arguments.out / "variant_effects.json").write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    draw(results, arguments.out / "variant_effects.png")
    print(f"\n{about['seconds']} s on {about['device']}; {arguments.out}/variant_effects.json and .png")


if __name__ == "__main__":
    main()
