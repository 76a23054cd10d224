"""Which processes train together: those that torchrun or SLURM started, met before anything is read or written."""

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from dnamamba.errors import InputError
from dnamamba.parallel.sequence_group import SequenceGroup

Strategy = Literal["auto", "ddp", "fsdp"]

PATIENCE = timedelta(minutes=60)
"""How long a process waits for the others: rank 0 evaluates alone meanwhile."""


@dataclass(frozen=True)
class Launch:
    """This process among those that were started together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this node; the number of its GPU."""
    nodes: int = 1
    environment: ClusterEnvironment | None = None
    """Lightning's view of it; None for a process that was started alone."""


def find_launch() -> Launch:
    """Read from the environment what torchrun or `srun` has set; one process where neither started it."""
    if TorchElasticEnvironment.detect():
        environment: ClusterEnvironment = TorchElasticEnvironment()
        local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    elif SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1:
        environment = SLURMEnvironment(auto_requeue=False)  # a signal stops the run at a checkpoint, as everywhere
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
        local_size = environment.world_size() // int(os.environ["SLURM_NNODES"])
    else:
        return Launch()
    size = environment.world_size()
    return Launch(environment.global_rank(), size, environment.local_rank(), size // local_size, environment)


@contextmanager
def errors_by_name() -> Iterator[None]:
    """Let an InputError say which process met it, on all but the first."""
    try:
        yield
    except InputError as error:
        rank = find_launch().rank
        if rank:
            raise type(error)(f"process {rank}: {error}") from None
        raise


def check_launch(launch: Launch, devices: int | None, nodes: int | None, context: int) -> None:
    """Compare what was started with what the configuration wants.

    Raises:
        InputError: another number of processes or nodes, or processes that `context` does not divide.
    """
    per_node = launch.size // launch.nodes
    for key, wanted, got in (("devices", devices, per_node), ("nodes", nodes, launch.nodes)):
        if wanted is not None and wanted != got:
            start = f"torchrun --nproc-per-node {devices or per_node} --nnodes {nodes or launch.nodes}"
            raise InputError(f"run.{key}: {wanted} wanted, {got} started; start with: {start} -m dnamamba pretrain ...")
    if launch.size % context:
        raise InputError(
            f"run.context_parallel: {context} processes a sequence do not divide the {launch.size} started"
        )


def meet(launch: Launch, device: torch.device) -> torch.device:
    """Join the other processes, if there are any. Returns this process's own device.

    Raises:
        InputError: more processes than GPUs on this node.
    """
    if launch.size == 1:
        return device
    if device.type == "cuda":
        if launch.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"process {launch.local_rank + 1} of this node has no GPU: torch sees {torch.cuda.device_count()}; "
                "start as many processes a node as it has GPUs"
            )
        device = torch.device("cuda", launch.local_rank)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend,
            rank=launch.rank,
            world_size=launch.size,
            timeout=PATIENCE,
            device_id=device if device.type == "cuda" else None,
        )
        if backend == "gloo":  # NCCL may wait here for a process that has failed
            atexit.register(part)
    return device


def part() -> None:
    """Leave the other processes, and end the threads that talk to them.

    A thread of gloo that still holds a tensor when Python is torn down aborts the process, and torchrun takes that for
    a failure. The threads end with the last reference to their group, so what lies in cycles is collected too.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()


def sequence_group(launch: Launch, context: int) -> SequenceGroup | None:
    """The group of `context` neighbouring ranks to which this one belongs; None where each holds whole sequences."""
    if context == 1:
        return None
    mine = None
    for first in range(0, launch.size, context):  # every rank makes every group
        group = dist.new_group(list(range(first, first + context)), timeout=PATIENCE)
        if first <= launch.rank < first + context:
            mine = SequenceGroup(group)
    return mine


def trainer_arguments(launch: Launch, device: torch.device, strategy: Strategy) -> dict[str, Any]:
    """What Lightning's Trainer has to know of the processes."""
    arguments: dict[str, Any] = {"accelerator": "gpu" if device.type == "cuda" else "cpu", "devices": 1}
    if launch.size == 1:
        return arguments
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

    return arguments | {
        "devices": launch.size // launch.nodes,
        "num_nodes": launch.nodes,
        "plugins": [launch.environment],
        "strategy": ModelParallelStrategy(data_parallel_size=launch.size, tensor_parallel_size=1)
        if strategy == "fsdp"
        else DDPStrategy(),
        "use_distributed_sampler": False,  # the data know their rank
    }
