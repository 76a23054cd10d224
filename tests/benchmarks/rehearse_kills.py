"""SIGKILL at random moments of an ingest, then --resume: a log line a kill, and every digest tested after each.

    python tests/benchmarks/rehearse_kills.py --dir DIR [--kills 50] [--bases 30_000_000] [--seed 0]

A genome of 25 contigs of hg38's proportions goes into a fresh store, as FASTA, gzip and 2bit in turn. The process is
killed at a moment drawn evenly over the time that a whole ingest takes; kills that came after the end are drawn again.
Then it is resumed. What must hold: the assembly equals the source, letters and digests; no contig that the journal
held as finished was worked on again; nothing is left beside it.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.manifest import load_manifest

sys.path.insert(0, str(Path(__file__).parents[1]))
from kill_cases import ASSEMBLY, kill_and_resume
from store_cases import assert_genome
from twobit_writer import twobit_bytes


def genome(bases: int, seed: int) -> dict[str, np.ndarray]:
    """Contigs of hg38's proportions: random letters of both cases, and N."""
    rows, rng = load_manifest("hg38").contigs, np.random.default_rng(seed)
    share, letters = bases / sum(row.length for row in rows), np.frombuffer(b"ACGTacgtNn", np.uint8)
    return {row.name: letters[rng.integers(0, 10, int(row.length * share) + 1)] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dir", type=Path, required=True, help="where to work; an own folder in it is made and removed"
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--bases", type=int, default=30_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="kills-", dir=options.dir))
    try:
        rehearse(folder, options.kills, options.bases, options.seed)
    finally:
        shutil.rmtree(folder)


def rehearse(folder: Path, kills: int, bases: int, seed: int) -> None:
    contigs, rng = genome(bases, seed), np.random.default_rng([seed, 1])
    text = b"".join(b">%s\n%s\n" % (name.encode(), letters.tobytes()) for name, letters in contigs.items())
    records = [(name, letters.tobytes()) for name, letters in contigs.items()]
    files = {"toy.fa": text, "toy.fa.gz": gzip.compress(text, 1), "toy.2bit": twobit_bytes(records)}
    whole = {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        begin = time.perf_counter()
        ingest(folder / name, folder / "first", assembly=name)
        whole[name] = time.perf_counter() - begin
    print("a whole ingest takes " + ", ".join(f"{seconds:.2f} s ({name})" for name, seconds in whole.items()))
    done, drawn, states = 0, 0, Counter[str]()
    while done < kills:
        name = list(files)[done % len(files)]
        store = folder / f"s{drawn}"
        drawn += 1
        kill, made = kill_and_resume(folder / name, store, list(contigs), float(rng.uniform(0, whole[name])))
        assert_genome(made, contigs)
        assert not kill.redone, f"finished contigs were done again: {kill.redone}"
        assert sorted(path.name for path in store.iterdir()) == [ASSEMBLY, "zarr.json"]
        shutil.rmtree(store)
        if not kill.hit:
            continue
        done += 1
        states[kill.state] += 1
        when = f"kill {done:3} {name:10} after {kill.after:5.2f} s: {kill.state:13}"
        what = f"{len(kill.finished):2} of {len(contigs)} contigs finished; resume worked on {len(kill.again):2}"
        print(f"{when} {what}; digests right", flush=True)
    found = ", ".join(f"{count} times {state}" for state, count in states.items())
    print(
        f"{done} kills in {drawn} runs, found {found}; every store whole after --resume, no finished contig done again"
    )


if __name__ == "__main__":
    main()
