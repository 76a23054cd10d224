"""Features of the backbone over batches of short pieces and streams of long ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnamamba.device import Moment, autocast_dtype, send_to_host
from dnamamba.embedding.options import EmbedOptions
from dnamamba.model import MambaLM, ModelState
from dnamamba.model.autocasting import autocasting
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.stream.batches import BatchPlan, make_batches, other_strand, pad, stream_tokens
from dnamamba.stream.pieces import LongPiece, Piece, Tokens, rechunk
from dnamamba.stream.strands import BothWays

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """Vectors of a piece: its only one, or with pool "none" those of some of its bases, in order."""

    name: str
    start: int
    """First base of the piece in its sequence, 0-based."""
    length: int
    """Bases of the piece, up to here."""
    source: str
    values: Floats
    """[n, d_model]; of a piece without bases a NaN vector, or with pool "none" nothing."""
    last: bool
    """Nothing more comes of this piece."""


class Embedder:
    """A `PieceReader` that gives features of the final norm, after each base: what the head sees.

    Pooled over bases alone: the start token, which every sequence has, is left out.
    """

    def __init__(self, model: MambaLM, options: EmbedOptions, *, float32: bool = False) -> None:
        """`float32`: no bfloat16, on a GPU that has it too."""
        self._model, self._options = model, options
        self._alphabet = ALPHABETS[model.config.alphabet]
        self._dtype = None if float32 else autocast_dtype("auto", model.device)
        self.plan = BatchPlan.of(model.config, model.device, options.batch_bases)
        if options.pool == "none" and options.batch_bases is None:  # all features of a pool come to the CPU
            self.plan = BatchPlan(max(2**12, self.plan.bases // 8), self.plan.rows)

    def launch(self, pieces: Sequence[Piece]) -> "_Waiting":
        """As `PieceReader.launch`."""
        strands = 2 if self._options.both_strands else 1
        full = [i for i, piece in enumerate(pieces) if len(piece.tokens)]
        waiting = _Waiting(pieces, self._options, self._model.config.d_model)
        with torch.inference_mode():
            for batch in make_batches([len(pieces[i].tokens) for i in full], self.plan, strands):
                rows = [full[i] for i in batch]
                tokens, lengths = pad([pieces[i] for i in rows], self._alphabet.start, self._model.device)
                if strands == 2:
                    tokens = torch.cat([tokens, other_strand(tokens, lengths, self._alphabet)])
                features, _ = self._features(tokens, None)
                waiting.add(rows, self._pooled(features, lengths.repeat(strands), strands))
        return waiting

    def stream(self, piece: LongPiece) -> Iterator[Part]:
        """As `PieceReader.stream`."""
        if self._options.pool == "none":
            yield from self._every_base(piece)
            return
        if not self._options.both_strands:
            vector, length = self._vector(piece.blocks)
        else:
            with BothWays(piece, self._alphabet) as ways:
                vector, length = self._vector(ways.forward())
                vector = (vector + self._vector(ways.reverse(self.plan.bases))[0]) / 2
        yield Part(piece.name, piece.start, length, piece.source, vector.astype(np.float32)[None], True)

    def _features(self, tokens: Tensor, state: ModelState | None) -> tuple[Tensor, ModelState]:
        """Float32 [B, L, d_model], and the state after."""
        device = self._model.device.type
        with autocasting(device, self._dtype):
            features, state = self._model.backbone(tokens, state)
        return features.float(), state

    def _pooled(self, features: Tensor, lengths: Tensor, strands: int) -> Tensor:
        """[B, d_model] of strands * B rows; with pool "none" [B, L, d_model], padding included."""
        if self._options.pool == "none":
            return features[:, 1:]
        if self._options.pool == "last":
            values = features[torch.arange(len(features), device=features.device), lengths]
        else:
            place = torch.arange(features.shape[1], device=features.device)
            counted = (place > 0) & (place <= lengths[:, None])  # [B, L]
            values = (counted[:, None].float() @ features)[:, 0] / lengths[:, None]
        return values.view(strands, -1, values.shape[1]).mean(0)

    def _chunks(self, blocks: Iterator[Tokens]) -> Iterator[tuple[Tensor, bool]]:
        """Features [n, d_model] of all bases, chunk by chunk, each with whether it is the last."""
        state: ModelState | None = None
        for chunk, last in rechunk(blocks, self.plan.bases):
            tokens = stream_tokens(chunk, self._alphabet.start if state is None else None, self._model.device)
            with torch.inference_mode():
                features, state = self._features(tokens, state)
            yield features[0, -len(chunk) :], last

    def _vector(self, blocks: Iterator[Tokens]) -> tuple[NDArray[np.float64], int]:
        """The pooled vector of a stream, and its length."""
        total, length = np.zeros(self._model.config.d_model), 0
        for features, _ in self._chunks(blocks):
            length += len(features)
            if self._options.pool == "mean":
                total += features.double().sum(0).cpu().numpy()
            else:
                total = features[-1].double().cpu().numpy()
        return total / length if self._options.pool == "mean" else total, length

    def _every_base(self, piece: LongPiece) -> Iterator[Part]:
        length = 0
        for features, last in self._chunks(piece.blocks):
            length += len(features)
            yield Part(piece.name, piece.start, length, piece.source, features.cpu().numpy(), last)


class _Waiting:
    """Vectors of the pieces of a pool, on their way from the device."""

    def __init__(self, pieces: Sequence[Piece], options: EmbedOptions, width: int) -> None:
        self._pieces, self._options, self._width = pieces, options, width
        self._batches: list[tuple[list[int], Tensor, Moment]] = []

    def add(self, rows: list[int], values: Tensor) -> None:
        """Of the pieces of these numbers."""
        self._batches.append((rows, send_to_host(values), Moment(values.device)))

    def fetch(self) -> Iterator[Part]:
        """As `Waiting.fetch`."""
        every = self._options.pool == "none"
        found: dict[int, Floats] = {}
        for rows, values, there in self._batches:
            there.wait()
            array = values.numpy()
            for row, number in enumerate(rows):
                found[number] = array[row, : len(self._pieces[number].tokens)] if every else array[row][None]
        nothing = np.full((0 if every else 1, self._width), np.nan, np.float32)
        for number, piece in enumerate(self._pieces):
            yield Part(piece.name, piece.start, len(piece.tokens), piece.source, found.get(number, nothing), True)
