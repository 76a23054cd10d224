"""Sampling: sequences a language model makes up, from nothing or as the continuation of a prompt.

Every sequence draws from a generator of its own, keyed by seed and number: which others are made beside it, and how
many at a time, does not change it (beyond float rounding, which a draw can fall on either side of).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnamamba.device import autocast_dtype
from dnamamba.errors import InputError
from dnamamba.files import opened_whole
from dnamamba.model import MambaLM, ModelState
from dnamamba.model.autocasting import autocasting
from dnamamba.model.decoder import Decoder
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.pipelines.sequence_files import SequenceStream
from dnamamba.stream.pieces import PieceCutter, rechunk

PROMPT_CHUNK = 2**14
"""Bases of a prompt that go through the model at once."""
_LINE = 60
_BLOCK = 2**10  # steps between two looks of the host at the device


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """How sequences are drawn.

    Raises:
        InputError: a value out of range.
    """

    length: int = 2**10
    """Bases of each sequence, the prompt's not counted."""
    number: int = 1
    """Sequences of each prompt."""
    temperature: float = 1.0
    """Divides the logits: 1 draws as the model believes, 0 takes the likeliest base."""
    top_p: float = 1.0
    """Draw among the likeliest bases that together have this probability, and no others."""
    seed: int = 0
    """The same seed gives the same sequences."""
    batch: int = 64
    """Sequences that are made at a time."""

    def __post_init__(self) -> None:
        for name in ("length", "number", "batch", "seed"):
            if not isinstance(getattr(self, name), Integral):
                raise InputError(f"{name}: want a whole number, got {getattr(self, name)!r}")
            if name != "seed" and getattr(self, name) < 1:
                raise InputError(f"{name}: want 1 or more, got {getattr(self, name)}")
        for name in ("temperature", "top_p"):
            if not isinstance(getattr(self, name), Real):
                raise InputError(f"{name}: want a number, got {getattr(self, name)!r}")
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature: want 0 or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p: want a probability above 0, up to 1, got {self.top_p}")
        if self.seed < 0:
            raise InputError(f"seed: want 0 or more, got {self.seed}")


@dataclass(frozen=True)
class Generated:
    """A sequence that was made up."""

    prompt: str
    """Name of the prompt; "" without one."""
    number: int
    """Of this prompt's sequences, from 1."""
    letters: bytes
    """Upper case, without the prompt."""
    nats_per_base: float
    """Mean negative log-likelihood under the model, at temperature 1."""


@dataclass(frozen=True)
class _Start:
    """Where a prompt leaves the model."""

    name: str
    state: ModelState
    logits: Tensor
    """Of the next base, [1, V]."""


def generate(
    model: MambaLM, prompts: Iterable[SequenceStream] | None = None, options: GenerateOptions | None = None
) -> Iterator[Generated]:
    """Draw sequences.

    Args:
        model: in eval mode.
        prompts: what the sequences continue, of any length (`given_sequences` makes them of strings); None: nothing.
        options: how.

    Returns:
        `options.number` sequences of each prompt, in order, as they come; A, C, G and T alone (any byte for the
        alphabet of bytes).

    Raises:
        InputError: a prompt that cannot be read, or a model with a mixer that cannot step.
    """
    options = options or GenerateOptions()
    sampler = _Sampler(model, options)
    batch: list[tuple[_Start, int]] = []
    made = 0
    for start in sampler.starts(prompts):
        for number in range(1, options.number + 1):
            batch.append((start, number))
            if len(batch) == options.batch:
                yield from sampler.draw(batch, made)
                made += len(batch)
                batch = []
    if batch:
        yield from sampler.draw(batch, made)


class _Sampler:
    def __init__(self, model: MambaLM, options: GenerateOptions) -> None:
        self._model, self._options, self._device = model, options, model.device
        self._alphabet = ALPHABETS[model.config.alphabet]
        self._count = len(self._alphabet.targets)
        self._dtype = autocast_dtype("auto", model.device)
        self._decoder: Decoder | None = None
        self._rows = 0

    @torch.no_grad()
    def starts(self, prompts: Iterable[SequenceStream] | None) -> Iterator[_Start]:
        """Each prompt read, in chunks."""
        start = np.array([self._alphabet.start], np.uint8)
        if prompts is None:
            yield self._read("", iter([start]))
            return
        cutter = PieceCutter(self._alphabet, PROMPT_CHUNK)
        for prompt in prompts:
            chunks = (chunk for chunk, _ in rechunk(cutter.tokens(prompt), PROMPT_CHUNK))
            yield self._read(prompt.name, _after(start, chunks))

    def _read(self, name: str, chunks: Iterator[NDArray[np.uint8]]) -> _Start:
        state: ModelState | None = None
        for chunk in chunks:
            with self._autocast():
                logits, state = self._model(torch.from_numpy(chunk.copy())[None].to(self._device), state)
        assert state is not None
        return _Start(name, state, logits[:, -1])

    @torch.no_grad()
    def draw(self, batch: Sequence[tuple[_Start, int]], first: int) -> Iterator[Generated]:
        """Sequences beside each other; `first` is the number of the first among all that are made."""
        options, rows = self._options, len(batch)
        state = ModelState.from_tensors(
            [torch.cat(parts) for parts in zip(*(start.state.tensors() for start, _ in batch), strict=True)]
        )
        if self._decoder is None or self._rows != rows:
            self._decoder, self._rows = Decoder(self._model, state, dtype=self._dtype), rows
        else:
            self._decoder.restart(state)
        del state
        logits = torch.cat([start.logits for start, _ in batch])
        own = [np.random.default_rng([options.seed, first + row]) for row in range(rows)]
        tokens = np.empty((rows, options.length), np.uint8)
        nats = torch.zeros(rows, dtype=torch.float64, device=self._device)
        for begin in range(0, options.length, _BLOCK):
            steps = min(_BLOCK, options.length - begin)
            uniform = torch.from_numpy(np.stack([one.random(steps) for one in own])).to(self._device)  # [rows, steps]
            drawn: list[Tensor] = []
            for step in range(steps):
                chosen, cost = self._choose(logits[:, : self._count], uniform[:, step])
                nats += cost
                drawn.append(chosen)
                logits = self._decoder.step(chosen)
            tokens[:, begin : begin + steps] = torch.stack(drawn, 1).cpu().numpy()
        letters = self._alphabet.decode(tokens)
        for row, (start, number) in enumerate(batch):
            yield Generated(start.name, number, letters[row].tobytes(), float(nats[row]) / options.length)

    def _choose(self, logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """A letter for each row [B], int64, and what it costs in nats at temperature 1."""
        log_p = logits.double().log_softmax(-1)  # [B, letters]
        if self._options.temperature == 0:
            chosen = log_p.argmax(-1)
        else:
            # Less the greatest, so that no temperature makes all of them infinite.
            scaled = (log_p - log_p.amax(-1, keepdim=True)) / self._options.temperature
            p, order = scaled.softmax(-1).sort(dim=-1, descending=True, stable=True)
            before = p.cumsum(-1) - p  # probability of the likelier ones
            p = torch.where(before < self._options.top_p, p, 0.0)  # the likeliest is always in
            reached = p.cumsum(-1)
            place = (reached <= uniform[:, None] * reached[:, -1:]).sum(-1).clamp_max(self._count - 1)
            chosen = order.gather(1, place[:, None])[:, 0]
        return chosen, -log_p.gather(1, chosen[:, None])[:, 0]

    def _autocast(self) -> AbstractContextManager[None]:
        return autocasting(self._device, self._dtype)


def write_fasta(sequences: Iterable[Generated], out: str) -> None:
    """As FASTA, 60 letters a line: PROMPT_1, PROMPT_2, .. or sample_1, ..; "-" is standard output."""
    with opened_whole(out) as file:
        for one in sequences:
            file.write(f">{one.prompt or 'sample'}_{one.number} nats_per_base={one.nats_per_base:.4f}\n".encode())
            for at in range(0, len(one.letters), _LINE):
                file.write(one.letters[at : at + _LINE] + b"\n")


def _after(first: NDArray[np.uint8], chunks: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    yield first
    yield from chunks
