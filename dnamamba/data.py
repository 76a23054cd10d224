"""Training data: from a corpus to micro-batches, resumable at any optimiser step by its number alone.

What travels from a worker is one byte a base (`bases`) and, for packed windows, one more (`reset`); the batch that the
model reads is made of it on the device, where widening to int64 costs nothing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from dnamamba.corpus import Corpus
from dnamamba.curriculum import CurriculumConfig
from dnamamba.errors import InputError
from dnamamba.lanes import LaneIndex, LaneOrder, read_lanes
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.reading import Tokens, read_windows
from dnamamba.sampling import Int64
from dnamamba.windows import WindowIndex, WindowOrder

IGNORED = -100
"""Target that the loss passes over."""
N_REDRAWS = 64
"""Windows tried in place of one that is more than half N before the source is called unusable."""


class MicroBatch(NamedTuple):
    """What a worker delivers: part of an optimiser step, as much as the device takes at a time."""

    step: int
    """Optimiser step of the whole training, from 0."""
    stage: int
    context: int
    micro: int
    """Number of this micro-batch within the step on this rank; the last one is `micros` - 1."""
    micros: int
    samples: torch.Tensor
    """Global sample numbers within the stage, int64 [B]."""
    bases: torch.Tensor
    """Tokens of the DNA itself, uint8 [B, L]."""
    reset: torch.Tensor | None
    """True at the first base of each piece, bool [B, L]; None when every window is one piece."""
    before: torch.Tensor | None = None
    """Token before each row, uint8 [B], where rows go on where those of the step before stopped; else None."""


class Batch(TypedDict):
    """What the model reads."""

    tokens: torch.Tensor
    """uint8 [B, L]: the start token at each piece's start, then the bases, one place later than in `targets`."""
    targets: torch.Tensor
    """int64 [B, L]: the base to predict, or -100 where it does not count."""
    reset: torch.Tensor | None
    """bool [B, L]: True where a piece starts; None when every row is one piece."""


def make_batch(
    bases: torch.Tensor, reset: torch.Tensor | None, alphabet: Alphabet, before: torch.Tensor | None = None
) -> Batch:
    """Shift bases into inputs and targets.

    Args:
        bases: uint8 tokens [B, L].
        reset: bool [B, L], True at the first base of each piece, or None.
        alphabet: says the start token and which tokens count.
        before: uint8 token before each row, [B]; None where the rows start anew.
    """
    tokens = torch.empty_like(bases)
    tokens[:, 1:] = bases[:, :-1]
    tokens[:, 0] = alphabet.start if before is None else before
    if reset is not None:
        tokens.masked_fill_(reset, alphabet.start)
    targets = bases.long()
    if len(alphabet.targets) < alphabet.size:  # the tokens that count are the first ones of an alphabet
        targets.masked_fill_(bases >= len(alphabet.targets), IGNORED)
    return Batch(tokens=tokens, targets=targets, reset=reset)


def cut_batch(batch: MicroBatch, alphabet: Alphabet, start: int, end: int) -> Batch:
    """Columns [start, end) of the batch that the model reads, the rest of it never made."""
    reset = None if batch.reset is None else batch.reset[:, start:end].contiguous()
    before = batch.bases[:, start - 1] if start else batch.before
    return make_batch(batch.bases[:, start:end], reset, alphabet, before)


class Layout(NamedTuple):
    """What a stage of the curriculum reads of one source; for the user to see before the training starts."""

    context: int
    source: str
    bases: int
    """Bases of the source's training part, long gaps left out: one epoch."""
    epochs: float
    """How often the stage reads each of them."""
    packed: float
    """Share of them read in packed windows, that is, with less than the whole context; 1 where every contig is
    shorter."""


class TrainingData(Dataset[MicroBatch]):
    """Every micro-batch of a training, addressed by (optimiser step, micro-batch). Picklable, without state."""

    def __init__(
        self,
        corpus: Corpus,
        curriculum: CurriculumConfig,
        alphabet: Alphabet,
        *,
        micro_batch: Mapping[int, int] | None = None,
        seed: int,
        reverse_complement: bool = True,
        carry_state: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Lay out the windows of every stage.

        Args:
            corpus: genomes, weights and split.
            curriculum: contexts, steps and tokens a step.
            alphabet: of the model.
            micro_batch: context -> windows in a micro-batch, at most; None delivers every optimiser step in one piece.
            seed: of the run; the order of the windows and the strand of each follow from it.
            reverse_complement: read half of the windows from the other strand. Bytes have no strands: it does nothing
                there.
            carry_state: every row goes on where that of the step before stopped, as lanes.py says.
            rank: of this data-parallel process. It takes samples rank, rank + world_size ... of every optimiser step,
                so that all ranks together read what one alone would read.
            world_size: number of such processes.

        Raises:
            InputError: a source too short for a context, or a step that `world_size` does not divide.
        """
        self.corpus, self.curriculum, self.alphabet = corpus, curriculum, alphabet
        self.rank, self.world_size = rank, world_size
        self.micro_batch: dict[int, int] = {}
        for context in (stage.context for stage in curriculum.stages):
            per_step = curriculum.tokens_per_step // context
            if per_step % world_size:
                raise InputError(
                    f"curriculum.tokens_per_step: {curriculum.tokens_per_step:,} is {per_step} windows of {context:,} "
                    "bases, which "
                    f"{world_size} processes cannot share evenly; want a multiple of {world_size * context:,}"
                )
            self.micro_batch[context] = size = micro_batch[context] if micro_batch else self._per_rank(context)
            if size < 1:
                raise InputError(f"micro-batch of context {context:,}: want 1 window or more, got {size}")
        has_strands = bool((alphabet.complement != np.arange(alphabet.size)).any())
        strands = reverse_complement and has_strands
        orders: list[WindowOrder | LaneOrder] = []
        for number, context in enumerate(stage.context for stage in curriculum.stages):
            sources = corpus.sources(context, leave_n_out=alphabet.n is not None)
            if carry_state:
                lanes = curriculum.tokens_per_step // context
                orders.append(
                    LaneOrder(sources, context, lanes=lanes, seed=seed, stage=number, reverse_complement=strands)
                )
            else:
                orders.append(WindowOrder(sources, context, seed=seed, stage=number, reverse_complement=strands))
        self.orders = tuple(orders)

    def layout(self) -> list[Layout]:
        """One row a stage and source."""
        rows = []
        for stage, steps, order in zip(self.curriculum.stages, self.curriculum.stage_steps, self.orders, strict=True):
            total = sum(group.weight for group in self.corpus.groups)
            indices: Sequence[WindowIndex | LaneIndex] = order.indices
            for group, index in zip(self.corpus.groups, indices, strict=True):
                tokens = steps * self.curriculum.tokens_per_step * group.weight / total
                rows.append(Layout(stage.context, group.name, index.bases, tokens / index.bases, index.packed_share))
        return rows

    def micros(self, step: int) -> int:
        """Micro-batches of an optimiser step on this rank; the last one may be smaller."""
        context = self.curriculum.at(step).context
        return -(-self._per_rank(context) // self.micro_batch[context])

    def _per_rank(self, context: int) -> int:
        return self.curriculum.tokens_per_step // context // self.world_size

    def __getitem__(self, key: tuple[int, int]) -> MicroBatch:
        """Read micro-batch `key[1]` of optimiser step `key[0]`."""
        step, micro = key
        place = self.curriculum.at(step)
        size, per_rank = self.micro_batch[place.context], self._per_rank(place.context)
        mine = np.arange(micro * size, min((micro + 1) * size, per_rank), dtype=np.int64)
        samples = (place.step * per_rank + mine) * self.world_size + self.rank
        bases, reset, before = self.read(place.stage, samples)
        return MicroBatch(
            step, place.stage, place.context, micro, self.micros(step), torch.from_numpy(samples), bases, reset, before
        )

    def read(self, stage: int, samples: Int64) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Read samples of a stage by their global numbers: `bases`, `reset` and `before` of their micro-batch."""
        order = self.orders[stage]
        bases = torch.empty(len(samples), order.context, dtype=torch.uint8)
        if isinstance(order, LaneOrder):
            before, marks = read_lanes(order.windows(samples), self.corpus.assemblies, self.alphabet, bases.numpy())
            return bases, None if marks is None else torch.from_numpy(marks), torch.from_numpy(before)
        starts = read_windows(order.windows(samples), self.corpus.assemblies, self.alphabet, bases.numpy())
        if self.alphabet.n is not None:
            self._replace_unknown(order, samples, bases.numpy(), starts)
        if all(len(one) == 1 for one in starts):
            return bases, None, None
        reset = torch.zeros(len(samples), order.context, dtype=torch.bool)
        for row, one in zip(reset.numpy(), starts, strict=True):
            row[list(one)] = True
        return bases, reset, None

    def _replace_unknown(self, order: WindowOrder, samples: Int64, rows: Tokens, starts: list[tuple[int, ...]]) -> None:
        """Put in place of each window that is more than half N the first of its stand-ins that is not."""
        bad = self._unknown(rows)
        for attempt in range(1, N_REDRAWS + 1):
            if not bad.size:
                return
            windows, read = order.windows(samples[bad], attempt), np.empty((len(bad), order.context), np.uint8)
            for row, one in zip(bad, read_windows(windows, self.corpus.assemblies, self.alphabet, read), strict=True):
                starts[row] = one
            rows[bad] = read
            last, bad = windows[0].pieces[0], bad[self._unknown(read)]
        if bad.size:
            raise InputError(
                f"{self.corpus.assemblies[last.assembly].name}: {N_REDRAWS} windows of {order.context:,} bases in a "
                f"row are more than half N (one of them at {last.contig}:{last.start + 1:,}); leave such contigs out "
                "of the store or of the training part"
            )

    def _unknown(self, rows: Tokens) -> Int64:
        """Which rows are more than half N."""
        unknown = rows == self.alphabet.n
        if 2 * int(np.count_nonzero(unknown)) <= rows.shape[1]:  # as nearly always: no row can be
            return np.empty(0, np.int64)
        return np.flatnonzero(2 * np.count_nonzero(unknown, axis=1) > rows.shape[1])
