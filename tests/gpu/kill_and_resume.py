"""Kill a training run on this machine and resume it: a transcript that ends with the two digests of the weights.

    python tests/gpu/kill_and_resume.py [--kills 2] [--store apes.zarr] [--tokens 16M]

One run is left alone; another of the same configuration is killed with SIGKILL at random moments, the second time in
the middle of a checkpoint, and resumed each time. Without --store both train on a small simulated genome. The run that
is left alone reads in a thread, the other with two worker processes. Exit code 0 when the digests are the same.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
simulate: {bases: 400_000, contigs: 4}
model: {d_model: 128, n_layers: 12}
curriculum: {doubling: {first: 4k, last: 16k}, tokens_per_step: 256k, total_tokens: TOKENS}
evaluation: {targets: 16k, targets_while_training: 4k, points: 8, contexts: [1k, 4k]}
run: {checkpoint_minutes: 0.003, micro_batch_tokens: 64k}
"""
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}", flush=True)


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dnamamba", "pretrain", *map(str, arguments)]
    log = (Path(arguments[-1]).parent / f"{Path(arguments[-1]).name}.log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log)


def newest(run: Path) -> int:
    """Optimiser steps of the newest checkpoint."""
    return max((int(path.name[5:]) for path in (run / "checkpoints").glob("step-*")), default=0)


def wait(process: subprocess.Popen[bytes], run: Path, step: int, *, in_a_write: bool) -> None:
    """Wait until a checkpoint of `step` or later is there, and then, if wanted, until the next one is being written."""
    while newest(run) < step or (in_a_write and not list((run / "checkpoints").glob(".writing-step-*/*.safetensors"))):
        if process.poll() is not None:
            sys.exit(f"{run} ended before it could be killed:\n{run.with_suffix('.log').read_text()[-2000:]}")
        time.sleep(0 if in_a_write else 0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--store")
    parser.add_argument("--tokens", default="16M")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.yaml"
        config.write_text(CONFIG.replace("TOKENS", arguments.tokens))
        stores = ["--store", arguments.store] if arguments.store else []
        whole, broken = folder / "whole", folder / "broken"
        say("a run that is left alone, reading in a thread")
        process = start(config, "run.workers=0", *stores, "--out", whole)
        if process.wait():
            sys.exit((folder / "whole.log").read_text())
        total = newest(whole)
        say(f"done, {total} steps; the same with two reading processes, to be killed {arguments.kills} times")
        marks = sorted(chance.sample(range(1, max(3, total * 3 // 4)), arguments.kills))
        process = start(config, "run.workers=2", *stores, "--out", broken)
        for number, mark in enumerate(marks):
            in_a_write = number % 2 == 1
            wait(process, broken, mark, in_a_write=in_a_write)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            half = [path.name for path in (broken / "checkpoints").glob(".*")]
            say(f"SIGKILL; newest checkpoint: step {newest(broken)}; half written: {', '.join(half) or 'none'}")
            process = start("--resume", "--out", broken)
        if process.wait():
            sys.exit((folder / "broken.log").read_text())
        for line in (folder / "broken.log").read_text().splitlines():
            if "going on after" in line or "damaged" in line or "no checkpoint" in line:
                say(f"--resume said: {line}")
        digests = [hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest() for run in (whole, broken)]
        say(f"left alone         {digests[0]}")
        say(f"killed and resumed {digests[1]}")
        say("the same bits" if digests[0] == digests[1] else "DIFFERENT BITS")
    sys.exit(digests[0] != digests[1])


if __name__ == "__main__":
    main()
