"""Rate of the training loader, from a store on disk to batches, beside copying the same windows out of a memory map.

    python tests/benchmarks/bench_loader.py [--bases 100_000_000] [--workers 2] [--repeats 5] [--json FILE]

One contig of random letters with a gap and soft mask, split 80/10/10, a store warm in the page cache. `micro-batches`
are what the workers deliver (one byte a base), `batches` what the model reads: inputs and int64 targets, made of them
in the main process.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch

from dnamamba.corpus import Corpus, open_corpus
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.data import TrainingData
from dnamamba.loader import TrainingBatches, training_loader
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.splits import SplitConfig

CONTEXTS = (2**10, 2**14, 2**17, 2**20)
TOKENS_PER_STEP = 2**22
GOAL = 200e6


def contig(length: int) -> np.ndarray:
    """Random letters, a tenth of them lower case, a gap of 1% in the middle."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTACGTACGTACGTACGTacgt", np.uint8)[rng.integers(0, 24, length, dtype=np.uint8)]
    letters[length // 2 : length // 2 + length // 100] = ord("N")
    return letters


def rate(corpus: Corpus, context: int, workers: int, *, steps: int, batches: bool) -> float:
    """Bases a second, from the second step on: starting the workers is not counted."""
    curriculum = CurriculumConfig(
        stages=(Stage(context=context, share=1.0),),
        tokens_per_step=TOKENS_PER_STEP,
        total_tokens=TOKENS_PER_STEP * (steps + 4),
    )
    rows = max(1, 2**20 // context)
    data = TrainingData(corpus, curriculum, DNA, micro_batch={context: rows}, seed=0)
    stream = TrainingBatches(data, workers=workers) if batches else training_loader(data, workers=workers)
    bases, start = 0, 0.0
    for number, one in enumerate(stream):
        if number * rows * context == 4 * TOKENS_PER_STEP:  # the workers' queues are full by now, and stay so
            start = time.perf_counter()
        if start:
            bases += one["tokens"].numel() if batches else one.bases.numel()
    return bases / (time.perf_counter() - start)


def memory_map(path: Path, context: int, steps: int) -> float:
    """Bases a second copied out of a numpy memory map at random places, one process: no letter is looked at."""
    mapped = np.memmap(path, np.uint8, mode="r")
    starts = np.random.default_rng(0).integers(0, len(mapped) - context, steps * TOKENS_PER_STEP // context)
    begin = time.perf_counter()
    for start in starts.tolist():
        np.array(mapped[start : start + context])
    return steps * TOKENS_PER_STEP / (time.perf_counter() - begin)


def median(function: Callable[[], float], repeats: int) -> float:
    return statistics.median(function() for _ in range(repeats))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", type=int, default=100_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        letters = contig(arguments.bases)
        letters.tofile(Path(folder) / "plain")
        ingest_arrays([("chr1", "", letters)], Path(folder) / "store.zarr", assembly="random", simulated=True)
        corpus = open_corpus([f"{folder}/store.zarr"], SplitConfig())
        print(f"M bases/s, {arguments.workers} workers, median of {arguments.repeats}; torch {torch.__version__}")
        print(f"{'context':>9} {'micro-batches':>14} {'batches':>8} {'memory map, 1 process':>22}")
        for context in CONTEXTS:
            micro, whole = (
                median(
                    lambda b=batches, c=context: rate(corpus, c, arguments.workers, steps=arguments.steps, batches=b),
                    arguments.repeats,
                )
                for batches in (False, True)
            )
            rival = median(lambda c=context: memory_map(Path(folder) / "plain", c, arguments.steps), arguments.repeats)
            print(f"{context:9,} {micro / 1e6:14.0f} {whole / 1e6:8.0f} {rival / 1e6:22.0f}", flush=True)
            for metric, value in (("micro_batches_bases_per_s", micro), ("batches_bases_per_s", whole)):
                lines.append(
                    {
                        "bench": "loader",
                        "case": f"{context} {arguments.workers} workers",
                        "metric": metric,
                        "unit": "bases/s",
                        "ours": round(value),
                        "rivals": {"numpy memory map, copy only, 1 process": round(rival)},
                        "limit": GOAL if context == 2**20 else None,
                        "limit_is": "least" if context == 2**20 else None,
                        "device": platform.processor() or platform.machine(),
                        "python": platform.python_version(),
                        "torch": torch.__version__,
                        "triton": None,
                        "commit": commit,
                        "date": date.today().isoformat(),
                    }
                )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        with arguments.json.open("a") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)
