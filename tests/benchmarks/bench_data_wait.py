"""How long a GPU waits for data: training from a store beside training on one micro-batch that lies on the device.

    python tests/benchmarks/bench_data_wait.py [--contexts 1024 1048576] [--model 128x12] [--json FILE]

The whole loop of `dnamamba pretrain`, Lightning, loggers and all, 2^20 tokens a step. `resident` hands the same
micro-batches out again and again: no reading, no copying. Share waited: the training thread's own time at an empty
queue. The medians are over the steps of the second half.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from bench_loader import contig

from dnamamba import curriculum_run, pretrain
from dnamamba.bench.results import ResultLines
from dnamamba.config import format_size
from dnamamba.corpus import Corpus, open_corpus
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.data import MicroBatch
from dnamamba.evaluate import EvaluationConfig
from dnamamba.loader import ReadAhead
from dnamamba.model import ModelConfig
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.pretrain_config import PretrainConfig, RunConfig
from dnamamba.report import read_log

WAYS = {"resident": 0, "thread": 0, "2 workers": 2}
GOAL = 0.02


class Resident(ReadAhead):
    """The first step's micro-batches under every step's number."""

    def __iter__(self) -> Iterator[MicroBatch]:
        first: list[MicroBatch] = []
        for step, micro in self.loader.order:
            if step == 0:
                one = self.loader.data[step, micro]
                first.append(one._replace(bases=one.bases.to(self.device)))
            yield first[micro]._replace(step=step)


def train(corpus: Corpus, context: int, model: str, way: str, steps: int, tokens_per_step: int) -> tuple[float, float]:
    """Tokens a second, and the share of the time waited."""
    width, blocks = map(int, model.split("x"))
    config = PretrainConfig(
        stores=("unused",),
        model=ModelConfig(d_model=width, n_layers=blocks),
        curriculum=CurriculumConfig(
            stages=(Stage(context=context, share=1.0),),
            tokens_per_step=tokens_per_step,
            total_tokens=steps * tokens_per_step,
        ),
        evaluation=EvaluationConfig(contexts=(1024,), points=1, targets_while_training=1024),
        run=RunConfig(workers=WAYS[way]),
    )
    curriculum_run.ReadAhead = Resident if way == "resident" else ReadAhead
    with tempfile.TemporaryDirectory() as folder:
        curriculum_run.train(config, corpus, Path(folder), pretrain.join(config), None, lambda text: None)
        rows = [row for row in read_log(Path(folder) / "logs") if "loss" in row]
    return statistics.median(row["tokens_per_second"] for row in rows[steps // 2 :]), rows[-1]["data_share"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, nargs="+", default=[2**10, 2**12, 2**14, 2**17, 2**20])
    parser.add_argument("--model", default="128x12")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=2**20)
    parser.add_argument("--bases", type=int, default=50_000_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    lines = ResultLines("data_wait", arguments.json, "cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        letters = contig(arguments.bases)
        ingest_arrays([("chr1", "", letters)], Path(folder) / "store.zarr", assembly="random", simulated=True)
        corpus = open_corpus([f"{folder}/store.zarr"], SplitConfig())
        print(f"{arguments.model}, M tokens/s and share of the time waited for data; {lines.about['device']}")
        print(f"{'context':>9}" + "".join(f"{way:>20}" for way in WAYS))
        for context in arguments.contexts:
            found = {
                way: train(corpus, context, arguments.model, way, arguments.steps, max(arguments.tokens, context))
                for way in WAYS
            }
            cells = "".join(f"{rate / 1e6:12.2f} {share:7.2%}" for rate, share in found.values())
            print(f"{format_size(context):>9}{cells}", flush=True)
            for way in ("thread", "2 workers"):
                rate, share = found[way]
                lines.write(f"{arguments.model} {context} {way}", "share_waited", "share", share, {}, GOAL, "at most")
                lines.write(
                    f"{arguments.model} {context} {way}", "tokens_per_s", "tokens/s", rate, {}, found["resident"][0],
                    "the same loop with its batch on the device",
                )  # fmt: skip
