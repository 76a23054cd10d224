"""Rate of our readers beside Biopython, pysam, pyfaidx, py2bit and twobitreader: whole generated files, one run.

    python tests/benchmarks/bench_readers.py [--bases 100_000_000] [--repeats 5] [--json FILE]

The contigs have N gaps, a soft mask of about hg38's grain (runs of 300 bases, half of them masked) and IUPAC codes.
Every reader gives each contig's letters, case kept: ours as arrays, validated; the rivals in their own form, unchecked.
"""

import argparse
import gzip
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import py2bit
import pyfaidx
import pysam
import twobitreader
from Bio import SeqIO

from dnamamba.pipelines.sources import open_source

sys.path.insert(0, str(Path(__file__).parents[1]))
from twobit_writer import twobit_bytes

CONTIGS = 4


def contig(rng: np.random.Generator, length: int, *, iupac: bool) -> bytes:
    """Letters of one contig."""
    letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, length)]
    edges = np.cumsum(rng.geometric(1 / 300, length // 250))
    masked = np.zeros(length, np.int8)
    masked[edges[edges < length]] = 1
    letters = letters + 32 * (np.cumsum(masked) % 2).astype(np.uint8)
    letters[: length // 50] = ord("N")
    if iupac:
        letters[rng.integers(length // 50, length, 20)] = ord("R")
    return letters.tobytes()


def write_fasta(path: Path, contigs: list[tuple[str, bytes]], width: int) -> None:
    with path.open("wb") as out:
        for name, letters in contigs:
            out.write(b">%s\n" % name.encode())
            for at in range(0, len(letters), width * 10_000):
                part = letters[at : at + width * 10_000]
                out.write(b"".join(part[i : i + width] + b"\n" for i in range(0, len(part), width)))


def ours(path: Path) -> int:
    return sum(len(block) for contig in open_source(path).contigs() for block in contig.blocks())


def biopython(path: Path) -> int:
    if path.suffix == ".2bit":
        with path.open("rb") as handle:
            return sum(len(bytes(record.seq)) for record in SeqIO.parse(handle, "twobit"))
    with path.open() as handle:
        return sum(len(record.seq) for record in SeqIO.parse(handle, "fasta"))


def biopython_gzip(path: Path) -> int:
    with gzip.open(path, "rt") as handle:
        return sum(len(record.seq) for record in SeqIO.parse(handle, "fasta"))


def pysam_fastx(path: Path) -> int:
    with pysam.FastxFile(str(path)) as file:
        return sum(len(record.sequence) for record in file)


def pyfaidx_whole(path: Path) -> int:
    """With its index made beforehand: the reading alone."""
    with pyfaidx.Fasta(str(path), as_raw=True) as fasta:
        return sum(len(record[:]) for record in fasta)


def py2bit_whole(path: Path) -> int:
    file = py2bit.open(str(path), True)
    try:
        return sum(len(file.sequence(name)) for name in file.chroms())
    finally:
        file.close()


def twobitreader_whole(path: Path) -> int:
    file = twobitreader.TwoBitFile(str(path))
    try:
        return sum(len(file[name][:]) for name in file.keys())  # noqa: SIM118  (no mapping that iterates)
    finally:
        file.close()


def rate(read: Callable[[Path], int], path: Path, bases: int, repeats: int) -> float:
    """Million bases a second, the median of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        count = read(path)
        seconds.append(time.perf_counter() - start)
        if count != bases:
            raise SystemExit(f"{read.__name__} read {count:,} bases of {path.name}, not {bases:,}")
    return bases / statistics.median(seconds) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", type=int, default=100_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    each = options.bases // CONTIGS
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contigs = [(f"chr{i}", contig(rng, each, iupac=True)) for i in range(CONTIGS)]
        write_fasta(folder / "lines60.fa", contigs, 60)
        write_fasta(folder / "one_line.fa", contigs, each)
        (folder / "crlf.fa").write_bytes((folder / "lines60.fa").read_bytes().replace(b"\n", b"\r\n"))
        pysam.tabix_compress(str(folder / "lines60.fa"), str(folder / "bgzip.fa.gz"))
        (folder / "gzip.fa.gz").write_bytes(gzip.compress((folder / "lines60.fa").read_bytes(), 6))
        plain = [(name, letters.replace(b"R", b"A")) for name, letters in contigs]
        (folder / "masked.2bit").write_bytes(twobit_bytes(plain))
        (folder / "unmasked.2bit").write_bytes(twobit_bytes([(name, letters.upper()) for name, letters in plain]))
        fasta = {"biopython": biopython, "pysam": pysam_fastx, "pyfaidx": pyfaidx_whole}
        packed = {"biopython": biopython_gzip, "pysam": pysam_fastx}
        twobit = {"biopython": biopython, "py2bit": py2bit_whole, "twobitreader": twobitreader_whole}
        cases: list[tuple[str, str, dict[str, Callable[[Path], int]]]] = [
            ("lines60.fa", "FASTA, lines of 60", fasta),
            ("crlf.fa", "FASTA, CR LF", fasta),
            ("one_line.fa", "FASTA, a contig a line", fasta),
            ("bgzip.fa.gz", "FASTA, bgzip", packed | {"pyfaidx": pyfaidx_whole}),
            ("gzip.fa.gz", "FASTA, gzip", packed),
            ("masked.2bit", "2bit, soft mask", twobit),
            ("unmasked.2bit", "2bit, no mask", twobit),
        ]
        print(f"{each * CONTIGS:,} bases in {CONTIGS} contigs, million bases a second, median of {options.repeats}")
        for file, case, rivals in cases:
            path = folder / file
            if "pyfaidx" in rivals:
                pyfaidx.Faidx(str(path)).close()
            rates = {
                name: round(rate(read, path, each * CONTIGS, options.repeats))
                for name, read in {"ours": ours, **rivals}.items()
            }
            print(f"{case:24}" + "".join(f"{name:>13} {value:5,}" for name, value in rates.items()), flush=True)
            if options.json:
                with options.json.open("a") as out:
                    out.write(json.dumps(_entry(case, rates)) + "\n")


def _entry(case: str, rates: dict[str, int]) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return {
        "bench": "readers",
        "case": case,
        "metric": "million_bases_per_s",
        "unit": "1e6 bases/s",
        "ours": rates["ours"],
        "rivals": {name: value for name, value in rates.items() if name != "ours"},
        "limit": None,
        "limit_is": None,
        "device": f"{platform.machine()} CPU, one thread",
        "python": platform.python_version(),
        "torch": None,
        "triton": None,
        "commit": commit.strip(),
        "date": date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
