"""Pieces of many lengths in batches: like with like, padded on the right, where a causal model cannot see it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnamamba.device import send_to_device
from dnamamba.errors import InputError
from dnamamba.model import ModelConfig
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.stream.pieces import LongPiece, Piece, Tokens

R = TypeVar("R", covariant=True)

_PADDED = 1.25  # a batch holds at most so many times the tokens of its pieces ..
_FREE = 2**12  # .. and these tokens more: so little padding costs less than another launch
_POOL = 8  # batches' worth of bases that are sorted by length at a time
_POOL_PIECES = 2**15
_STATE_BYTES = 2**31  # of the states of a batch
_CHANNEL_TOKENS = {"cuda": 2**27, "cpu": 2**22}  # width x tokens of a batch where the user names no number


@dataclass(frozen=True)
class BatchPlan:
    """How much goes through the model at once."""

    bases: int
    """Tokens of a batch, padding included; also the chunk in which long sequences are read."""
    rows: int
    """Sequences of a batch: of each the state is kept, which for short reads is more than their tokens."""

    @classmethod
    def of(cls, config: ModelConfig, device: torch.device, bases: int | None = None) -> "BatchPlan":
        """`bases`, or what is good on this device: activations of some GB on a GPU, some 100 MB on a CPU."""
        if bases is None:
            bases = max(2**12, _CHANNEL_TOKENS.get(device.type, 2**22) // config.d_model)
        state = 4 * config.n_layers * config.d_inner * (config.d_state + config.d_conv)
        return cls(bases, max(1, min(2**14, _STATE_BYTES // state)))


def make_batches(lengths: Sequence[int], plan: BatchPlan, strands: int = 1) -> list[list[int]]:
    """Which pieces go together: indices, every one once, the longest first.

    Args:
        lengths: bases of each piece.
        plan: limits of a batch; a piece longer than they allow is a batch of its own.
        strands: rows that each piece takes.
    """
    batches: list[list[int]] = []
    longest = tokens = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index] + 1
        if batches:
            rows = len(batches[-1]) + 1
            padded = rows * longest
            fits = strands * padded <= plan.bases and strands * rows <= plan.rows
            if fits and padded <= _PADDED * (tokens + length) + _FREE:
                batches[-1].append(index)
                tokens += length
                continue
        batches.append([index])
        longest = tokens = length
    return batches


def pad(pieces: Sequence[Piece], start: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """One row a piece: start token, bases, padding.

    Returns:
        Tokens uint8 [B, longest + 1], and the number of bases of each row, int64 [B].
    """
    lengths = np.array([len(piece.tokens) for piece in pieces])
    rows: NDArray[np.uint8] = np.full((len(pieces), lengths.max() + 1), start, np.uint8)
    for row, piece in zip(rows, pieces, strict=True):
        row[1 : len(piece.tokens) + 1] = piece.tokens
    return send_to_device(torch.from_numpy(rows), device), send_to_device(torch.from_numpy(lengths), device)


def other_strand(tokens: Tensor, lengths: Tensor, alphabet: Alphabet) -> Tensor:
    """Rows of the reverse complement: start token, the bases backwards, padding.

    Args:
        tokens: as `pad` gives them, [B, L + 1].
        lengths: bases of each row, [B].
    """
    complement = send_to_device(torch.from_numpy(alphabet.complement.copy()), tokens.device)
    position = torch.arange(1, tokens.shape[1], device=tokens.device)
    source = (lengths[:, None] + 1 - position).clamp_min(1)  # position p takes base length + 1 - p
    bases = complement[tokens.gather(1, source).long()]
    return torch.cat([tokens[:, :1], bases], 1)


def stream_tokens(chunk: Tokens, start: int | None, device: torch.device) -> Tensor:
    """A chunk of a stream as one row, uint8 [1, L]; behind the token `start` where the stream begins."""
    begin = np.array([] if start is None else [start], np.uint8)
    return send_to_device(torch.from_numpy(np.concatenate([begin, chunk]))[None], device)


@contextmanager
def enough_memory(plan: BatchPlan) -> Iterator[None]:
    """Say what to do where a GPU's memory does not hold a batch.

    Raises:
        InputError: it does not.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError(
            f"the GPU's memory does not hold {plan.bases:,} bases at once; give fewer with --batch-bases"
        ) from None


class Waiting(Protocol[R]):
    """Results that a device is still busy with."""

    def fetch(self) -> Iterator[R]:
        """Wait for them; in the order of the pieces."""


class PieceReader(Protocol[R]):
    """What reads pieces with a model."""

    def launch(self, pieces: Sequence[Piece]) -> Waiting[R]:
        """Begin with pieces that fit into batches; a GPU works on while the caller reads on."""

    def stream(self, piece: LongPiece) -> Iterator[R]:
        """Read a long piece, block by block."""


def in_order(
    pieces: Iterable[Piece | LongPiece],
    reader: PieceReader[R],
    plan: BatchPlan,
    failed: Callable[[str, InputError], None] | None = None,
) -> Iterator[R]:
    """Results of the pieces in their order: short ones are pooled, sorted by length and batched, long ones streamed.

    While the device works on a pool, the next one is read from the files.

    Args:
        pieces: as they come.
        reader: what reads them.
        plan: limits of a batch.
        failed: is told the file and the error when a long piece cannot be read to its end; None: the error is raised.
    """
    pool: list[Piece] = []
    size = 0
    waiting: Waiting[R] | None = None
    for piece in pieces:
        if isinstance(piece, Piece):
            pool.append(piece)
            size += len(piece.tokens) + 1
            if size < _POOL * plan.bases and len(pool) < _POOL_PIECES:
                continue
        launched = reader.launch(pool) if pool else None
        pool, size = [], 0
        if waiting is not None:
            yield from waiting.fetch()
        waiting = launched
        if isinstance(piece, LongPiece):
            if waiting is not None:
                yield from waiting.fetch()
                waiting = None
            try:
                yield from reader.stream(piece)
            except InputError as error:
                if failed is None:
                    raise
                failed(piece.source, error)
    launched = reader.launch(pool) if pool else None
    for rest in (waiting, launched):
        if rest is not None:
            yield from rest.fetch()
