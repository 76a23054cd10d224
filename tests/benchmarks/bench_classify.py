"""Bases a second of `dnamamba classify`, file to table, beside the model's bare forward rate in the same run.

    python tests/benchmarks/bench_classify.py [--model 128x12] [--device auto] [--seconds 0.4] [--json F]

Five classes, random weights, random letters, written to a file first: reads of 150 bases (FASTQ), sequences of 10,000
(FASTA), one contig (2bit). Reading the file, both strands, posterior, likelihood and the table (TSV) are in the time.
The limit is the backbone alone over batches of the same shape, tokens already on the device; both strands halve it. As
long a file as takes about `--seconds` at the limit; median of three runs after one that compiles.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from dnamamba.bench.clock import median_seconds, once
from dnamamba.bench.results import ResultLines, short_name
from dnamamba.classify.files import classify_files
from dnamamba.classify.options import ClassifyOptions
from dnamamba.device import autocast_dtype, choose_device
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.store import open_store
from dnamamba.species.classifier import Classifier
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.model import SpeciesClassifier
from dnamamba.stream.batches import BatchPlan

CLASSES = ("human", "chimpanzee", "bonobo", "gorilla", "orangutan")
CASES = {"reads 150": 150, "sequences 10,000": 10_000, "one contig": None}
RUNS = 3


def random_letters(count: int) -> np.ndarray:
    """A C G T, uint8."""
    return np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, count, dtype=np.uint8)]


def write_file(folder: Path, length: int | None, bases: int) -> Path:
    """A file of `bases` in sequences of `length`; None: one contig in a 2bit file."""
    letters = random_letters(bases)
    if length is None:
        ingest_arrays([("chr1", "", letters)], folder / "store.zarr", assembly="random", simulated=True)
        export(open_store(folder / "store.zarr")["random"], folder / "contig.2bit")
        return folder / "contig.2bit"
    path = folder / f"{length}.{'fq' if length < 1000 else 'fa'}"
    with path.open("wb") as file:
        for number, start in enumerate(range(0, bases, length)):
            part = letters[start : start + length].tobytes()
            if length < 1000:
                file.write(b"@read%d\n%s\n+\n%s\n" % (number, part, b"I" * len(part)))
            else:
                file.write(b">sequence%d\n%s\n" % (number, part))
    return path


def bare_rate(classifier: Classifier, length: int | None, plan: BatchPlan, dtype: torch.dtype | None) -> float:
    """Tokens a second through the backbone alone, in a batch of the shape that sequences of `length` come in."""
    device = classifier.model.device
    columns = plan.bases if length is None else length + 1
    rows = 1 if length is None else max(1, min(plan.rows, plan.bases // columns))
    tokens = torch.randint(0, 4, (rows, columns), dtype=torch.uint8, device=device)

    def run() -> None:
        with torch.inference_mode(), torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            classifier.model.lm.backbone(tokens)

    return tokens.numel() / median_seconds(run, device.type)


def timed(run: Callable[[], None], device: str) -> float:
    """Median seconds; the first run is not counted."""
    run()
    return median(once(run, device) for _ in range(RUNS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="128x12", help="width x blocks")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=0.4, help="of each run at the limit, about")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    width, blocks = map(int, arguments.model.split("x"))
    device = choose_device(arguments.device)
    torch.manual_seed(0)
    module = SpeciesClassifier(MambaLM(ModelConfig(d_model=width, n_layers=blocks)), ClassifierConfig(classes=CLASSES))
    classifier = Classifier(module.to(device).eval())
    plan, dtype = BatchPlan.of(module.lm.config, device), autocast_dtype("auto", device)
    precision = short_name(dtype or torch.float32)
    lines = ResultLines("classify", arguments.json, device.type)
    print(f"{lines.about['device']}, torch {torch.__version__}, {precision}, {plan}")
    print(f"{'case':>22} {'strands':>8} {'M bases/s':>10} {'limit':>10} {'share':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name, length in CASES.items():
            limit = bare_rate(classifier, length, plan, dtype)
            bases = max(2 * (length or 0), int(limit * arguments.seconds) // (length or 1) * (length or 1))
            path = write_file(Path(folder), length, bases)
            for strands, share in (("forward", 1), ("both", 2)):
                options = ClassifyOptions(strands=strands)
                out = str(Path(folder) / "calls.tsv")
                seconds = timed(
                    lambda p=path, o=options, t=out: classify_files(classifier, [str(p)], o, out=t), device.type
                )
                rate, best = bases / seconds, limit / share
                print(f"{name:>22} {strands:>8} {rate / 1e6:10.3f} {best / 1e6:10.3f} {rate / best:7.0%}", flush=True)
                lines.write(
                    f"{arguments.model} {name} {strands} {precision}", "bases_per_s", "bases/s", rate, {}, best,
                    "backbone alone, batches of the same shape",
                )  # fmt: skip
