"""Training by one, two and four processes, in the ways that each is to be tested in.

python tests/parallel_training_cases.py FOLDER
-> FOLDER/WAY PROCESSES.safetensors, for some ways also FOLDER/WAY PROCESSES, resumed.safetensors

The processes are forks of this one, before it has started a thread, in the environment that torchrun would give them:
a process that imports torch and Lightning anew waits longer for that than it trains.
"""

import multiprocessing
import os
import socket
import sys
from pathlib import Path

import torch
from pretrain_runs import SMALL, write_config
from safetensors.torch import save_file

from dnamamba.checkpoints import Checkpoint, checkpoint_of_step
from dnamamba.corpus import open_corpus
from dnamamba.curriculum_run import train
from dnamamba.parallel.launch import find_launch, meet
from dnamamba.parallel.processes import Processes
from dnamamba.pipelines.simulate.apes import simulate_store
from dnamamba.pretrain_config import PretrainConfig, read_config

STORE = "genomes.zarr"
CHANGES = {
    "curriculum": {"total_tokens": 12 * 1024},
    "evaluation": {"targets": 512, "targets_while_training": 256, "points": 2},
    "run": {"micro_batch_tokens": 256, "keep_checkpoints": 12, "checkpoint_minutes": 1e-9},
}
MIDDLE = 9  # of 12 steps, in the second of two stages
# One window of 256 or four of 64 a micro-batch; where the tokens at a time are fewer, windows are taken in slices.
WAYS: dict[str, list[str]] = {
    "data": [],
    "context": ["run.context_parallel=2"],
    "context in slices, states carried": [
        "run.context_parallel=2", "run.micro_batch_tokens=64", "run.carry_state=true",
    ],
    "data, states carried": ["run.carry_state=true"],
    "weights sharded": ["run.strategy=fsdp"],
}  # fmt: skip


WAYS_BY_PROCESSES = {
    1: ["data", "context in slices, states carried", "data, states carried"],
    2: list(WAYS),
    4: ["context"],
}
RESUMED = ("data, states carried", "weights sharded")


def make_store(folder: Path) -> Path:
    """The small configuration and the genomes that it simulates, in `folder`; returns the configuration's file."""
    path = write_config(folder, **CHANGES)
    simulate = read_config(str(path), [f"simulate.bases={SMALL['simulate']['bases'] // 2}"], []).simulate
    assert simulate is not None
    simulate_store(folder / STORE, simulate)
    return path


def run(config: PretrainConfig, folder: Path, name: str, processes: Processes, checkpoint: Checkpoint | None) -> None:
    corpus = open_corpus([str(folder / STORE)], config.split_in_force)
    (folder / name).mkdir(exist_ok=True)
    module = train(config, corpus, folder / name, processes, checkpoint, lambda text: None)
    if processes.is_first:
        save_file(module.model.state_dict(), folder / f"{name}.safetensors")


def train_all(folder: Path, ways: list[str]) -> None:
    launch = find_launch()
    torch.set_num_threads(1)
    device = meet(launch, torch.device("cpu"))
    for way in ways:
        overrides = [o for o in WAYS[way] if launch.size > 1 or "context_parallel" not in o]
        config = read_config(str(folder / "small.yaml"), overrides, [])
        processes = Processes(launch, device, context=config.run.context_parallel, strategy=config.run.strategy)
        name = f"{way} {launch.size}"
        run(config, folder, name, processes, None)
        if launch.size == 2 and way in RESUMED:
            checkpoint = checkpoint_of_step(folder / name / "checkpoints", MIDDLE)
            run(config, folder, f"{name}, resumed", processes, checkpoint)


def as_one_of(rank: int, size: int, port: int, folder: Path, ways: list[str]) -> None:
    """This process is the one that torchrun would call `rank`."""
    if size > 1:
        names = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        os.environ |= {name: str(value) for name, value in names.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    train_all(folder, ways)


def main(folder: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for size, ways in WAYS_BY_PROCESSES.items():
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        started = [fork.Process(target=as_one_of, args=(rank, size, port, folder, ways)) for rank in range(size)]
        for process in started:
            process.start()
        while any(process.exitcode is None for process in started):
            if any(process.exitcode for process in started):
                for process in started:  # the others would wait for one that has failed
                    process.terminate()
            started[0].join(0.1)
        if any(process.exitcode for process in started):
            sys.exit(f"of {size} processes one failed: exit codes {[process.exitcode for process in started]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
