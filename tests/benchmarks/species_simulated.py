"""Which simulated ape: accuracy against length beside the simulator's own bound and k-mers.

    python tests/benchmarks/species_simulated.py --out FOLDER [--json FILE] [--name NAME] [finetune.key=value ...]

Simulates five genomes, pretrains on them (the test contigs held out), fine-tunes once for all lengths, and measures at
2^10 .. 2^20. A step whose result is in FOLDER is not done again, one that was cut off is resumed; another --name
fine-tunes anew from the same pretraining, with the keys on the line laid over the configuration.
"""

import argparse
import time
from pathlib import Path

import torch

from dnamamba.bench.results import ResultLines
from dnamamba.config import format_size, from_dict, with_overrides
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.evaluate import EvaluationConfig
from dnamamba.model import ModelConfig
from dnamamba.optimiser import OptimiserConfig
from dnamamba.pipelines.simulate.apes import SimulateConfig, simulate_store, species_bound
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.pipelines.store import open_store
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import PretrainConfig
from dnamamba.pretrain_config import RunConfig as PretrainRun
from dnamamba.species.finetune import finetune
from dnamamba.species.finetune_config import FinetuneConfig
from dnamamba.species.result import table, verdict

CHANCE = 0.2


def simulated(folder: Path, bases: int, contigs: int, seed: int) -> Path:
    """The store of five genomes."""
    path = folder / "genomes.zarr"
    if not path.exists():
        aside = folder / ".genomes.writing"
        simulate_store(aside, SimulateConfig(seed=seed, bases=bases, contigs=contigs), overwrite=True)
        aside.replace(path)
    return path


def pretrained(folder: Path, store: Path, args: argparse.Namespace) -> Path:
    """A language model of the training contigs; the last fifth of the contigs is the test, one in ten validation."""
    out, last = folder / "pretrain", args.contigs
    test, valid = max(1, last // 5), max(1, last // 10)
    config = PretrainConfig(
        stores=(str(store),),
        split=SplitConfig(
            method="contig",
            test=tuple(f"chr{i}" for i in range(last - test + 1, last + 1)),
            valid=tuple(f"chr{i}" for i in range(last - test - valid + 1, last - test + 1)),
        ),
        model=ModelConfig(d_model=args.width, n_layers=args.blocks),
        curriculum=CurriculumConfig(
            stages=(Stage(context=2**10, share=0.5), Stage(context=2**13, share=0.5)),
            tokens_per_step=2**18 if not args.tiny else 2**13,
            total_tokens=args.pretrain_tokens,
        ),
        optimiser=OptimiserConfig(lr=4e-3),
        evaluation=EvaluationConfig(
            contexts=(2**10,), targets=2**16, targets_while_training=2**14, points=3, markov=False
        ),
        run=PretrainRun(seed=args.seed),
    )
    if not (out / "metrics.json").exists():
        pretrain(config, out, resume=(out / "pretrain.yaml").exists(), say=print)
    return out


def finetune_config(model: Path, store: Path, args: argparse.Namespace) -> FinetuneConfig:
    """Short windows over insertions first: a young repeat decides one. Long ones teach to stay silent elsewhere."""
    stages = [
        {"length": 2**9, "steps": 1000, "windows": 510},
        {"length": 2**12, "steps": 400, "windows": 65},
        {"length": 2**16, "steps": 100, "windows": 10},
    ]
    lengths = [2**k for k in range(10, 21)]
    measure = {
        "lengths": lengths, "windows": 400, "bases": 2**27, "points": 5, "valid_windows": 64, "early_stop": None,
        "ks": [4, 6], "kmer_windows": 1000,
    }  # fmt: skip
    if args.tiny:
        stages = [{"length": 2**10, "steps": 4, "windows": 10}, {"length": 2**11, "steps": 2, "windows": 5}]
        measure |= {
            "lengths": [2**10, 2**12],
            "windows": 6,
            "valid_windows": 4,
            "ks": [3],
            "kmer_windows": 10,
            "points": 2,
        }
    data = {
        "model": str(model),
        "data": {"stores": [str(store)]},
        "stages": stages,
        "insertions": 0.7,
        "head": {"pool": "sum", "hidden": 512, "probe": None, "refit": 2**14, "probe_windows": 2000},
        "loss": {"first": 2**6, "lm_weight": 0.2},
        "optimiser": {"lr": 2e-3, "weight_decay": 0.01},
        "measure": measure,
        "run": {"seed": args.seed},
    }
    return from_dict(FinetuneConfig, with_overrides(data, args.overrides))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the fine-tuning")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--name", default="species")
    parser.add_argument("--bases", type=int, default=100_000_000)
    parser.add_argument("--contigs", type=int, default=20)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--pretrain-tokens", type=int, default=2**29)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    clock = [time.monotonic()]
    store = simulated(args.out, args.bases, args.contigs, args.seed)
    clock.append(time.monotonic())
    model = pretrained(args.out, store, args)
    clock.append(time.monotonic())
    out, config = args.out / args.name, finetune_config(model, store, args)
    if (out / "metrics.json").exists():
        print(f"{out}: done already")
        print((out / "result.txt").read_text())
        return
    outcome = finetune(config, out, resume=(out / "finetune.yaml").exists())
    clock.append(time.monotonic())
    sim = open_store(store)["sim_human"]
    bound = species_bound(sim)
    library = dict(zip(map(int, bound["length"]), bound["library"], strict=True))
    lines = [table(outcome), verdict(outcome.rows), ""]
    lines.append(f"{'bases':>7}  {'of the bound':>12}  {'above chance':>12}  {'library alone':>13}")
    results = ResultLines("species_simulated", args.json, "cuda" if torch.cuda.is_available() else "cpu")
    for row in outcome.rows:
        best = outcome.bound[row.length]
        share, gain = row.ours.value / best, (row.ours.value - CHANCE) / (best - CHANCE)
        lines.append(f"{format_size(row.length):>7}  {share:>12.3f}  {gain:>12.3f}  {library[row.length]:>13.3f}")
        rivals = {} if row.kmers is None else {f"k-mers, k={row.kmer_k}": round(row.kmers.value, 4)}
        case = f"5 x {args.bases / 1e6:g} Mb, {args.width}x{args.blocks}, {args.name}, {format_size(row.length)}"
        results.write(case, "accuracy", "share", row.ours.value, rivals, best, "the simulator's bound")
    names = ("simulate", "pretrain", "finetune and measure")
    seconds = {name: b - a for name, a, b in zip(names, clock, clock[1:], strict=False)}
    lines.append("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    text = "\n".join(lines)
    (out / "result.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
