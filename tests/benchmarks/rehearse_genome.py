"""A whole genome in and out: a 2bit and a FASTA with hg38's 25 contigs, ingested, verified, exported, compared.

    python tests/benchmarks/rehearse_genome.py --dir DIR [--scale 1.0] [--layout raw].. [--json FILE] [--keep]

The sequence is generated (seeded): N in telomeres, centromeres, short arms and assembly gaps, half of the rest soft
masked in runs as RepeatMasker leaves them (Alu of 300 bases, shorter scraps, a tail of LINEs). Each stage runs in a
process of its own, whose time and peak memory are printed: `memory` is what it allocated, `resident` counts mapped
pages of the store too. Exports are compared with the generated files byte for byte, and the two stores by fingerprint.
Full size wants 11 GB of disk in DIR, 17 with --keep.
"""

import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnamamba.bench.results import ResultLines
from dnamamba.pipelines.manifest import load_manifest
from dnamamba.pipelines.store import open_store

LINE = 60  # bases a line of FASTA: what export writes
PIECE = LINE << 18  # bases made at a time; also a multiple of 4
SHORT_ARMS = ("chr13", "chr14", "chr15", "chr21", "chr22")  # 16 Mb of N at the start
LARGE_GAPS = {"chr1": 18_000_000, "chrY": 30_000_000, "chr9": 15_000_000, "chr16": 8_000_000}  # heterochromatin
LIMITS = {"memory_mb": 512.0, "minutes": 10.0}
Int64s = npt.NDArray[np.int64]


def _four_letters() -> npt.NDArray[np.uint32]:
    letters = np.frombuffer(b"TCAG", np.uint8)
    byte = np.arange(256)
    return np.ascontiguousarray(np.stack([letters[byte >> s & 3] for s in (6, 4, 2, 0)], 1)).view(np.uint32)[:, 0]


@dataclass(frozen=True)
class Contig:
    """A contig to be made: where it is N and where lower case; sorted runs that do not touch each other."""

    name: str
    length: int
    seed: int
    n_runs: tuple[Int64s, Int64s]
    masks: tuple[Int64s, Int64s]

    def pieces(self) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
        """Letters [PIECE or the rest] and the same packed, four a byte; under N the bits are those of T."""
        rng, table = np.random.default_rng(self.seed), _four_letters()
        for start in range(0, self.length, PIECE):
            size = min(PIECE, self.length - start)
            packed = np.frombuffer(bytearray(rng.bytes(-(-size // 4))), np.uint8)
            if size % 4:
                packed[-1] &= 0xFF << 2 * (4 - size % 4) & 0xFF
            for first, last in _inside(self.n_runs, start, size):
                _clear(packed, first, last)
            letters = table[packed].view(np.uint8)[:size]
            for first, last in _inside(self.n_runs, start, size):
                letters[first:last] = ord("N")
            runs = list(_inside(self.masks, start, size))
            if runs:
                borders = np.concatenate([[0], np.array(runs, np.int64).ravel(), [size]])
                values = np.zeros(len(borders) - 1, np.uint8)
                values[1::2] = 0x20
                letters |= np.repeat(values, np.diff(borders))
            yield letters, packed


def _inside(runs: tuple[Int64s, Int64s], start: int, size: int) -> Iterator[tuple[int, int]]:
    """The runs that reach into a piece, cut to it and counted from its start."""
    starts, ends = runs
    first, last = np.searchsorted(ends, start, "right"), np.searchsorted(starts, start + size)
    inner = np.stack([starts[first:last].clip(start) - start, ends[first:last].clip(max=start + size) - start], 1)
    return ((a, b) for a, b in inner.tolist())


def _clear(packed: npt.NDArray[np.uint8], first: int, last: int) -> None:
    """Set the bits of bases [first, last) to 0."""
    whole = range(-(-first // 4), last // 4)
    if whole:
        packed[whole.start : whole.stop] = 0
    for base in (*range(first, min(last, 4 * whole.start)), *range(max(first, 4 * whole.stop), last)):
        packed[base // 4] &= 0xFF ^ 3 << 2 * (3 - base % 4)


def plan(name: str, length: int, seed: int, scale: float) -> Contig:
    """Draw a contig's runs."""
    rng = np.random.default_rng([seed, 1])
    nothing = np.empty(0, np.int64)
    gaps = (nothing, nothing)
    if name != "chrM":
        telomere = max(1, int(10_000 * scale))
        drawn = [(0, telomere), (length - telomere, length)]
        if name in SHORT_ARMS:
            drawn.append((telomere, telomere + int(16_000_000 * scale)))
        large = int(LARGE_GAPS.get(name, 500_000) * scale)
        drawn.append((length // 2, length // 2 + large))
        for start in rng.integers(0, length, 30).tolist():  # assembly gaps
            drawn.append((start, start + max(1, int(rng.choice([100, 50_000]) * scale))))
        gaps = _merged(np.clip(np.array(sorted(drawn), np.int64), 0, length))
    count = int(length / 620 * 1.1) + 10
    kinds = rng.random(count)
    sizes = np.where(kinds < 0.45, rng.normal(300, 20, count), rng.lognormal(np.log(150), 0.9, count))
    sizes = np.where(kinds > 0.9, rng.lognormal(np.log(1_000), 0.8, count).clip(max=6_500), sizes)
    sizes = sizes.astype(np.int64).clip(10)
    between = rng.geometric(1 / float(sizes.mean()), count)
    ends = np.cumsum(sizes + between)
    starts = ends - sizes
    # Masks stay off the gaps, as UCSC's do.
    before = np.searchsorted(gaps[1], starts, "left")
    free = (ends < length) & (np.searchsorted(gaps[0], ends, "right") == before)
    return Contig(name, length, seed, gaps, (starts[free], ends[free]))


def _merged(runs: Int64s) -> tuple[Int64s, Int64s]:
    """Sorted runs [n, 2], those that overlap or touch put together."""
    reach = np.maximum.accumulate(runs[:, 1])
    new = np.concatenate([[True], runs[1:, 0] > reach[:-1]])
    return runs[new, 0], reach[np.concatenate([new[1:], [True]])]


def generate(contigs: list[Contig], fasta: Path, twobit: Path) -> None:
    """Write both files in one pass. The packed bases of a contig stand behind its runs, which are known before."""
    at = 16 + sum(5 + len(contig.name) for contig in contigs)
    with fasta.open("wb") as text, twobit.open("wb") as packed_file:
        packed_file.write(struct.pack("<4I", 0x1A412743, 0, len(contigs), 0))
        for contig in contigs:
            packed_file.write(bytes([len(contig.name)]) + contig.name.encode() + struct.pack("<I", at))
            at += 16 + 8 * (len(contig.n_runs[0]) + len(contig.masks[0])) + -(-contig.length // 4)
        for contig in contigs:
            text.write(f">{contig.name}\n".encode())
            packed_file.write(struct.pack("<I", contig.length))
            for starts, ends in (contig.n_runs, contig.masks):
                packed_file.write(struct.pack("<I", len(starts)))
                packed_file.write(starts.astype("<u4").tobytes() + (ends - starts).astype("<u4").tobytes())
            packed_file.write(bytes(4))
            for letters, packed in contig.pieces():
                whole = len(letters) // LINE
                lines = np.empty((whole, LINE + 1), np.uint8)
                lines[:, :LINE] = letters[: whole * LINE].reshape(whole, LINE)
                lines[:, LINE] = ord("\n")
                text.write(lines)
                if len(letters) % LINE:
                    text.write(letters[whole * LINE :].tobytes() + b"\n")
                packed_file.write(packed)


@dataclass(frozen=True)
class Used:
    """What a child took."""

    seconds: float
    memory: float
    """MB that it allocated at its peak, mapped files left out."""
    resident: float
    """MB resident at its peak, mapped files included."""


def run(*arguments: object) -> Used:
    """A dnamamba command in a process of its own, watched 50 times a second."""
    begin, memory, resident = time.perf_counter(), 0, 0
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", "dnamamba", "genome", *map(str, arguments)]
        child = subprocess.Popen(command, stdout=said, stderr=said)
        while child.poll() is None:
            now = _status(child.pid)
            # The system's own peak would count what this process held when the child was forked.
            memory, resident = max(memory, now.get("RssAnon", 0)), max(resident, now.get("VmHWM", 0))
            time.sleep(0.02)
        seconds = time.perf_counter() - begin
        if child.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed: {said.read().decode()[-2_000:]}")
    return Used(seconds, memory * 1.024e-3, resident * 1.024e-3)


def _status(pid: int) -> dict[str, int]:
    """Memory of a process in KiB; nothing once it has ended, or where the system does not tell."""
    try:
        rows = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    except OSError:
        return {}
    return {row[0].rstrip(":"): int(row[1]) for row in rows if row[-1] == "kB"}


def same(one: Path, other: Path) -> bool:
    """Whether two files are equal, read side by side."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while data := first.read(1 << 24):
            if data != second.read(1 << 24):
                return False
    return True


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything in a folder."""
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dir", type=Path, required=True, help="where to work; an own folder in it is made and removed"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="length of every contig, as a share of hg38's")
    parser.add_argument("--layout", action="append", choices=["raw", "packed"], help="of the store; raw by default")
    parser.add_argument("--jobs", type=int, help="threads of ingest and verify")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", action="store_true", help="remove nothing")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=options.dir))
    try:
        rehearse(folder, options)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def rehearse(folder: Path, options: argparse.Namespace) -> None:
    begin = time.perf_counter()
    lines = ResultLines("rehearse_genome", options.json, f"{os.cpu_count()} CPU cores")
    rows = load_manifest("hg38").contigs
    contigs = [
        plan(row.name, max(int(row.length * options.scale), 1_000), number, options.scale)
        for number, row in enumerate(rows)
    ]
    bases = sum(contig.length for contig in contigs)
    sources = {"fasta": folder / "genome.fa", "2bit": folder / "genome.2bit"}
    at = time.perf_counter()
    generate(contigs, *sources.values())
    masked = sum(int((contig.masks[1] - contig.masks[0]).sum()) for contig in contigs) / bases
    gaps = sum(int((contig.n_runs[1] - contig.n_runs[0]).sum()) for contig in contigs) / bases
    print(f"{bases:,} bases, {len(contigs)} contigs, {masked:.1%} soft masked, {gaps:.1%} N")
    print(f"{'stage':26}{'seconds':>9}{'M bases/s':>11}{'memory MB':>11}{'resident MB':>13}{'bytes':>16}{'a base':>8}")
    seconds = time.perf_counter() - at
    print(f"{'generate both files':26}{seconds:9.1f}{bases / seconds / 1e6:11.0f}", flush=True)
    for name, path in sources.items():
        print(f"{f'  {name}':70}{size_of(path):16,}{size_of(path) / bases:8.3f}")

    def stage(name: str, used: Used, size: int | None) -> None:
        rate = bases / used.seconds
        text = f"{name:26}{used.seconds:9.1f}{rate / 1e6:11.0f}{used.memory:11.0f}{used.resident:13.0f}"
        print(text + (f"{size:16,}{size / bases:8.3f}" if size else ""), flush=True)
        case = f"{name} x{options.scale:g}"
        lines.write(case, "bases_per_s", "bases/s", rate, {})
        lines.write(case, "memory_mb", "MB", used.memory, {}, LIMITS["memory_mb"], "most")
        if size:
            lines.write(case, "bytes_per_base", "bytes", size / bases, {})

    fingerprints = set()
    jobs = ["--jobs", options.jobs] if options.jobs else []
    for layout in options.layout or ["raw"]:
        chosen = [] if layout == "raw" else ["--layout", layout]
        for kind, source in sources.items():
            store, label = folder / f"{kind}-{layout}.zarr", f"{layout} {kind}"
            used = run("ingest", source, "--store", store, "--assembly", "x", *chosen, *jobs)
            stage(f"{label}: ingest", used, size_of(store))
            stage(f"{label}: verify", run("verify", store, *jobs), None)
            fingerprints.add(open_store(store)["x"].attributes["fingerprint"])
            out = folder / f"out-{layout}{source.suffix}"
            stage(f"{label}: export", run("export", store, "--out", out), size_of(out))
            at = time.perf_counter()
            if not same(source, out):
                raise SystemExit(f"{label}: the export differs from the source")
            print(f"{f'{label}: compare':26}{time.perf_counter() - at:9.1f}   equal byte for byte", flush=True)
            if not options.keep:
                out.unlink()
                shutil.rmtree(store)
    if len(fingerprints) != 1:
        raise SystemExit(f"the stores' fingerprints differ: {sorted(fingerprints)}")
    minutes = (time.perf_counter() - begin) / 60
    print(f"fingerprint {fingerprints.pop()} of every store; {minutes:.1f} minutes in all")
    lines.write(f"all x{options.scale:g}", "minutes", "min", minutes, {}, LIMITS["minutes"], "most")


if __name__ == "__main__":
    main()
