"""One run of a sweep in a process of its own: `python -m dnamamba.sweep.worker OUT NAME`. Trains, then scores.

What is done is not done again: a finished training is only scored, one that was stopped goes on from its last
checkpoint.
"""

import fcntl
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dnamamba.base_progress import BaseProgress
from dnamamba.config import read_json
from dnamamba.corpus import Corpus, open_corpus
from dnamamba.device import choose_device
from dnamamba.errors import InputError
from dnamamba.files import write_whole
from dnamamba.interrupts import signal_of, sigterm_heard
from dnamamba.model_directory import load
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.pipelines.splits import Splits
from dnamamba.pretrain import CONFIG_FILE, SPLITS_FILE, pretrain
from dnamamba.say import say
from dnamamba.sweep.context_curve import measure
from dnamamba.sweep.plan import RUNS, Plan, as_figures, read_plan, training_flops
from dnamamba.sweep.targets import Targets, choose_targets

RESULT = "result.json"
LOSSES = "losses"


def run_one(out: Path, name: str) -> None:
    """Train and score one run of the sweep in `out`, or what is left of it.

    Raises:
        InputError: as `pretrain` and `choose_targets`.
    """
    plan, folder = read_plan(out), out / RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if (folder / RESULT).exists():
            return
        if not (folder / "metrics.json").exists():
            pretrain(plan.runs[name], folder, resume=(folder / CONFIG_FILE).exists(), say=say)
        score(plan, name, folder)


def served_targets(plan: Plan, name: str, folder: Path) -> tuple[Corpus, Targets]:
    """The genomes of a trained run and the targets in them that all runs of the sweep share."""
    config, splits = plan.runs[name], folder / SPLITS_FILE
    corpus = open_corpus(config.stores, Splits.from_json(read_json(splits), str(splits)))
    alphabet = ALPHABETS[config.model.alphabet]
    return corpus, choose_targets(corpus, plan.contexts, alphabet, targets=plan.targets, seed=plan.seed)


def score(plan: Plan, name: str, folder: Path) -> None:
    """Score a trained run at every context of the sweep, on the targets that all its runs share."""
    config = plan.runs[name]
    device = choose_device(config.run.device)
    model = load(folder, device=device)
    corpus, targets = served_targets(plan, name, folder)
    with BaseProgress("score") as progress:
        measure({name: model}, corpus, targets, folder / LOSSES, progress, progress.note)
    metrics = read_json(folder / "metrics.json")
    stages = metrics["stages"]
    seconds = sum(stage["seconds"] for stage in stages)
    tokens = sum(stage["tokens"] for stage in stages)
    result: dict[str, Any] = {
        **as_figures(config),
        # Of the weights that are kept: fewer than planned where the run stopped early.
        "tokens": metrics["tokens"],
        "flops": training_flops(config.model) * metrics["tokens"],
        "contexts": list(targets.contexts),
        "left_out": list(targets.left_out),
        "blocks": len(targets.blocks),
        "trained_on": metrics["trained_on"],
        "tokens_per_second": round(tokens / seconds) if seconds else None,
        "training_hours": round(seconds / 3600, 6),
        "peak_memory": max(stage["peak_memory"] for stage in stages),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    }
    write_whole(folder / RESULT, json.dumps(result, indent=1) + "\n")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait for a process that a killed sweep left at work in the same folder."""
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is at work on this run; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def as_process(run: Callable[[Path, str], None]) -> None:
    """Carry out the run that the command line names; an error or a stop is one line, for log and sweep."""
    try:
        with sigterm_heard():
            run(Path(sys.argv[1]), sys.argv[2])
    except InputError as error:
        sys.exit(str(error))
    except KeyboardInterrupt as stop:
        sys.exit(f"stopped by {signal_of(stop).name}")


if __name__ == "__main__":
    as_process(run_one)
