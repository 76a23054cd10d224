"""Where a database begins a circle tells human from ape: a reader of the first letters, and what turning does to it.

    python tests/benchmarks/species_start_point.py --data DATA [--bases 256] [--draws 200]

Logistic regression on the k-mers of the first bases of every record, human against the other apes; half of the humans
and half of the apes train it, the rest is the test, many times over, as the records stand and begun at a random base.
Then the run's own data (`circular`, as species_real.py has it) from the records as they stand and from the same records
begun elsewhere: the same bases must come out, so that nothing of the start is left to learn.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.circles import turned
from dnamamba.species.finetune_config import DataConfig
from dnamamba.species.genomes import open_genomes
from dnamamba.species.kmers import fit_kmers

APES = ("human", "chimpanzee", "bonobo", "gorilla", "orangutan")
Bases = NDArray[np.uint8]


def read(path: Path) -> list[tuple[str, Bases]]:
    with pysam.FastxFile(str(path)) as file:
        return [(record.name, np.frombuffer(record.sequence.upper().encode(), np.uint8)) for record in file]


def start_reader(records: list[Bases], is_ape: NDArray[np.int64], bases: int, rng: np.random.Generator) -> float:
    """Share of test records called right, both classes weighing the same."""
    tokens = np.stack([DNA.encode(record[:bases]) for record in records])
    train = np.zeros(len(records), bool)
    for label in (0, 1):
        members = rng.permutation(np.flatnonzero(is_ape == label))
        train[members[: len(members) // 2]] = True
    fitted = fit_kmers((tokens[train], is_ape[train]), (tokens[train], is_ape[train]), 2, [3, 4], seed=0)
    right = fitted.probabilities(tokens[~train]).argmax(1) == is_ape[~train]
    return float(np.mean([right[is_ape[~train] == label].mean() for label in (0, 1)]))


def run_data(files: list[str]) -> list[Bases]:
    """The circles of a run, as they come out of `circular`."""
    genomes = open_genomes(
        DataConfig(fasta=tuple(files), one_locus=True, individuals=True, circular=True, exclude=()), ()
    )
    return [one[name, slice(0, size)] for one in genomes.assemblies for name, size in one.sizes.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bases", type=int, default=256)
    parser.add_argument("--draws", type=int, default=200)
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    named = [(ape, name, bases) for ape in APES for name, bases in read(asked.data / "mito" / f"{ape}.fa")]
    records = [bases for _, _, bases in named]
    is_ape = np.array([ape != "human" for ape, _, _ in named], np.int64)
    stand = [start_reader(records, is_ape, asked.bases, rng) for _ in range(asked.draws)]
    spun = [
        start_reader([turned(one, int(rng.integers(len(one)))) for one in records], is_ape, asked.bases, rng)
        for _ in range(asked.draws)
    ]
    print(
        f"{np.sum(is_ape == 0)} human, {np.sum(is_ape)} other records, first {asked.bases} bases, {asked.draws} draws"
    )
    print(f"as they stand:           right {np.mean(stand):.3f} (0.5 is chance)")
    print(f"begun at a random base:  right {np.mean(spun):.3f}")
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for ape in APES:
            path = Path(folder) / f"{ape}.fa"
            path.write_text("".join(
                f">{name}\n{turned(bases, 0 if i == 0 else int(rng.integers(len(bases)))).tobytes().decode()}\n"
                for i, (one, name, bases) in enumerate(named) if one == ape
            ))  # fmt: skip
            files.append(f"{ape}={path}")
        before = run_data([f"{ape}={asked.data}/mito/{ape}.fa" for ape in APES])
        after = run_data(files)
    same = sum(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    print(f"a run's own circles, the records begun elsewhere: {same} of {len(before)} the same to the base")


if __name__ == "__main__":
    main()
