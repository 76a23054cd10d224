"""What the processes of one training do together; for a process on its own, nothing.

Neighbouring ranks, `context` of them, share sequences, the others the batch: rank = data_rank * context + context_rank.
Each adds up its own gradients, and once an optimiser step they are summed over all, so that the step is that of one
process which read everything.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from dnamamba.model import MambaLM
from dnamamba.parallel.launch import PATIENCE, Launch, Strategy, part, sequence_group, trainer_arguments
from dnamamba.parallel.sequence_group import sharing

T = TypeVar("T")


class Processes:
    """This process and those it trains with."""

    def __init__(self, launch: Launch, device: torch.device, *, context: int = 1, strategy: Strategy = "auto") -> None:
        """The processes have met already (`meet`).

        Args:
            launch: this process among the others.
            device: of this process.
            context: processes that share a sequence; divides their number.
            strategy: "fsdp" shards weights, gradients and moments over all processes; "ddp" and "auto" repeat them.
        """
        self.launch, self.device, self.context, self.strategy = launch, device, context, strategy
        self.is_sharded = strategy == "fsdp" and launch.size > 1
        self.relay = sequence_group(launch, context)
        # What is agreed on goes from host to host: nobody waits for what his GPU still has to do.
        self._hosts = dist.new_group(backend="gloo", timeout=PATIENCE) if launch.size > 1 else None

    @property
    def size(self) -> int:
        return self.launch.size

    @property
    def is_first(self) -> bool:
        """Whether this process writes, prints and evaluates."""
        return self.launch.rank == 0

    @property
    def data_rank(self) -> int:
        return self.launch.rank // self.context

    @property
    def data_size(self) -> int:
        """Processes, or groups of them, that read different windows."""
        return self.launch.size // self.context

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        return trainer_arguments(self.launch, self.device, self.strategy)

    # --- agreement

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns on the first process, on all of them.

        Raises:
            InputError: where `make` raises one; the other processes exit without a word, for it is said once.
        """
        if self.size == 1:
            return make()
        answer: list[Any] = [False, None]
        try:
            if self.is_first:
                answer = [True, make()]
        finally:
            dist.broadcast_object_list(answer, src=0, group=self._hosts)
        if not answer[0]:
            sys.exit(1)
        made: T = answer[1]
        return made

    def largest(self, *values: int) -> list[int]:
        """The largest of each value over all processes."""
        if self.size == 1:
            return list(values)
        together = torch.tensor(values)
        dist.all_reduce(together, dist.ReduceOp.MAX, group=self._hosts)
        return [int(value) for value in together.tolist()]

    def gather_objects(self, own: T) -> list[T]:
        """Every process's picklable object, in the order of ranks."""
        gathered: list[Any] = [own] * self.size
        if self.size > 1:
            dist.all_gather_object(gathered, own, group=self._hosts)
        return gathered

    # --- a training step

    def piece(self, start: int, end: int) -> tuple[int, int]:
        """This process's part of the columns [start, end) of a window."""
        if self.relay is None:
            return start, end
        rank, size, length = self.relay.rank, self.relay.size, end - start
        return start + length * rank // size, start + length * (rank + 1) // size

    @property
    def loss_factor(self) -> float:
        """What the loss is multiplied by before the backward: FSDP takes the mean of the gradients, a sum is wanted."""
        return float(self.size) if self.is_sharded else 1.0

    @contextmanager
    def step(self, module: pl.LightningModule, model: MambaLM) -> Iterator[None]:
        """Within, the model runs on this process's piece of each sequence, and gradients stay here.

        DDP would reduce the gradients in the backward of a micro-batch's last slice, which it cannot know.
        """
        wrapped = module.trainer.strategy.model if self.size > 1 else None
        alone = wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()
        with alone, sharing(model, self.relay):
            yield

    def sum(self, *values: Tensor) -> list[Tensor]:
        """Each scalar summed over all processes, in float64."""
        together = torch.stack([value.detach().double() for value in values])
        if self.size > 1:
            dist.all_reduce(together)
        return list(together.unbind())

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes; FSDP has done it by now."""
        if self.size == 1 or self.is_sharded:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(together)
        for grad, total in zip(grads, torch.split(together, [grad.numel() for grad in grads]), strict=True):
            grad.copy_(total.view_as(grad))

    # --- checkpoints and weights that are sharded

    def all_states(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Carried states of the windows of all data ranks, named so that `own_states` finds its own again."""
        everyone = self.gather_objects({name: tensor.cpu() for name, tensor in tensors.items()})
        if self.data_size == 1:
            return tensors
        return {
            f"data-{rank}.{name}": tensor
            for rank in range(self.data_size)
            for name, tensor in everyone[rank * self.context].items()
        }

    def own_states(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """This data rank's part of what `all_states` gave."""
        if self.data_size == 1:
            return tensors
        prefix = f"data-{self.data_rank}."
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    def shard(self, model: MambaLM, mesh: Any) -> None:
        """Spread the weights of a model over the processes of `mesh`, block by block."""
        for layer in model.backbone.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model.backbone, mesh=mesh)

    def whole_model(self, model: MambaLM) -> MambaLM:
        """The model itself, or a copy of a sharded one that can be used on its own. All processes must ask."""
        if not self.is_sharded:
            return model
        weights = {name: whole(tensor) for name, tensor in model.state_dict().items()}
        copy = MambaLM(model.config).to(self.device)
        copy.load_state_dict(weights)
        copy.vocabulary = model.vocabulary
        copy.recompute = model.recompute
        return copy.train(model.training)

    def close(self) -> None:
        """Part from the other processes."""
        if self.size > 1:
            self.relay = self._hosts = None
            part()


ALONE = Processes(Launch(), torch.device("cpu"))


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together (all processes must ask); any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, sharded as `like` is; the tensor itself where `like` is not sharded."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
