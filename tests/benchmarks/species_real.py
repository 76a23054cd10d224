"""Which ape, on real sequence: accuracy against length beside k-mers; the model never saw what it is tested on.

    python tests/benchmarks/species_real.py --data DATA --out FOLDER [--json FILE] [--tasks mito,genes] [key=value ..]

DATA is a folder with mito/, nuclear/ and other/ as its README lists them. Five tasks:

    mito        five apes' mitogenomes: circles turned to one origin, train and test are different arcs with a gap,
                individuals of the test alone in it where a species has several
    noncoding   five apes, 12 kb of aligned noncoding DNA, gaps dropped, cut by position with a gap
    genes       four apes, 331 coding sequences, whole genes dealt out
    ENm001      human and chimpanzee, 1.9 Mb, cut by position with a gap
    DMD         chimpanzee and gorilla, 2.2 Mb, cut by position with a gap

Each task becomes a store whose assemblies keep their parts as BED; one language model is pretrained on all training
parts, and the fine-tunings take the split that it keeps. A task whose result is in FOLDER is not done again.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dnamamba.bench.results import ResultLines
from dnamamba.config import format_size, from_dict, with_overrides
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.device import choose_device
from dnamamba.evaluate import EvaluationConfig
from dnamamba.model import ModelConfig
from dnamamba.optimiser import OptimiserConfig
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import PretrainConfig
from dnamamba.species.circles import common_origin, turned
from dnamamba.species.classifier import load_classifier
from dnamamba.species.fasta_genome import read_genome
from dnamamba.species.finetune import finetune
from dnamamba.species.finetune_config import DataConfig, FinetuneConfig
from dnamamba.species.genomes import open_genomes
from dnamamba.species.parts import part_genomes
from dnamamba.species.predict import predict
from dnamamba.species.result import table, verdict

APES = ("human", "chimpanzee", "bonobo", "gorilla", "orangutan")
LATIN = ("Homo_sapiens", "Pan_troglodytes", "Pan_paniscus", "Gorilla_gorilla", "Pongo_abelii")


@dataclass(frozen=True)
class Task:
    """One classification task."""

    data: DataConfig
    lengths: tuple[int, ...]
    stages: tuple[tuple[int, int, int], ...]
    """Length, steps, windows a step."""
    weight: float
    """Share of the pretraining's windows."""


def tasks(data: Path, folder: Path) -> dict[str, Task]:
    """All tasks."""
    nuclear = data / "nuclear"
    noncoding = [f"{name}={part}" for name, part in zip(APES, _one_file_a_species(nuclear, folder), strict=True)]
    gap = SplitConfig(valid_fraction=0.1, test_fraction=0.2)
    third = SplitConfig(valid_fraction=0.15, test_fraction=0.35)
    return {
        "mito": Task(
            DataConfig(
                fasta=tuple(f"{name}={data}/mito/{name}.fa" for name in APES),
                one_locus=True, individuals=True, circular=True, turn=0.3, exclude=(), split=third,
            ),
            _powers(8, 12), ((512, 300, 120), (2048, 100, 40)), 0.2,
        ),
        "noncoding": Task(
            DataConfig(
                fasta=tuple(noncoding), one_locus=True, exclude=(),
                split=SplitConfig(valid_fraction=0.2, test_fraction=0.3, margin=500),
            ),
            _powers(8, 11), ((512, 200, 120), (2048, 50, 40)), 0.1,
        ),
        "genes": Task(
            DataConfig(
                fasta=tuple(f"{n}={nuclear}/{f}.cds331.fa.gz" for n, f in (
                    ("human", "human"), ("chimpanzee", "chimp"), ("gorilla", "gorilla"), ("orangutan", "orangutan"),
                )),
                locus=r"^ENSG\d+", whole_loci=True, split=gap,
            ),
            _powers(8, 12), ((512, 400, 240), (2048, 200, 120)), 0.2,
        ),
        "ENm001": Task(
            DataConfig(
                fasta=(f"human={nuclear}/human.ENm001.hg16.fa.gz", f"chimpanzee={nuclear}/chimp.ENm001.panTro1.fa.gz"),
                one_locus=True, shortest=200_000, exclude=(), split=gap,
            ),
            _powers(8, 14), ((1024, 400, 256), (8192, 100, 48)), 0.25,
        ),
        "DMD": Task(
            DataConfig(
                fasta=(
                    f"chimpanzee={nuclear}/chimp.Pan_tro_3.0.X_genes.fa.gz",
                    f"gorilla={nuclear}/gorilla.gorGor4.X_genes.fa.gz",
                ),
                one_locus=True, contigs=("DMD",), exclude=(), split=gap,
            ),
            _powers(8, 14), ((1024, 400, 256), (8192, 100, 48)), 0.25,
        ),
    }  # fmt: skip


def _powers(first: int, last: int) -> tuple[int, ...]:
    return tuple(2**k for k in range(first, last + 1))


def _one_file_a_species(nuclear: Path, folder: Path) -> list[Path]:
    """The records of the aligned file, a file each."""
    records = (nuclear / "great_apes.noncoding_aligned.fa").read_text().split(">")[1:]
    by_name = {record.split(None, 1)[0]: record for record in records}
    paths = []
    for latin in LATIN:
        path = folder / f"noncoding.{latin}.fa"
        header, sequence = by_name[latin].split("\n", 1)
        path.write_text(f">{header}\n{sequence.replace('-', '')}")
        paths.append(path)
    return paths


def prepare(name: str, task: Task, folder: Path) -> tuple[Path, dict[str, tuple[str, ...]], list[str]]:
    """Put a task's genomes into a store, and their parts into BED files.

    Returns:
        The store, class -> its assemblies, and "assembly=file" for the pretraining.
    """
    store = folder / f"{name}.zarr"
    genomes = open_genomes(task.data, ())
    parts = part_genomes(genomes, task.data, None)
    locus = {(r.assembly, r.contig): r.locus.split("/")[0] for rows in parts.regions.values() for r in rows}
    classes: dict[str, tuple[str, ...]] = {}
    beds = []
    for i, assembly in enumerate(genomes.assemblies):
        called = f"{name}_{assembly.name}".replace(".", "_")
        label = genomes.classes[genomes.label[i]]
        classes[label] = (*classes.get(label, ()), called)
        names = {contig: locus[i, contig] for contig in assembly.sizes if (i, contig) in locus}
        bed = folder / f"{called}.bed"
        rows = [(r, part) for part, regions in parts.regions.items() for r in regions if r.assembly == i]
        bed.write_text("".join(f"{names[r.contig]}\t{r.start}\t{r.end}\t{part}\n" for r, part in rows))
        beds.append(f"{called}={bed}")
        if not (store / called).exists():
            contigs = ((names[c], "", assembly[c, slice(0, n)]) for c, n in assembly.sizes.items() if c in names)
            ingest_arrays(contigs, store, assembly=called, source=name)
    return store, classes, beds


def pretrained(folder: Path, stores: Mapping[Path, float], beds: list[str], args: argparse.Namespace) -> Path:
    """One language model of all training parts."""
    out = folder / "pretrain"
    config = PretrainConfig(
        stores=tuple(f"{store}:{weight}" for store, weight in stores.items()),
        split=SplitConfig(method="bed", bed=tuple(beds)),
        model=ModelConfig(d_model=args.width, n_layers=args.blocks),
        curriculum=CurriculumConfig(
            stages=(Stage(context=2**9, share=0.5), Stage(context=2**11, share=0.5)),
            tokens_per_step=2**17 if not args.tiny else 2**12,
            total_tokens=args.pretrain_tokens,
        ),
        optimiser=OptimiserConfig(lr=4e-3),
        evaluation=EvaluationConfig(
            contexts=(2**9,), targets=2**15, targets_while_training=2**13, points=4, early_stop=2, markov=False
        ),
    )
    if not (out / "metrics.json").exists():
        pretrain(config, out, resume=(out / "pretrain.yaml").exists(), say=print)
    return out


def run_task(
    name: str, task: Task, store: Path, classes: dict[str, tuple[str, ...]], model: Path, args: argparse.Namespace
) -> None:
    """Fine-tune and print."""
    out = args.out / f"{args.name}.{name}"
    if (out / "result.txt").exists():
        print((out / "result.txt").read_text())
        return
    settings = {
        "lengths": list(task.lengths), "windows": 400, "overlap": 4, "bases": 2**25, "points": 8, "valid_windows": 100,
        "early_stop": 4, "ks": [3, 4, 5, 6], "kmer_windows": 1000,
        "unlike": [f"E.coli={args.data}/other/Ecoli_K12_MG1655.NC_000913.fa.gz",
                   f"lambda={args.data}/other/lambda_phage.NC_001416.fa"],
    }  # fmt: skip
    stages = [{"length": n, "steps": steps, "windows": windows} for n, steps, windows in task.stages]
    if args.tiny:
        stages = [{"length": 256, "steps": 2, "windows": 10}]
        settings |= {"lengths": [256], "windows": 4, "ks": [2], "kmer_windows": 10, "valid_windows": 4, "unlike": []}
    data = {
        "model": str(model),
        "data": {"stores": [str(store)], "classes": {k: list(v) for k, v in classes.items()}, "exclude": []},
        "stages": stages,
        "head": {"pool": "sum", "hidden": 256, "probe": 2**10, "probe_windows": 2000},
        "loss": {"first": 2**8, "lm_weight": 0.05},
        "optimiser": {"lr": 1e-4},
        "measure": settings,
    }
    config = from_dict(FinetuneConfig, with_overrides(data, args.overrides))
    began = time.monotonic()
    outcome = finetune(config, out, resume=(out / "finetune.yaml").exists())
    head = f"{name}: {', '.join(classes)} ({time.monotonic() - began:.0f} s)"
    flag = [
        f"{format_size(row.length)} " + ", ".join(f"{k} {v:.2f}" for k, v in row.auroc.items()) for row in outcome.rows
    ]
    text = "\n".join([head, table(outcome), verdict(outcome.rows), "AUROC of the flag: " + "; ".join(flag), ""])
    (out / "result.txt").write_text(text)
    print(text)
    results = ResultLines("species_real", args.json, "cuda" if torch.cuda.is_available() else "cpu")
    for row in outcome.rows:
        rivals = {"majority": row.majority}
        if row.kmers is not None:
            rivals[f"k-mers, k={row.kmer_k}"] = round(row.kmers.value, 4)
        interval = f"95% {row.ours.low:.3f}-{row.ours.high:.3f}"
        results.write(f"{name} {format_size(row.length)}, {interval}", "accuracy", "share", row.ours.value, rivals)


def start_point(data: Path, model: Path, length: int = 1024) -> str:
    """Whether the point where a record starts still gives its species away: the same circles read from both."""
    humans = read_genome(f"{data}/mito/human.fa", "human").contigs
    reference = next(iter(humans.values()))
    lines = ["Where the records start, in bases of the first human record's circle:"]
    circles: list[tuple[str, np.ndarray]] = []
    starts: dict[str, list[int]] = {}
    for name in APES:
        for contig, circle in read_genome(f"{data}/mito/{name}.fa", name).contigs.items():
            origin = common_origin(reference, circle, contig)
            starts.setdefault(name, []).append((len(circle) - origin) % len(circle))
            circles.append((name, turned(circle, origin)))
    lines += [f"  {name:<11} {', '.join(map(str, sorted(set(places))))}" for name, places in starts.items()]
    shared = sorted(set(starts["human"]))
    apes = sorted({place for name, places in starts.items() if name != "human" for place in places} - set(shared))
    naive = sum((name == "human") == (place in shared) for name, places in starts.items() for place in places)
    lines.append(f"a rule that looks at the start alone tells human from ape in {naive} of {len(circles)} records")
    classifier = load_classifier(model, device=choose_device("auto"))
    human = classifier.classes.index("human")
    ape_start = apes[0] if apes else shared[0]
    lines.append(f"called human, of windows of {length:,} bases that begin where records begin (mean probability):")
    rng = np.random.default_rng(0)
    random = [("random places", int(place)) for place in rng.integers(0, len(reference), 8)]
    places = [("the human start", shared[0]), ("the apes' start", ape_start), *random]
    found: dict[str, dict[str, list[float]]] = {}
    for what, place in places:
        for kind in ("human", "ape"):
            mine = [
                DNA.encode(turned(c, place)[:length]) for name, c in circles if (name == "human") == (kind == "human")
            ]
            logits = predict(classifier.model, np.stack(mine)).logits[:, 0] / classifier.config.temperature_at(length)
            p = np.exp(logits - logits.max(1, keepdims=True))
            found.setdefault(what, {}).setdefault(kind, []).append(
                float((p / p.sum(1, keepdims=True))[:, human].mean())
            )
    for what, kinds in found.items():
        cells = ", ".join(f"{kind}s {np.mean(values):.3f}" for kind, values in kinds.items())
        lines.append(f"  beginning at {what:<16} {cells}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of every fine-tuning")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--name", default="species", help="of this set of fine-tunings")
    parser.add_argument("--tasks", default="mito,noncoding,genes,ENm001,DMD")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--pretrain-tokens", type=int, default=2**27)
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = {name: task for name, task in tasks(args.data, args.out).items() if name in args.tasks.split(",")}
    prepared = {name: prepare(name, task, args.out) for name, task in chosen.items()}
    stores = {prepared[name][0]: task.weight for name, task in chosen.items()}
    model = pretrained(args.out, stores, [bed for _, _, beds in prepared.values() for bed in beds], args)
    for name, task in chosen.items():
        store, classes, _ = prepared[name]
        run_task(name, task, store, classes, model, args)
    if "mito" in chosen:
        print(start_point(args.data, args.out / f"{args.name}.mito"))


if __name__ == "__main__":
    main()
