"""A value for every base of a genome, read from the streams that variants are scored on: likelihood, entropy, surprise.

A base's value is what the model says of it after the bases before it, on the strand that is read. The reverse strand is
read on the reverse complement, its streams on the grid from the contig's other end, and each value stands at the base
that it is of. Both strands together are the mean of the two. N and other ambiguous letters have no value.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dnamamba.errors import InputError, UsageError
from dnamamba.model import MambaLM, ModelState
from dnamamba.model.autocasting import autocasting
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.reference import Reference
from dnamamba.pipelines.regions import Region
from dnamamba.scoring.strand import Strand, Tokens, stream_start

What = Literal["likelihood", "entropy", "surprise"]
Strands = Literal["both", "forward", "reverse"]
Values = NDArray[np.float32]
UNITS = {
    "likelihood": "log-likelihood of the base, nats",
    "entropy": "entropy of the model's prediction, nats; log(4) = 1.386 knows nothing",
    "surprise": "surprise by the base, bits: minus its log2 likelihood",
}
_LETTERS = 4
_BATCH_TOKENS = {"cuda": 2**18, "cpu": 2**14}


class _Cell(NamedTuple):
    """Bases [first, last) of a strand that the stream from `start` on reads."""

    start: int
    first: int
    last: int


class BaseTrack:
    """Reads values of bases from a model."""

    def __init__(
        self,
        model: MambaLM,
        reference: Reference,
        *,
        what: What = "likelihood",
        strands: Strands = "both",
        context: int | None = 131_072,
        autocast: torch.dtype | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        """
        Args:
            model: on the device that it shall run on.
            reference: the genome.
            what: a key of `UNITS`.
            strands: "reverse" is the reverse strand alone.
            context: a base is read after context / 2 to context bases, as a variant is; None reads each contig from its
                start to its end.
            autocast: dtype of matrix products; None for float32.
            batch_tokens: tokens of a pass; None is chosen for the device.

        Raises:
            InputError: a model of another alphabet, or a context of less than 2 bases.
        """
        if model.config.alphabet != "dna":
            raise InputError(f"a track wants a model of the dna alphabet, this one reads {model.config.alphabet!r}")
        if context is not None and context < 2:
            raise UsageError(f"context: want at least 2 bases, got {context}")
        self._model, self._reference, self._context = model.eval(), reference, context
        self._directions = {"both": (False, True), "forward": (False,), "reverse": (True,)}[strands]
        if what not in _MEASURES:
            raise UsageError(f"a track of {what!r}: want {', '.join(_MEASURES)}")
        self._measure = _MEASURES[what]
        self._autocast = autocast
        self._tokens = batch_tokens or _BATCH_TOKENS.get(model.device.type, 2**14)

    def blocks(self, region: Region) -> Iterator[tuple[int, Values]]:
        """The values of a region, from left to right, in memory that does not depend on its length.

        Returns:
            Pairs of the first base, 0-based on the contig, and the values from there on, float32 [n], NaN where there
            is none. (The reverse strand without a grid is read from the contig's end: its values wait in a temporary
            file, four bytes a base.)
        """
        strands = [self._strand(region, reverse) for reverse in self._directions]
        at = region.start
        for parts in _in_step(strands):
            values = parts[0] if len(parts) == 1 else (parts[0] + parts[1]) * np.float32(0.5)
            yield at, values
            at += len(values)

    def _strand(self, region: Region, reverse: bool) -> Iterator[Values]:
        """One strand's values, from left to right on the contig."""
        strand = Strand(self._reference, region.contig, reverse=reverse)
        first, last = region.start, region.end
        if reverse:
            first, last = strand.length - last, strand.length - first
        if self._context is None:
            blocks = self._whole(strand, first, last)
            yield from _turned(blocks, last - first) if reverse else blocks
            return
        half = self._context // 2
        numbers = range(first // half, -(-last // half))
        rows = max(1, self._tokens // (2 * half))
        for at in range(0, len(numbers), rows):
            some = (numbers[::-1] if reverse else numbers)[at : at + rows]
            cells = [
                _Cell(stream_start(k * half, self._context), max(first, k * half), min(last, (k + 1) * half))
                for k in some
            ]
            for values in self._read(strand, cells):
                yield values[::-1] if reverse else values

    def _whole(self, strand: Strand, first: int, last: int) -> Iterator[Values]:
        """Bases [first, last) of a strand that is read from its start, piece by piece."""
        state = None
        for start in range(0, last, self._tokens):
            end = min(start + self._tokens, last)
            values, state = self._piece(_inputs(strand, start, end)[None], strand.tokens(start, end)[None], state)
            if end > first:
                yield values[0, max(first - start, 0) :]

    def _read(self, strand: Strand, cells: Sequence[_Cell]) -> list[Values]:
        """Values of each cell; their streams are read side by side."""
        length = max(cell.last - cell.start for cell in cells)
        inputs = np.full((len(cells), length), DNA.n, np.uint8)  # what stands behind a row is not looked at
        targets = inputs.copy()
        for row, cell in enumerate(cells):
            inputs[row, : cell.last - cell.start] = _inputs(strand, cell.start, cell.last, starts=True)
            targets[row, : cell.last - cell.start] = strand.tokens(cell.start, cell.last)
        wanted = min(cell.first - cell.start for cell in cells)
        step = max(1, self._tokens // len(cells))
        state, parts = None, []
        for start in range(0, length, step):
            piece = slice(start, start + step)
            if start + step <= wanted:  # for the state alone
                _, state = self._features(inputs[:, piece], state)
                parts.append(np.full((len(cells), step), np.nan, np.float32))
            else:
                values, state = self._piece(inputs[:, piece], targets[:, piece], state)
                parts.append(values)
        values = np.concatenate(parts, 1)
        return [values[row, c.first - c.start : c.last - c.start] for row, c in enumerate(cells)]

    @torch.inference_mode()
    def _features(self, inputs: Tokens, state: ModelState | None) -> tuple[Tensor, ModelState]:
        tokens = torch.from_numpy(np.ascontiguousarray(inputs)).to(self._model.device)
        with autocasting(tokens.device, self._autocast):
            features, state = self._model.backbone(tokens, state)
        return features, state

    @torch.inference_mode()
    def _piece(self, inputs: Tokens, targets: Tokens, state: ModelState | None) -> tuple[Values, ModelState]:
        features, state = self._features(inputs, state)
        weight = self._model.backbone.embedding.weight[:_LETTERS]
        log_p = F.linear(features.to(weight.dtype), weight).log_softmax(-1)  # [B, L, 4]
        index = torch.from_numpy(np.ascontiguousarray(targets)).to(log_p.device).long()
        values = self._measure(log_p, index.clamp_max(_LETTERS - 1)).masked_fill(index >= _LETTERS, torch.nan)
        return values.float().cpu().numpy(), state


def _likelihood(log_p: Tensor, index: Tensor) -> Tensor:
    return log_p.gather(2, index[:, :, None])[:, :, 0]


def _entropy(log_p: Tensor, index: Tensor) -> Tensor:
    return -(log_p.exp() * log_p).sum(-1)


def _surprise(log_p: Tensor, index: Tensor) -> Tensor:
    return _likelihood(log_p, index) * (-1 / math.log(2))


_MEASURES: dict[What, Callable[[Tensor, Tensor], Tensor]] = {
    "likelihood": _likelihood, "entropy": _entropy, "surprise": _surprise
}  # fmt: skip


def _inputs(strand: Strand, start: int, end: int, *, starts: bool = False) -> Tokens:
    """The token before each of the bases [start, end); before the first of a stream it is the start token."""
    if starts or start == 0:
        return np.concatenate([np.array([DNA.start], np.uint8), strand.tokens(start, end - 1)])
    return strand.tokens(start - 1, end - 1)


def _turned(blocks: Iterator[Values], count: int) -> Iterator[Values]:
    """Blocks of `count` values in all, from the last value to the first; they wait in a file."""
    with tempfile.TemporaryFile() as file:
        size = 0
        for block in blocks:
            file.write(block.tobytes())
            size = max(size, len(block))
        for end in range(count, 0, -size):
            start = max(end - size, 0)
            file.seek(4 * start)
            yield np.frombuffer(file.read(4 * (end - start)), np.float32)[::-1]


def _in_step(streams: Sequence[Iterator[Values]]) -> Iterator[list[Values]]:
    """Cut streams of equally many values into blocks of common borders."""
    held = [np.empty(0, np.float32) for _ in streams]
    while True:
        for i, stream in enumerate(streams):
            if not len(held[i]):
                held[i] = next(stream, held[i])
        count = min(len(block) for block in held)
        if not count:
            return
        yield [block[:count] for block in held]
        held = [block[count:] for block in held]
