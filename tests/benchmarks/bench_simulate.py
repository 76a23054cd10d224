"""Time the embedded apes, and check the species bound with an exact library matcher at the default density.

    python tests/benchmarks/bench_simulate.py [--bases 24_000_000] [--repeats 5] [--json FILE]

The first part simulates 2 Mb x 5 as `dnamamba pretrain` does, beside drawing one random number for each of its bases
(the least that a simulator does), and where msprime is installed beside its genealogies and mutations alone. The second
tells species in windows of test sequence from the library, at 2^10 .. 2^19 bases.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from library_matcher import LibraryMatcher, matcher_accuracy

from dnamamba.pipelines.simulate.apes import SimulateConfig, simulate_store
from dnamamba.pipelines.simulate.bound import library_accuracy, species_accuracy
from dnamamba.pipelines.simulate.contig import simulate_contig
from dnamamba.pipelines.simulate.library import make_library
from dnamamba.pipelines.simulate.streams import stream


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Median wall time."""
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def sequences(config: SimulateConfig) -> list[list[np.ndarray]]:
    """All contigs of all species, [contigs][5]."""
    library = make_library(config.seed, config.young_diagnostic)
    contigs = (simulate_contig(config, library, i) for i in range(config.contigs))
    return [[contig.sequence(species) for species in range(5)] for contig in contigs]


def into_store(config: SimulateConfig) -> None:
    """Simulate and ingest."""
    with tempfile.TemporaryDirectory() as folder:
        simulate_store(Path(folder) / "s.zarr", config)


def with_msprime() -> None:
    """Five genomes of 2 Mb under one population as diverse as the apes: genealogies and mutations, no sequence."""
    import msprime

    trees = msprime.sim_ancestry(5, ploidy=1, sequence_length=2_000_000, population_size=1e5, recombination_rate=1e-8)
    msprime.sim_mutations(trees, rate=2e-8)


def line(case: str, metric: str, unit: str, ours: float, **more: object) -> dict[str, object]:
    """One line of results."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "bench": "simulate", "case": case, "metric": metric, "unit": unit, "ours": round(ours, 4),
        "rivals": {}, "limit": None, "limit_is": None, "device": platform.processor() or platform.machine(),
        "python": platform.python_version(), "numpy": np.__version__, "commit": commit,
        "date": str(date.today()), **more,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", type=int, default=24_000_000, help="bases a species for the species bound")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    config = SimulateConfig()
    ours = seconds(lambda: sequences(config), args.repeats)
    store = seconds(lambda: into_store(config), args.repeats)
    draw = seconds(lambda: stream(0, "limit").random(5 * config.bases, np.float32), args.repeats)
    rivals = {"msprime": round(seconds(with_msprime, args.repeats), 3)} if find_spec("msprime") else {}
    limit = {"limit": round(draw, 4), "limit_is": "one Philox float32 for each of the 10 million bases"}
    rows = [
        line("2 Mb x 5", "sequences_s", "s", ours, rivals=rivals, **limit),
        line("2 Mb x 5", "store_s", "s", store, **limit),
    ]
    print(
        f"2 Mb x 5: sequences {ours:.2f} s, in a store {store:.2f} s; one random number a base {draw:.3f} s; {rivals}"
    )

    config = SimulateConfig(seed=100, bases=args.bases, contigs=4)
    made = sequences(config)
    matcher = LibraryMatcher(make_library(config.seed, config.young_diagnostic))
    print(f"{'length':>8} {'matcher':>8} {'library bound':>14} {'with spectrum':>14}")
    for log2 in range(10, 20):
        length = 1 << log2
        found = matcher_accuracy(config, matcher, made, length)
        library, both = library_accuracy(config, length), species_accuracy(config, length)
        print(f"{length:8,} {found:8.3f} {library:14.3f} {both:14.3f}")
        bound = {"limit": round(library, 4), "limit_is": "best accuracy from the library (simulate.bound)"}
        rows.append(line(f"2^{log2} bases", "matcher_accuracy", "share", found, **bound))
    if args.json:
        with args.json.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
