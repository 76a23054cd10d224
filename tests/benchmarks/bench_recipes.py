"""Tokens a second of the training loop for every recipe in configs/, written as configs/_measured.yaml wants them.

    python tests/benchmarks/bench_recipes.py --out configs/_measured.yaml && python -m dnamamba.recipes

Every size at context 2^10, the growing contexts at every other power of two, 2^20 tokens a step, from a store.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from bench_data_wait import train
from bench_loader import contig

from dnamamba.config import format_size
from dnamamba.configs_of_package import CONFIGS
from dnamamba.corpus import open_corpus
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.pretrain_config import read_config
from dnamamba.recipes import recipes

FILE = CONFIGS / "_measured.yaml"


def wanted() -> dict[str, list[int]]:
    """Width x blocks -> contexts, in the order of the sizes."""
    found: dict[str, set[int]] = {}
    for path in recipes():
        config = read_config(str(path), [], [])
        contexts = {stage.context for stage in config.curriculum.stages[::2]}
        found.setdefault(f"{config.model.d_model}x{config.model.n_layers}", set()).update(contexts)
    return {model: sorted(found[model]) for model in sorted(found, key=lambda text: int(text.split("x")[0]))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=2**20)
    parser.add_argument("--bases", type=int, default=30_000_000)
    arguments = parser.parse_args()
    lines = [line for line in FILE.read_text().splitlines() if line.startswith("#")]
    lines += [f"device: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}", "tokens_per_second:"]
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/store.zarr"
        ingest_arrays([("chr1", "", contig(arguments.bases))], Path(store), assembly="random", simulated=True)
        corpus = open_corpus([store], SplitConfig())
        for model, contexts in wanted().items():
            rates = []
            for context in contexts:
                rate, _ = train(corpus, context, model, "thread", arguments.steps, arguments.tokens)
                rates.append(f"{format_size(context)}: {float(f'{rate:.3g}'):.0f}")
            lines.append(f"  {model}: {{{', '.join(rates)}}}")
            print(lines[-1], flush=True)
    arguments.out.write_text("\n".join(lines) + "\n")
