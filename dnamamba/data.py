"""Training data: from a corpus to batches on the device, resumable at any optimiser step by its number alone.

What travels from a worker is one byte a base (`bases`) and, for packed windows, one more (`reset`); the batch that the
model reads is made of it on the device, where widening to int64 costs nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dnamamba.corpus import Corpus
from dnamamba.curriculum import CurriculumConfig
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import ALPHABETS, Alphabet
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.sampling import Int64
from dnamamba.windows import Window, WindowOrder

Tokens = npt.NDArray[np.uint8]

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


class Batch(TypedDict):
    """What the model reads."""

    tokens: torch.Tensor
    """uint8 [B, L]: the start token at each piece's start, then the bases, one place later than in `targets`."""
    targets: torch.Tensor
    """int64 [B, L]: the base to predict, or -100 where it does not count."""
    reset: torch.Tensor | None
    """bool [B, L]: True where a piece starts; None when every row is one piece."""


def make_batch(bases: torch.Tensor, reset: torch.Tensor | None, alphabet: Alphabet) -> Batch:
    """Shift bases into inputs and targets.

    Args:
        bases: uint8 tokens [B, L].
        reset: bool [B, L], True at the first base of each piece, or None.
        alphabet: says the start token and which tokens count.
    """
    tokens = torch.empty_like(bases)
    tokens[:, 1:] = bases[:, :-1]
    tokens[:, 0] = alphabet.start
    if reset is not None:
        tokens.masked_fill_(reset, alphabet.start)
    targets = bases.long()
    if len(alphabet.targets) < alphabet.size:  # the tokens that count are the first ones of an alphabet
        targets.masked_fill_(bases >= len(alphabet.targets), IGNORED)
    return Batch(tokens=tokens, targets=targets, reset=reset)


def read_window(window: Window, assemblies: Sequence[AssemblyLike], alphabet: Alphabet, out: Tokens) -> list[int]:
    """Read one window's tokens into `out`, uint8 [L]. Returns where its pieces start, [0] for a window of one piece.

    Raises:
        InputError: a letter that the alphabet does not have; assembly, contig and position are named.
    """
    forward, reverse = _tables(alphabet.name)
    starts, at = [], 0
    for piece in window.pieces:
        sequence = assemblies[piece.assembly][piece.contig, piece.start : piece.end]
        length = piece.end - piece.start
        # bytes.translate is five times as fast as an index into the table.
        tokens = np.frombuffer(sequence.tobytes().translate(reverse if window.reverse else forward), np.uint8)
        if window.reverse:  # the window is read from its end, so that its last piece comes first
            first = len(out) - at - length
            out[first : first + length] = tokens[::-1]
        else:
            first = at
            out[first : first + length] = tokens
        starts.append(first)
        at += length
    if alphabet.size < 256 and int(out.max()) >= alphabet.size:
        _name_the_letter(window, assemblies, alphabet)
    return starts[::-1] if window.reverse else starts


@cache
def _tables(name: str) -> tuple[bytes, bytes]:
    """Byte to token, on the strand that is stored and on the other."""
    alphabet = ALPHABETS[name]
    complement = np.full(256, 255, np.uint8)
    complement[: alphabet.size] = alphabet.complement
    return alphabet.table.tobytes(), complement[alphabet.table].tobytes()


def _name_the_letter(window: Window, assemblies: Sequence[AssemblyLike], alphabet: Alphabet) -> None:
    for piece in window.pieces:
        try:
            alphabet.encode(assemblies[piece.assembly][piece.contig, piece.start : piece.end])
        except InputError as error:
            where = f"{assemblies[piece.assembly].name}, {piece.contig} from base {piece.start + 1:,}"
            raise InputError(f"{where}: {error}") from None


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
        self.orders = tuple(
            WindowOrder(
                corpus.sources(stage.context, leave_n_out=alphabet.n is not None),
                stage.context,
                seed=seed,
                stage=number,
                reverse_complement=reverse_complement and has_strands,
            )
            for number, stage in enumerate(curriculum.stages)
        )

    def layout(self) -> list[Layout]:
        """One row a stage and source."""
        rows = []
        for stage, steps, order in zip(self.curriculum.stages, self.curriculum.stage_steps, self.orders, strict=True):
            total = sum(group.weight for group in self.corpus.groups)
            for group, index in zip(self.corpus.groups, order.indices, strict=True):
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
        bases, reset = self.read(place.stage, samples)
        return MicroBatch(
            step, place.stage, place.context, micro, self.micros(step), torch.from_numpy(samples), bases, reset
        )

    def read(self, stage: int, samples: Int64) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Read samples of a stage by their global numbers: bases uint8 [B, L], and reset bool [B, L] or None."""
        order = self.orders[stage]
        bases = torch.empty(len(samples), order.context, dtype=torch.uint8)
        rows = bases.numpy()
        starts = [
            self._read_one(order, window, samples[i : i + 1], rows[i])
            for i, window in enumerate(order.windows(samples))
        ]
        if all(len(one) == 1 for one in starts):
            return bases, None
        reset = torch.zeros(len(samples), order.context, dtype=torch.bool)
        for row, one in zip(reset.numpy(), starts, strict=True):
            row[one] = True
        return bases, reset

    def _read_one(
        self,
        order: WindowOrder,
        window: Window,
        sample: Int64,
        out: Tokens,
    ) -> list[int]:
        """Read a window, or the first of its stand-ins that is not more than half N."""
        for attempt in range(1, N_REDRAWS + 1):
            starts = read_window(window, self.corpus.assemblies, self.alphabet, out)
            if self.alphabet.n is None or 2 * int(np.count_nonzero(out == self.alphabet.n)) <= len(out):
                return starts
            window = order.windows(sample, attempt)[0]
        piece = window.pieces[0]
        raise InputError(
            f"{self.corpus.assemblies[piece.assembly].name}: {N_REDRAWS} windows of {order.context:,} bases in a row "
            "are more than half "
            f"N (the last one at {piece.contig}:{piece.start + 1:,}); leave such contigs out of the store or of the "
            "training part"
        )


class TrainingBatches:
    """Batches of a training from one optimiser step on, as the model reads them. Can be iterated again and again."""

    def __init__(
        self,
        data: TrainingData,
        *,
        start_step: int = 0,
        stop_step: int | None = None,
        workers: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """As training_loader; `device` is where the batches are wanted."""
        self.device = torch.device(device)
        self.alphabet = data.alphabet
        self.loader = training_loader(
            data, start_step=start_step, stop_step=stop_step, workers=workers, pin_memory=self.device.type == "cuda"
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        for one in self.loader:
            bases = one.bases.to(self.device, non_blocking=True)
            reset = None if one.reset is None else one.reset.to(self.device, non_blocking=True)
            yield make_batch(bases, reset, self.alphabet)


class StepOrder(Sampler[tuple[int, int]]):
    """Keys of all micro-batches from one optimiser step up to another, in order."""

    def __init__(self, data: TrainingData, start: int, stop: int) -> None:
        self.data, self.start, self.stop = data, start, stop

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for step in range(self.start, self.stop):
            for micro in range(self.data.micros(step)):
                yield step, micro

    def __len__(self) -> int:
        return sum(self.data.micros(step) for step in range(self.start, self.stop))


def training_loader(
    data: TrainingData, *, start_step: int = 0, stop_step: int | None = None, workers: int = 0, pin_memory: bool = False
) -> DataLoader[MicroBatch]:
    """One loader through all stages that are left, in order; the same micro-batches whatever the number of workers.

    Args:
        data: of the whole training.
        start_step: optimiser steps already done.
        stop_step: step to stop before; None goes to the end of the curriculum.
        workers: reading processes; 0 reads in this one.
        pin_memory: for a CUDA device.
    """
    stop = data.curriculum.total_steps if stop_step is None else stop_step
    return DataLoader(
        data,
        sampler=StepOrder(data, start_step, stop),
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=2 if workers else None,
        persistent_workers=False,
    )
