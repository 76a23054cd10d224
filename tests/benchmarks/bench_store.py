"""The genome store beside a numpy memory map of the same bases: random windows, ingest, verify, export.

    python tests/benchmarks/bench_store.py [--bases 200_000_000] [--repeats 7] [--folder DIR] [--json FILE]

One contig of random letters with runs of N and of lower case. Windows are warm: every chunk was touched before. A
window is a new array on both sides. Ingest is timed to the end, synchronisation with the disk included.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.store import Assembly
from dnamamba.pipelines.verify import verify

WINDOWS = {2**10: 20_000, 2**15: 8_000, 2**20: 300}  # length in bases -> how many are read
WINDOW_LIMIT = 1.7  # times the memory map's
CORES = 2  # of the machine that the limits are for, quiet
INGEST_LIMIT = 150e6  # bases a second; bgzip 100


def letters(length: int) -> np.ndarray:
    """Random bases; of each 100,000 the last third is lower case, of each 1,000,000 the first 20,000 are N."""
    bases = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, length, dtype=np.uint8)]
    for start in range(0, length, 100_000):
        bases[start + 66_000 : start + 100_000] |= 0x20
    for start in range(0, length, 1_000_000):
        bases[start : start + 20_000] = ord("N")
    return bases


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def windows(assembly: Assembly, plain: Path, repeats: int) -> list[dict[str, Any]]:
    """Microseconds a window, ours and numpy's in turn, medians over `repeats` rounds."""
    mapped, name = np.memmap(plain, np.uint8, "r"), assembly.contigs[0].name
    size = len(mapped)
    assembly[name], np.array(mapped)  # first touch
    rows = []
    print(f"{'window':>10} {'ours us':>9} {'memory map us':>14} {'ratio':>6}")
    for length, count in WINDOWS.items():
        starts = np.random.default_rng(1).integers(0, size - length, count).tolist()
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(repeats):
            ours.append(seconds(lambda s=starts, n=length: [assembly[name, a : a + n] for a in s]))
            theirs.append(seconds(lambda s=starts, n=length: [np.array(mapped[a : a + n]) for a in s]))
        mine, rival = (statistics.median(times) / count * 1e6 for times in (ours, theirs))
        print(f"{length:10,} {mine:9.2f} {rival:14.2f} {mine / rival:6.2f}", flush=True)
        rows.append(
            {
                "bench": "store_window",
                "case": f"{length}",
                "metric": "window_us",
                "unit": "us",
                "ours": round(mine, 3),
                "rivals": {"numpy memory map": round(rival, 3)},
                "limit": round(WINDOW_LIMIT * rival, 3),
                "limit_is": "most",
            }
        )
    return rows


def rates(folder: Path, assembly: Assembly, repeats: int) -> list[dict[str, Any]]:
    """Bases a second of every way in and out, medians, beside the disk's own rate for the same number of bytes."""
    bases = sum(assembly.sizes.values())
    rows = []

    def row(metric: str, case: str, times: list[float], limit: float | None, rivals: dict[str, int]) -> None:
        rate = bases / statistics.median(times)
        print(f"{metric:>8} {case:>8} {rate / 1e6:8.0f} M bases/s   {rivals or ''}", flush=True)
        rows.append(
            {
                "bench": "store_rate",
                "case": case,
                "metric": f"{metric}_bases_per_s",
                "unit": "bases/s",
                "ours": round(rate),
                "rivals": rivals,
                "limit": limit,
                "limit_is": "least" if limit else None,
            }
        )

    block = bytes(1 << 24)

    def write() -> None:
        with (folder / "disk").open("wb") as file:
            for _ in range(0, bases, len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    disk = {"write and fsync of as many bytes": round(bases / statistics.median([seconds(write) for _ in range(3)]))}
    for case, limit in (("2bit", INGEST_LIMIT), ("fa", INGEST_LIMIT), ("fa.gz", 100e6)):
        source = folder / f"genome.{case}"
        row(
            "export",
            case,
            [seconds(lambda s=source: export(assembly, s)) for _ in range(max(repeats // 3, 1))],
            None,
            {},
        )
        times, work = [], []
        for _ in range(repeats):
            shutil.rmtree(folder / "in", ignore_errors=True)
            before = time.process_time()
            times.append(seconds(lambda s=source: ingest(s, folder / "in", assembly="x")))
            work.append(time.process_time() - before)
        row("ingest", case, times, limit, disk)
        cpu = statistics.median(work) / bases * 1e9
        print(f"{'':17} {cpu:8.1f} ns of processor time a base", flush=True)
        allowed = CORES / limit * 1e9  # holds on a busy machine too
        rows.append(
            {
                "bench": "store_rate",
                "case": case,
                "metric": "ingest_cpu_ns_per_base",
                "unit": "ns",
                "ours": round(cpu, 2),
                "rivals": {},
                "limit": round(allowed, 2),
                "limit_is": "most",
            }
        )
    row("verify", "raw", [seconds(lambda: verify(assembly)) for _ in range(repeats)], None, {})
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", type=int, default=200_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as text:
        folder = Path(text)
        sequence = letters(arguments.bases)
        sequence.tofile(folder / "plain")
        stored = ingest_arrays([("chr1", "", sequence)], folder / "s", assembly="random", simulated=True)
        del sequence
        results = windows(stored, folder / "plain", arguments.repeats) + rates(folder, stored, arguments.repeats)
    about = {
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": None,
        "triton": None,
        "commit": commit,
        "date": date.today().isoformat(),
    }
    if arguments.json:
        with arguments.json.open("a") as file:
            for result in results:
                file.write(json.dumps({**result, **about}) + "\n")
