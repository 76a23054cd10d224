"""The genome store beside a numpy memory map of the same bases: random windows, ingest, verify, export.

    python tests/benchmarks/bench_store.py [--bases 200_000_000] [--repeats 7] [--folder DIR] [--json FILE]

One contig of random letters with runs of N and of lower case, in both layouts. Windows are warm: every chunk was
touched before. A window is a new array on both sides, dropped before the next is read: kept, they would time the
kernel's page faults. Ingest is timed to the end, synchronisation with the disk included. Use a quiet machine.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.store import Assembly
from dnamamba.pipelines.store_format import LAYOUTS
from dnamamba.pipelines.verify import verify

WINDOWS = {2**10: 20_000, 2**15: 8_000, 2**20: 300}  # length in bases -> how many are read
WINDOW_LIMIT = 1.7  # times the memory map's; the raw layout
PACKED_LIMIT = 1.5e9  # bases a second of two workers, windows of 2^20
PACKED_SIZE = 0.28  # bytes a base
CORES = 2  # of the machine that the limits are for, quiet
INGEST_LIMIT = 150e6  # bases a second; bgzip 100


def letters(length: int) -> np.ndarray:
    """Random bases with lower case as dense as in hg38, about 1,800 stretches a million bases, half of all bases in
    them; of each 1,000,000 the first 20,000 are N."""
    random = np.random.default_rng(0)
    bases = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, length, dtype=np.uint8)]
    borders = np.cumsum(random.integers(1, 560, length // 200))
    borders = borders[borders < length]
    case = np.zeros(len(borders) + 1, np.uint8)
    case[1::2] = 0x20
    bases |= np.repeat(case, np.diff(borders, prepend=0, append=length))
    for start in range(0, length, 1_000_000):
        bases[start : start + 20_000] = ord("N")
    return bases


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def drop(windows: Iterable[np.ndarray]) -> None:
    """Read windows and keep none."""
    for _ in windows:
        pass


def memory_rate() -> float:
    """Bytes a second of a copy in memory, one process: what a window costs at least."""
    block = np.ones(1 << 28, np.uint8)
    out = np.empty_like(block)
    return len(block) / statistics.median([seconds(lambda: np.copyto(out, block)) for _ in range(5)])


def one_process(assembly: Assembly, plain: Path, repeats: int) -> list[dict[str, Any]]:
    """Microseconds a window, ours and numpy's in turn, medians over `repeats` rounds."""
    mapped, name, layout = np.memmap(plain, np.uint8, "r"), assembly.contigs[0].name, assembly.attributes["layout"]
    size = len(mapped)
    assembly[name], np.array(mapped)  # first touch
    rows = []
    for length, count in WINDOWS.items():
        starts = np.random.default_rng(1).integers(0, size - length, count).tolist()
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(repeats):
            ours.append(seconds(lambda s=starts, n=length: drop(assembly[name, a : a + n] for a in s)))
            theirs.append(seconds(lambda s=starts, n=length: drop(np.array(mapped[a : a + n]) for a in s)))
        mine, rival = (statistics.median(times) / count * 1e6 for times in (ours, theirs))
        print(
            f"{layout:>6} {length:10,} {mine:9.2f} us, memory map {rival:9.2f} us, {mine / rival:6.2f} times;"
            f" {length / mine / 1e3:6.2f} G bases/s",
            flush=True,
        )
        rows.append(
            {
                "bench": "store_window",
                "case": f"{length}" if layout == "raw" else f"{layout} {length}",
                "metric": "window_us",
                "unit": "us",
                "ours": round(mine, 3),
                "rivals": {"numpy memory map": round(rival, 3)},
                "limit": round(WINDOW_LIMIT * rival, 3) if layout == "raw" else None,
                "limit_is": "most" if layout == "raw" else None,
            }
        )
    return rows


def _worker(source: Assembly | Path, length: int, count: int, seed: int, ready: Any, answers: Any) -> None:
    """Touch everything, wait for the other worker, read windows; tell when that began and ended."""
    read: Callable[[int], Any]
    if isinstance(source, Path):
        mapped = np.memmap(source, np.uint8, "r")
        size = len(mapped)
        np.array(mapped)
        read = lambda a: np.array(mapped[a : a + length])  # noqa: E731
    else:
        name, size = source.contigs[0].name, source.contigs[0].length
        for _ in source.blocks(name):
            pass
        read = lambda a: source[name, a : a + length]  # noqa: E731
    starts = np.random.default_rng(seed).integers(0, size - length, count).tolist()
    ready.wait()
    begin = time.perf_counter()
    for start in starts:
        read(start)
    answers.put((begin, time.perf_counter()))


def _workers_rate(source: Assembly | Path, method: str, length: int, count: int) -> float:
    """Bases a second of two worker processes together."""
    context = multiprocessing.get_context(method)
    ready, answers = context.Barrier(CORES), context.SimpleQueue()
    workers = [
        context.Process(target=_worker, args=(source, length, count, seed, ready, answers)) for seed in range(CORES)
    ]
    for worker in workers:
        worker.start()
    times = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return CORES * length * count / (max(end for _, end in times) - min(begin for begin, _ in times))


def two_workers(assembly: Assembly, plain: Path, repeats: int) -> list[dict[str, Any]]:
    """Bases a second of two workers, forked and spawned, ours and numpy's in turn, medians."""
    rows, layout = [], assembly.attributes["layout"]
    for method, (length, count) in product(("fork", "spawn"), WINDOWS.items()):
        pairs = [
            [_workers_rate(source, method, length, 4 * count) for source in (assembly, plain)] for _ in range(repeats)
        ]
        mine, rival = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        limit: float | None = rival / WINDOW_LIMIT
        if layout == "packed":
            limit = PACKED_LIMIT if length == 2**20 else None
        print(
            f"{layout:>6} {length:10,} two workers, {method}: {mine / 1e9:6.2f} G bases/s,"
            f" memory map {rival / 1e9:6.2f}, limit {limit / 1e9 if limit else 0:6.2f}",
            flush=True,
        )
        rows.append(
            {
                "bench": "store_window",
                "case": f"{layout} {length} two workers {method}",
                "metric": "window_bases_per_s",
                "unit": "bases/s",
                "ours": round(mine),
                "rivals": {"numpy memory map": round(rival)},
                "limit": limit and round(limit),
                "limit_is": "least" if limit else None,
            }
        )
    return rows


def size(folder: Path, bases: int) -> dict[str, Any]:
    """Bytes a base of a packed assembly, all its files together."""
    ours = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / bases
    print(f"packed: {ours:.4f} bytes a base")
    return {
        "bench": "store_size",
        "case": "packed",
        "metric": "bytes_per_base",
        "unit": "bytes",
        "ours": round(ours, 4),
        "rivals": {},
        "limit": PACKED_SIZE,
        "limit_is": "most",
    }


def rates(folder: Path, assembly: Assembly, packed: Assembly, repeats: int) -> list[dict[str, Any]]:
    """Bases a second of every way in and out, medians, beside the disk's own rate for the same number of bytes."""
    bases = sum(assembly.sizes.values())
    rows = []

    def row(metric: str, case: str, times: list[float], limit: float | None, rivals: dict[str, int]) -> None:
        rate = bases / statistics.median(times)
        print(f"{metric:>8} {case:>12} {rate / 1e6:8.0f} M bases/s   {rivals or ''}", flush=True)
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
        for layout in LAYOUTS:
            name, times, work = case if layout == "raw" else f"{layout} {case}", [], []
            for _ in range(repeats):
                shutil.rmtree(folder / "in", ignore_errors=True)
                before = time.process_time()
                times.append(seconds(lambda s=source, n=layout: ingest(s, folder / "in", assembly="x", layout=n)))
                work.append(time.process_time() - before)
            row("ingest", name, times, limit if layout == "raw" else None, disk)
            cpu = statistics.median(work) / bases * 1e9
            print(f"{'':17} {cpu:8.1f} ns of processor time a base", flush=True)
            rows.append(
                {
                    "bench": "store_rate",
                    "case": name,
                    "metric": "ingest_cpu_ns_per_base",
                    "unit": "ns",
                    "ours": round(cpu, 2),
                    "rivals": {},
                    "limit": round(CORES / limit * 1e9, 2),  # holds on a busy machine too
                    "limit_is": "most",
                }
            )
    for one in (assembly, packed):
        layout = one.attributes["layout"]
        row("verify", layout, [seconds(lambda a=one: verify(a)) for _ in range(repeats)], None, {})
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
        stored = {
            layout: ingest_arrays(
                [("chr1", "", sequence)], folder / "s", assembly=layout, simulated=True, layout=layout
            )
            for layout in LAYOUTS
        }
        del sequence
        print(f"memory: {memory_rate() / 1e9:.1f} G bytes/s copied by one process")
        results = [size(folder / "s" / "packed", arguments.bases)]
        for layout in LAYOUTS:
            results += one_process(stored[layout], folder / "plain", arguments.repeats)
            results += two_workers(stored[layout], folder / "plain", max(arguments.repeats // 2, 1))
        results += rates(folder, stored["raw"], stored["packed"], arguments.repeats)
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
