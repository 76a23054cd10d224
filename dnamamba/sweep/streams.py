"""Losses of the targets at one context: streams through the model piece by piece, in memory that no context changes."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dnamamba.corpus import Corpus
from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelState
from dnamamba.model.autocasting import autocasting
from dnamamba.pipelines.alphabet import ALPHABETS, Alphabet
from dnamamba.sweep.targets import Context, Stream, Targets

Losses = NDArray[np.float32]
Ticked = Callable[[int], None]
"""Told how many bases have gone through the model since the last call."""

_AHEAD = 3  # pieces that are read while the device computes
_TILE, _WHOLE_TILES = 64, 2**10  # steps of a tile of the scan: streams from 2^10 on are filled up to whole ones


class _Piece(NamedTuple):
    """Columns [first, last) of streams that go side by side."""

    streams: Sequence[Stream]
    first: int
    last: int


def default_batch_tokens(model: MambaLM) -> int:
    """Tokens at a time: enough to fill a GPU, few enough for the caches of a CPU."""
    if model.device.type != "cuda":
        return 2**15
    return max(2**14, 2**25 // model.config.d_model)


@torch.no_grad()
def context_losses(
    model: MambaLM,
    corpus: Corpus,
    targets: Targets,
    context: Context,
    *,
    autocast: torch.dtype | None = None,
    batch_tokens: int | None = None,
    tick: Ticked = lambda bases: None,
) -> Losses:
    """Negative log-probability of every target at one context, in nats, over the letters that count.

    Args:
        model: its device is where the work is done; it is left as it was.
        corpus: genomes.
        targets: which bases, and from where they are read.
        context: None is "full".
        autocast: dtype of matrix products, or None.
        batch_tokens: tokens that go through the model at a time: memory follows it and nothing else.
        tick: progress.

    Returns:
        float32 [blocks, targets in a block]; NaN where the base is not counted.
    """
    alphabet = ALPHABETS[model.config.alphabet]
    weight = model.backbone.embedding.weight[: len(alphabet.targets)].float()
    losses = np.full(len(targets.blocks) * targets.size, np.nan, np.float32)
    positions = targets.positions
    was_training = model.training
    model.eval()
    state: ModelState | None = None
    for piece, bases, before in _read_ahead(
        corpus, targets, context, alphabet, batch_tokens or default_batch_tokens(model)
    ):
        tokens = torch.cat([before, bases[:, :-1]], 1).to(model.device)
        with autocasting(model.device, autocast):
            features, state = model.backbone(tokens, state if piece.first else None)
        numbers, rows, columns = _targets_in(piece, positions)
        if len(numbers):
            values = _losses(features[rows.to(model.device), columns.to(model.device)], bases[rows, columns], weight)
            losses[numbers] = values.cpu().numpy()
        tick(sum(max(0, min(piece.last, one.length) - piece.first) for one in piece.streams))
    model.train(was_training)
    return losses.reshape(len(targets.blocks), targets.size)


def _losses(features: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Negative log-probability of the bases `wanted` [n], tokens, from features [n, d_model]; NaN where not counted."""
    counted = (wanted < len(weight)).to(features.device)
    logits = F.linear(features.float(), weight)  # bfloat16 is too coarse for a log-probability
    chosen = logits.gather(1, wanted.clamp_max(len(weight) - 1).long().to(features.device)[:, None])[:, 0]
    return (logits.logsumexp(1) - chosen).masked_fill(~counted, math.nan)


def _targets_in(piece: _Piece, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], Tensor, Tensor]:
    """Numbers of the targets that lie in a piece, and the row and column of each in it."""
    numbers, rows, columns = [], [], []
    for row, one in enumerate(piece.streams):
        mine = positions[one.first : one.last]
        low, high = np.searchsorted(mine, [one.start + piece.first, one.start + piece.last])
        numbers.append(np.arange(one.first + low, one.first + high))
        rows.append(np.full(high - low, row))
        columns.append(mine[low:high] - one.start - piece.first)
    return (
        np.concatenate(numbers),
        torch.from_numpy(np.concatenate(rows)),
        torch.from_numpy(np.concatenate(columns)),
    )


def _pieces(streams: Sequence[Stream], batch_tokens: int) -> Iterator[_Piece]:
    """Streams side by side, longest first so that little is padded; one that does not fit goes alone, in pieces."""
    batch: list[Stream] = []
    for stream in [*sorted(streams, key=lambda one: -one.length), None]:
        if batch and (stream is None or (len(batch) + 1) * batch[0].length > batch_tokens):
            columns = batch[0].length
            if columns >= _WHOLE_TILES:
                columns = -(-columns // _TILE) * _TILE
            for first in range(0, columns, batch_tokens):
                yield _Piece(tuple(batch), first, min(first + batch_tokens, columns))
            batch = []
        if stream is not None:
            batch.append(stream)


def _read_ahead(
    corpus: Corpus, targets: Targets, context: Context, alphabet: Alphabet, batch_tokens: int
) -> Iterator[tuple[_Piece, Tensor, Tensor]]:
    """Every piece with its bases [rows, columns] and the token before each row [rows, 1], uint8 on the CPU."""
    read = partial(_read, corpus, alphabet)
    with ThreadPoolExecutor(1, "read ahead") as pool:
        waiting: deque[tuple[_Piece, Future[NDArray[np.uint8]]]] = deque()
        todo = _pieces(targets.streams(context), batch_tokens)
        last: Tensor | None = None
        while True:
            while len(waiting) < _AHEAD and (piece := next(todo, None)) is not None:
                waiting.append((piece, pool.submit(read, piece)))
            if not waiting:
                return
            piece, coming = waiting.popleft()
            bases = torch.from_numpy(coming.result())
            if piece.first == 0 or last is None:
                last = torch.full((len(piece.streams), 1), alphabet.start, dtype=torch.uint8)
            yield piece, bases, last
            last = bases[:, -1:]


def _read(corpus: Corpus, alphabet: Alphabet, piece: _Piece) -> NDArray[np.uint8]:
    """Tokens of a piece's bases, uint8 [rows, columns]; what a shorter stream lacks is filled up."""
    tokens = np.full((len(piece.streams), piece.last - piece.first), alphabet.start, np.uint8)
    for row, stream in zip(tokens, piece.streams, strict=True):
        start, end = stream.start + piece.first, min(stream.start + piece.last, stream.end)
        if start >= end:
            continue
        assembly = corpus.assemblies[stream.assembly]
        try:
            row[: end - start] = alphabet.encode(assembly[stream.contig, start:end])
        except InputError as error:
            raise InputError(f"{assembly.name}, {stream.contig} from base {start + 1:,}: {error}") from None
    return tokens
