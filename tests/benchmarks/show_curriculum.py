"""A curriculum from 2^10 to 2^20 on real sequence: Ctrl-C, resumed, early-stopped, tested at every context.

    python tests/benchmarks/show_curriculum.py --data DIR --out DIR [--stop-at STEP] [--tiny]

`DIR` of --data holds the files of DNAMAMBA_TEST_DATA. Trains on all the pieces of show_sweeps.py but human chr2, whose
first half is for validation and second half for the test. A second start goes on where the first one ended.
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from show_sweeps import primates, run, split_keys

from dnamamba.report import read_log

HALVES = ((0, 1_166_000, "valid"), (1_167_275, 2_333_275, "test"))
"""Of the piece of chr2, 0-based; each just holds a window of 2^20 and the targets behind it."""


def parts(name: str, contig: str, length: int) -> list[tuple[int, int, str]]:
    """chr2 in halves, the others for training."""
    return list(HALVES) if name == "hg38_chr2" else [(0, length, "train")]


def done(run: Path) -> int:
    """The last step that a run has logged."""
    logged = [int(row["step"]) for row in read_log(run / "logs")] if (run / "logs").exists() else []
    return max(logged, default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stop-at", type=int, default=20, help="step after which the first part gets Ctrl-C")
    parser.add_argument("--tiny", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    store, model = primates(asked.data, asked.out), asked.out / "run"
    contexts = "[1k,4k]" if asked.tiny else "[1k,4k,16k,64k,256k,1M]"
    keys = [
        *split_keys(store, asked.out, parts), f"evaluation.contexts={contexts}",
        "evaluation.points=11", "evaluation.early_stop=4", "optimiser.lr=6e-3",
    ]  # fmt: skip
    if asked.tiny:
        keys += ["model.d_model=32", "model.n_layers=2", "curriculum.stages=[{context: 1k, share: 1}]"]
        keys += ["curriculum.tokens_per_step=16k", "curriculum.total_tokens=2M", "evaluation.targets=4k"]
        keys += ["evaluation.targets_while_training=2k"]
    else:
        keys += ["curriculum.stages=null", "curriculum.doubling={first: 1k, last: 1M, share: 0.0909}"]
        keys += ["curriculum.tokens_per_step=1M", "curriculum.total_tokens=308M", "evaluation.targets=64k"]
        keys += ["evaluation.targets_while_training=8k"]
    first = ["pretrain", "1.4M-cpu", "--store", str(store), "--out", str(model), *keys]
    if not model.exists():
        process = subprocess.Popen([sys.executable, "-m", "dnamamba", *first])
        print("$ dnamamba", *first, flush=True)
        while process.poll() is None and done(model) < asked.stop_at:
            time.sleep(0.5)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            print(f"[Ctrl-C after step {done(model)}]", flush=True)
        process.wait()
    run("pretrain", "--resume", "--out", str(model))
    run("sweep", "context", str(model), "--store", str(store), "--targets", "4k" if asked.tiny else "64k",
        "--contexts", "64,1k,4k,full" if asked.tiny else "1k,2k,4k,8k,16k,32k,64k,128k,256k,512k,1M",
        "--out", str(asked.out / "context"))  # fmt: skip


if __name__ == "__main__":
    main()
