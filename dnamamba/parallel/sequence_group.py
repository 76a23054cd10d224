"""Context parallelism: processes that each hold one piece of the same sequence and hand the state on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from dnamamba.kernels.relay import Passage
from dnamamba.kernels.scan_summary import ScanSummary
from dnamamba.model import MambaLM
from dnamamba.model.mixer import MambaMixer


class SequenceGroup:
    """The relay between the processes of a group: rank r of them holds the r-th piece of every sequence. What each
    method passes, with shapes: `dnamamba.kernels.relay.Relay`.

    One all-gather a call, of what one piece does to the state: 34 KB a row at 512 channels. Each rank then carries the
    state over the pieces before its own by itself, so nobody waits for a chain of neighbours.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def gather(self, own: Tensor) -> Tensor:
        """Every rank's tensor, [ranks, ...]; of one shape and dtype on all of them."""
        flat = own.detach().contiguous().view(-1).view(torch.uint8)  # as bytes: not every backend knows every dtype
        everything = torch.empty(self.size, flat.numel(), dtype=torch.uint8, device=own.device)
        dist.all_gather(list(everything.unbind()), flat, group=self.group)
        return everything.view(own.dtype).view(self.size, *own.shape)

    def pass_tail(self, own: Tensor, given: Tensor | None) -> Passage:
        tails = self.gather(own)
        return Passage(given if self.is_first else tails[self.rank - 1], tails[-1].clone())

    def return_tail(self, dbefore: Tensor, dlast: Tensor | None) -> Tensor:
        dlast = torch.zeros_like(dbefore) if dlast is None else dlast
        gathered = self.gather(torch.stack([dbefore, dlast]))
        return gathered[self.rank + 1, 0] if self.rank + 1 < self.size else _sum(gathered[:, 1])

    def pass_state(self, summary: ScanSummary, A: Tensor, given: Tensor | None) -> Passage:
        added, time, cut = summary[:3]
        if self.is_first:  # what came before the sequence is folded into the first piece
            added = summary.carry(A, given)
        columns = [added, time[:, :, None], cut[:, None, None].expand(-1, time.shape[1], 1)]
        message = torch.cat([c.to(added.dtype) for c in columns], -1)  # [B, D, N + 2]
        pieces = [
            ScanSummary(one[..., :-2].contiguous(), one[..., -2], one[:, 0, -1] != 0)
            for one in self.gather(message).unbind()
        ]
        states: list[Tensor | None] = [None]
        for piece in pieces:
            states.append(piece.carry(A, states[-1]))
        before, last = given if self.is_first else states[self.rank], states[-1]
        assert last is not None
        return Passage(before, last.clone(), [(piece.time, piece.cut) for piece in pieces])

    def return_state(
        self, summary: ScanSummary, A: Tensor, dlast: Tensor | None, pieces: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        dlast = torch.zeros_like(summary.added) if dlast is None else dlast.to(summary.added.dtype)
        gathered = self.gather(torch.stack([summary.added, dlast]))
        carried = _sum(gathered[:, 1])
        for rank in reversed(range(self.rank + 1, self.size)):
            carried = ScanSummary(gathered[rank, 0], *pieces[rank]).carry(A, carried)
        return carried


def _sum(parts: Tensor) -> Tensor:
    """The sum over the first axis, in order: the same bits on every rank and in every run."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


@contextmanager
def sharing(model: MambaLM, group: SequenceGroup | None) -> Iterator[None]:
    """Within, the model runs on its rank's piece of every sequence, forward and backward; None changes nothing.

    The state a model takes is that before the whole sequence (the first rank's counts), and the one it returns that
    after the whole sequence, on every rank. Gradients of weights and loss are of the piece alone: add them up.

    Raises:
        ValueError: a group, and a model whose mixer hands nothing on between processes.
    """
    if group is not None and model.config.mixer != "mamba":
        raise ValueError(f"mixer {model.config.mixer} cannot share a sequence between processes; mixer mamba can")
    mixers = [module for module in model.modules() if isinstance(module, MambaMixer)]
    before = [mixer.relay for mixer in mixers]
    for mixer in mixers:
        mixer.relay = group
    try:
        yield
    finally:
        for mixer, relay in zip(mixers, before, strict=True):
            mixer.relay = relay


def piece_of(batch: Mapping[str, Tensor | None], rank: int, size: int) -> dict[str, Tensor | None]:
    """Rank's contiguous part of every row of a batch; pieces differ by one token at most.

    A batch is cut after it was made of whole windows: so the start token is the first rank's alone, and the token
    before every other piece is the last one of its neighbour's.
    """
    length = next(t.shape[1] for t in batch.values() if t is not None)
    part = slice(length * rank // size, length * (rank + 1) // size)
    return {name: None if t is None else t[:, part] for name, t in batch.items()}
