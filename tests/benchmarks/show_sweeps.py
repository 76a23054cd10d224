"""What the sweeps show on one machine with GPUs: real loci, planted far repeats, sizes. Every step can be resumed.

    python tests/benchmarks/show_sweeps.py real --data DIR --out DIR     # Mamba and its S4D twin on primate pieces
    python tests/benchmarks/show_sweeps.py why --data DIR --out DIR      # what parts them: selection, rate, rank
    python tests/benchmarks/show_sweeps.py apes --out DIR [--model 256x4]  # taught to copy first, beside the oracle
    python tests/benchmarks/show_sweeps.py train --out DIR [--start MODEL]  # a model trained at each context on them
    python tests/benchmarks/show_sweeps.py sizes --out DIR [--sizes S]   # a power law on 300 Mb of simulated genome
    ... --tiny                                                           # the same on a CPU in minutes, to try it out

Prints every command and how long it took. `--data` of `real` and `why` holds the files of DNAMAMBA_TEST_DATA.
"""

import argparse
import csv
import gzip
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.simulate.apes import SimulateConfig, simulate_store
from dnamamba.pipelines.store import open_store

PIECES = {
    "hg38_chr2": "human/hg38.chr2_1-2333275.fa.gz",
    "hg38_chr20": "human/hg38.chr20_1-1000000.fa.gz",
    "hg38_chr22": "human/hg38.chr22_32000001-32300000.fa.gz",
    "hg38_chr17": "human/hg38.chr17_42425000-43600000.revcomp.headerless.txt.gz",
    "b37_chr1": "human/b37.chr1_1-1000000.fa.gz",
    "b37_z": "human/b37.z_1Mb.fa.gz",
    "LPA": "human/LPA.14_haplotypes.fa.gz",
    "hg16_ENm001": "nuclear/human.ENm001.hg16.fa.gz",
    "chimp_ENm001": "nuclear/chimp.ENm001.panTro1.fa.gz",
    "macaque_ENm001": "nuclear/macaque.ENm001.fa.gz",
    "baboon_ENm001": "nuclear/baboon.ENm001.fa.gz",
    "marmoset_ENm001": "nuclear/marmoset.ENm001.fa.gz",
    "chimp_X": "nuclear/chimp.Pan_tro_3.0.X_genes.fa.gz",
    "gorilla_X": "nuclear/gorilla.gorGor4.X_genes.fa.gz",
}
"""Assembly -> file. hg38_chr20 is validation; nothing else is of that locus or of those of TEST."""
TEST = ("hg38_chr2", "b37_chr1", "b37_z")
"""Held out; the last two also for tests/benchmarks/variant_effects.py, whose variants lie there."""

TWINS = ("mamba", "s4d model.mixer=s4d")
CHANGES = (
    "select-none model.selective=[]", "rank-64 model.dt_rank=64", "rate-3e-3 optimiser.lr=3e-3",
    "rate-12e-3 optimiser.lr=12e-3",
)  # fmt: skip

APES = SimulateConfig(
    seed=1, bases=60_000_000, contigs=1_500, far_share=0.75, repeats=0.07, microsatellites=0.01, minisatellites=0.05
)
"""Three quarters of every genome lie in families private to a contig, and contigs are of 40 kb, so that all distances
are below 2^15: what far context is worth is made large, the process is otherwise that of the default apes."""


def run(*words: str) -> None:
    """Carry out a command of the package, and say how long it took; a sweep with a failed run goes on to the next."""
    print(f"\n$ dnamamba {shlex.join(words)}", flush=True)
    began = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "dnamamba", *words], check=False).returncode
    print(f"[{time.monotonic() - began:.0f} s{'' if code == 0 else f', exit {code}'}]", flush=True)


def real(data: Path, out: Path, tokens: str, tiny: bool) -> None:
    """A 1.4M Mamba and its twin that selects nothing, trained on real pieces, read on a human locus they never saw."""
    store = primates(data, out)
    stages = "[{context: 1k, share: 0.4}, {context: 4k, share: 0.2}, {context: 16k, share: 0.2}, "
    stages += "{context: 64k, share: 0.1}, {context: 256k, share: 0.1}]"
    targets = "32k" if tiny else "1M"
    keys = [f"curriculum.stages={stages}", "evaluation.early_stop=3"]
    twins(store, out / "twins", TWINS, keys, tokens, targets, 1, tiny)
    curve(
        out,
        "twins",
        ["mamba", "s4d"],
        store,
        ["--targets", targets, *(["--contexts", "64,1k,16k,full"] if tiny else [])],
    )


def why(data: Path, out: Path, tokens: str, jobs: int, tiny: bool) -> None:
    """What makes the twin learn faster than the Mamba in `real`: the first stage alone, at 1k, one thing changed each.

    Selection off (the same mixer, one B and C for all channels, where S4D has them for each), other rates, a wider rank
    of the step sizes.
    """
    variants = (TWINS[0], *CHANGES, *TWINS[1:])
    keys = ["curriculum.stages=[{context: 1k, share: 1}]"]
    twins(primates(data, out), out / "why", variants, keys, tokens, "32k" if tiny else "256k", jobs, tiny)


def twins(
    store: Path, out: Path, variants: Sequence[str], keys: list[str], tokens: str, targets: str, jobs: int, tiny: bool
) -> None:
    """Models of 1.4M parameters trained on the real pieces, compared on human loci of which none has seen any."""
    keys = [
        "split.method=contig", "split.valid=[hg38_chr20:*]",
        f"split.test=[{', '.join(f'{name}:*' for name in TEST)}]", *keys, "curriculum.tokens_per_step=256k",
        "optimiser.lr=6e-3", "evaluation.contexts=[1k,16k]", "evaluation.targets=128k",
        "evaluation.targets_while_training=32k", "evaluation.points=10",
    ]  # fmt: skip
    if tiny:
        keys += ["model.d_model=32", "model.n_layers=2", "curriculum.stages=[{context: 1k, share: 1}]"]
        keys += ["curriculum.tokens_per_step=16k", "evaluation.contexts=[1k]", "evaluation.targets_while_training=8k"]
        tokens = "1M"
    named = [word for variant in variants for word in ("--variant", variant)]
    run(
        "sweep", "ablation", "1.4M-cpu", *keys, "--store", str(store), "--tokens", tokens, *named, "--targets", targets,
        "--jobs", str(jobs), "--out", str(out),
    )  # fmt: skip


def primates(data: Path, out: Path) -> Path:
    """The store of the real pieces, made when it is not there yet."""
    store = out / "primates.zarr"
    began = time.monotonic()
    for name, file in PIECES.items():
        if not (store / name).exists():
            source = data / file
            if "headerless" in file:  # minus strand, no header: give it one
                source = out / f"{name}.fa"
                source.write_bytes(b">%s\n%s\n" % (name.encode(), gzip.decompress((data / file).read_bytes()).strip()))
            ingest(
                source, store, assembly=name, names="full", exclude=["*chr6_random*"] if name == "chimp_ENm001" else []
            )
    print(f"{len(PIECES)} pieces into {store} [{time.monotonic() - began:.0f} s]", flush=True)
    return store


def apes(out: Path, model: str, teach: str, tokens: str, tiny: bool) -> None:
    """A model that was taught to copy and then trained on the genomes, and what an oracle would gain."""
    store, keys = ape_genomes(out, tiny)
    stages = "[{context: 4k, share: 0.2}, {context: 24k, share: 0.8}]"  # 24k, so that 16k is upstream of many bases
    keys = [*keys, f"curriculum.stages={stages}", "evaluation.contexts=[64,1k,16k]", "evaluation.markov=false"]
    targets, contexts = "2M", ["--contexts", "64,128,256,512,1k,2k,4k,8k,16k"]
    # Contigs are of 40 kb: longer contexts leave few bases to ask for.
    if tiny:
        keys += ["curriculum.stages=[{context: 1k, share: 1}]", "evaluation.contexts=[64,1k]"]
        tokens, targets, contexts = "256k", "32k", ["--contexts", "64,256,1k,4k"]
    start, trained = taught(out, model, teach, tiny), out / "model"
    if (trained / "pretrain.yaml").exists():
        run("pretrain", "--resume", "--out", str(trained))
    else:
        run(
            "pretrain", "quick", "--store", str(store), "--start-from", str(start), *keys,
            f"curriculum.total_tokens={tokens}", "--out", str(trained),
        )  # fmt: skip
    run(
        "sweep", "context", str(trained), "--store", str(store), "--targets", targets, *contexts,
        "--out", str(out / "context"),
    )  # fmt: skip
    with (out / "context" / "curve.csv").open() as file:
        steps = [row for row in csv.DictReader(file) if row["class"] == "all"][1:]
    sure = all(float(row["gain_low"]) > 0 for row in steps)
    print("every doubling up to 2^14 gains significantly" if sure else "not every doubling up to 2^14 gains")
    for row in steps:
        print(f"  {row['context']:>4} {float(row['gain']):+.5f} (oracle {float(row['oracle_gain']):+.4f})")


def taught(out: Path, model: str, teach: str, tiny: bool) -> Path:
    """A model that copies, made when it is not there yet: none has learnt it on the genomes alone."""
    folder = out / "copying"
    if not folder.exists():
        words = ["--model", "32x2", "--total", "256k"] if tiny else ["--model", model, "--total", teach]
        script = Path(__file__).with_name("learn_to_copy.py")
        subprocess.run([sys.executable, str(script), "--out", str(folder), "--farthest", "16k", *words], check=True)
    return folder


def train(out: Path, start: Path, contexts: str, jobs: int, tokens: str, tiny: bool) -> None:
    """A model trained at each context on the genomes of `apes`: same start, equal tokens, read on the same bases."""
    store, keys = ape_genomes(out, tiny)
    if tiny:
        contexts, tokens = "256,1k", "256k"
    run(
        "sweep", "context", "--train", "quick", *keys, f"run.start_from={start}", "--store", str(store),
        "--contexts", contexts, "--jobs", str(jobs),
        "--tokens", tokens, "--targets", "32k" if tiny else "1M", "--out", str(out / "trained"),
    )  # fmt: skip


def ape_genomes(out: Path, tiny: bool) -> tuple[Path, list[str]]:
    """The store of `apes` and `train`, and what their runs have in common: a seventh of the contigs is the test.

    Of these contigs the human's are read and the others' are in no part: they are nearly the same letters, so that to
    train on them would give the test away, and to count them would make its intervals too narrow.
    """
    config = SimulateConfig(**{**vars(APES), "bases": 1_200_000, "contigs": 30}) if tiny else APES
    valid, test = ("chr28", ("chr29", "chr30")) if tiny else ("chr12", ("chr13", "chr14"))
    store = simulate(out / "apes.zarr", config)

    def parts(name: str, contig: str, length: int) -> list[tuple[int, int, str]]:
        part = part_of(contig, valid, test)
        return [(0, length, part)] if part == "train" or name == "sim_human" else []

    keys = [*split_keys(store, out, parts), "optimiser.lr=2e-3", "evaluation.points=8"]
    if tiny:
        keys += ["curriculum.tokens_per_step=16k", "evaluation.targets_while_training=8k"]
    else:
        keys += ["curriculum.tokens_per_step=96k", "evaluation.targets_while_training=64k"]
    return store, keys


def split_keys(store: Path, out: Path, parts: Callable[[str, str, int], Sequence[tuple[int, int, str]]]) -> list[str]:
    """The split of a store as keys of `pretrain`, by BED files in `out`: of assembly, contig, length the (start, end,
    part)s."""
    genomes, files = open_store(store), []
    for name in genomes:
        rows = [(contig, *piece) for contig, size in genomes[name].sizes.items() for piece in parts(name, contig, size)]
        bed = out / f"{name}.bed"
        bed.write_text("".join(f"{contig}\t{start}\t{end}\t{part}\n" for contig, start, end, part in rows))
        files.append(f"{name}={bed}")
    return ["split.method=bed", f"split.bed=[{','.join(files)}]"]


def part_of(contig: str, valid: str, test: tuple[str, str]) -> str:
    """By the beginning of its name: chr13, chr130 .. chr139, chr1300 .. chr1399 go together."""
    return "valid" if contig.startswith(valid) else "test" if contig.startswith(test) else "train"


def sizes(out: Path, wanted: str, tokens: str, tiny: bool) -> None:
    """Sizes at equal tokens on the default apes, 60 Mb a species."""
    config = SimulateConfig(seed=2, bases=1_200_000 if tiny else 60_000_000, contigs=4 if tiny else 12)
    store = simulate(out / "apes.zarr", config)
    last = config.contigs
    keys = [
        "split.method=contig", f"split.valid=[chr{last - 1}]", f"split.test=[chr{last}]",
        "curriculum.tokens_per_step=256k", "optimiser.lr=6e-3", "evaluation.targets=64k", "evaluation.points=8",
        "evaluation.targets_while_training=64k",
    ]  # fmt: skip
    targets = "1M"
    if tiny:
        keys += ["curriculum.tokens_per_step=16k", "evaluation.targets_while_training=8k"]
        wanted, tokens, targets = "16x2,24x2,32x2", "512k", "64k"
    run(
        "sweep", "size", *keys, "--store", str(store), "--sizes", wanted, "--tokens", tokens, "--targets", targets,
        "--out", str(out / "sizes"),
    )  # fmt: skip


def simulate(store: Path, config: SimulateConfig) -> Path:
    """The store, made when it is not there yet."""
    began = time.monotonic()
    if not store.exists():
        aside = store.with_name(f"{store.name}.writing")
        simulate_store(aside, config, overwrite=True)
        aside.replace(store)
    print(f"{store}: five simulated genomes of {config.bases:,} bases [{time.monotonic() - began:.0f} s]", flush=True)
    return store


def curve(out: Path, sweep: str, names: list[str], store: Path, options: list[str]) -> None:
    """The context curves of a sweep's models beside each other, of those that are finished."""
    folders = [out / sweep / "runs" / name for name in names]
    finished = [folder for folder in folders if (folder / "result.json").exists()]
    run("sweep", "context", *map(str, finished), "--store", str(store), *options, "--out", str(out / "context"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["real", "why", "apes", "train", "sizes"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", default="256x4", help="of apes and train, width x blocks")
    parser.add_argument("--teach", default="400M", help="letters from which it is taught to copy")
    parser.add_argument("--start", type=Path, help="of train: the model to start from; taught to copy when left out")
    parser.add_argument("--jobs", type=int, default=1, help="of train and why: runs at a time")
    parser.add_argument("--tokens")
    parser.add_argument("--sizes", default="32x4,48x6,0.26M,0.68M,1.4M")
    parser.add_argument("--contexts", default="256,512,1k,2k,4k,8k,16k", help="of train")
    parser.add_argument("--tiny", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.what in ("real", "why") and asked.data is None:
        parser.error(f"{asked.what}: want --data, the folder of the real files")
    if asked.what == "real":
        real(asked.data, asked.out, asked.tokens or "100M", asked.tiny)
    elif asked.what == "why":
        why(asked.data, asked.out, asked.tokens or "40M", asked.jobs, asked.tiny)
    elif asked.what == "apes":
        apes(asked.out, asked.model, asked.teach, asked.tokens or "500M", asked.tiny)
    elif asked.what == "train":
        start = asked.start or taught(asked.out, asked.model, asked.teach, asked.tiny)
        train(asked.out, start, asked.contexts, asked.jobs, asked.tokens or "30M", asked.tiny)
    else:
        sizes(asked.out, asked.sizes, asked.tokens or "300M", asked.tiny)
