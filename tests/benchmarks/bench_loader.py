"""Rate of the training loader, from a store on disk to micro-batches, beside copying the windows out of a memory map.

    python tests/benchmarks/bench_loader.py [--bases 100_000_000] [--repeats 5] [--json FILE]

One contig of random letters with a gap and soft mask, split 80/10/10, a store warm in the page cache. `direct` reads in
the consumer itself, `thread` ahead of it in a thread, `2 workers` ahead of it in two processes. The consumer touches
each micro-batch and does no more. What a GPU makes of it is bench_data_wait.py's.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dnamamba.bench.results import ResultLines
from dnamamba.corpus import Corpus, open_corpus
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.data import TrainingData
from dnamamba.loader import ReadAhead, training_loader
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.splits import SplitConfig

CONTEXTS = (2**10, 2**12, 2**14, 2**16, 2**18, 2**20)
WAYS = {"direct": (0, False), "thread": (0, True), "2 workers": (2, True)}
TOKENS_PER_STEP = 2**22
GOALS = {2**10: 20e6, 2**20: 200e6}


def contig(length: int) -> np.ndarray:
    """Random letters, a tenth of them lower case, a gap of 1% in the middle."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTACGTACGTACGTACGTacgt", np.uint8)[rng.integers(0, 24, length, dtype=np.uint8)]
    letters[length // 2 : length // 2 + length // 100] = ord("N")
    return letters


def rate(corpus: Corpus, context: int, steps: int, workers: int, ahead: bool) -> float:
    """Bases a second, from the fifth step on: the workers have started and their queues are full by then."""
    curriculum = CurriculumConfig(
        stages=(Stage(context=context, share=1.0),),
        tokens_per_step=TOKENS_PER_STEP,
        total_tokens=TOKENS_PER_STEP * (steps + 4),
    )
    data = TrainingData(corpus, curriculum, DNA, micro_batch={context: max(1, 2**20 // context)}, seed=0)
    loader = training_loader(data, workers=workers)
    bases, start = 0, 0.0
    for one in ReadAhead(loader, torch.device("cpu")) if ahead else loader:
        if one.step == 4 and one.micro == 0:
            start = time.perf_counter()
        if start:
            bases += one.bases.numel()
            one.bases[0, 0].item()
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
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = ResultLines("loader", arguments.json, platform.processor() or platform.machine())
    with tempfile.TemporaryDirectory() as folder:
        letters = contig(arguments.bases)
        letters.tofile(Path(folder) / "plain")
        ingest_arrays([("chr1", "", letters)], Path(folder) / "store.zarr", assembly="random", simulated=True)
        corpus = open_corpus([f"{folder}/store.zarr"], SplitConfig())
        print(f"M bases/s, median of {arguments.repeats}; torch {torch.__version__}")
        print(f"{'context':>9} " + "".join(f"{way:>11}" for way in WAYS) + f"{'memory map, 1 process':>23}")
        for context in CONTEXTS:
            limit = median(lambda c=context: memory_map(Path(folder) / "plain", c, arguments.steps), arguments.repeats)
            found = {}
            for way, (workers, ahead) in WAYS.items():
                found[way] = median(
                    lambda c=context, w=workers, a=ahead: rate(corpus, c, arguments.steps, w, a), arguments.repeats
                )
                lines.write(
                    f"{context} {way}", "micro_batches_bases_per_s", "bases/s", found[way],
                    {"numpy memory map, copy only, 1 process": round(limit)}, GOALS.get(context), "the least wanted",
                )  # fmt: skip
            print(
                f"{context:9,} " + "".join(f"{value / 1e6:11.0f}" for value in found.values()) + f"{limit / 1e6:23.0f}",
                flush=True,
            )
