"""Verdicts over batches of short pieces and over streams of long ones, both strands, or forward as the bases come."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import nan
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dnamamba.classify.opinions import Opinion, form_opinion, own_marks
from dnamamba.classify.passes import Carry, Passes
from dnamamba.classify.verdict import Verdict
from dnamamba.species.classifier import Classifier
from dnamamba.stream.batches import BatchPlan, make_batches, other_strand, pad, stream_tokens
from dnamamba.stream.pieces import LongPiece, Piece, Tokens, rechunk
from dnamamba.stream.strands import BothWays


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How sequences are judged."""

    both_strands: bool = True
    """Average over the sequence and its reverse complement. Not with `every`: a prefix's reverse complement begins
    anew with each base."""
    every: int | None = None
    """A verdict after every so many bases, not only at the end."""
    stop_when: float | None = None
    """Stop reading a sequence once a class has this probability; looked at after every `every` bases."""
    on_the_way: bool = True
    """With `every`: give the verdicts on the way, not only the last."""
    shortest: int = 1
    """After fewer bases there is no posterior."""
    live: bool = False
    """The bases of a stream are still being made: a verdict comes before the bases after it are asked for, and a
    stopped stream is left where it is."""

    def __post_init__(self) -> None:
        if self.both_strands and self.every is not None:
            raise ValueError("verdicts after every so many bases are of the forward strand")
        if self.stop_when is not None and self.every is None:
            raise ValueError("stop_when is looked at after every `every` bases; say how many")


class Judge:
    """A `PieceReader` that gives verdicts."""

    def __init__(self, classifier: Classifier, judging: Judging, plan: BatchPlan, *, float32: bool = False) -> None:
        self.judging, self._config, self._plan = judging, classifier.config, plan
        self._alphabet, self._letters = classifier.alphabet, len(classifier.alphabet.targets)
        self._unlike_above = lru_cache(2**16)(classifier.config.unlike_above)
        self._strands = 2 if judging.both_strands else 1
        self.passes = Passes(classifier, float32)

    def launch(self, pieces: Sequence[Piece]) -> "_Waiting":
        """As `PieceReader.launch`."""
        judged = [i for i, piece in enumerate(pieces) if len(piece.tokens) >= max(1, self.judging.shortest)]
        waiting = _Waiting(self, pieces)
        with torch.inference_mode():
            for batch in make_batches([len(pieces[i].tokens) for i in judged], self._plan, self._strands):
                rows = [judged[i] for i in batch]
                tokens, lengths = pad([pieces[i] for i in rows], self._alphabet.start, self.passes.device)
                if self.judging.stop_when is not None:
                    self._until_sure(rows, tokens, waiting)
                else:
                    self._whole(rows, tokens, lengths, waiting)
        return waiting

    def stream(self, piece: LongPiece) -> Iterator[Verdict]:
        """As `PieceReader.stream`."""
        if not self.judging.both_strands:
            yield from self._read(piece, piece.blocks)
            return
        with BothWays(piece, self._alphabet) as ways:
            *_, forward = self._read(piece, ways.forward())
            *_, reverse = self._read(piece, ways.reverse(self._plan.bases))
        nats = (forward.nats_per_base + reverse.nats_per_base) / 2  # both have as many A, C, G and T
        mean = None
        if forward.probabilities is not None and reverse.probabilities is not None:
            pairs = zip(forward.probabilities, reverse.probabilities, strict=True)
            mean = tuple((one + other) / 2 for one, other in pairs)
        unlike = self._is_unlike(nats, forward.bases)
        yield forward._replace(probabilities=mean, nats_per_base=nats, unlike=unlike)

    def verdict(
        self, piece: Piece | LongPiece, opinion: Opinion, row: int, mark: int, length: int | None, last: bool
    ) -> Verdict:
        """What a row's mark says of a piece."""
        bases, nats = opinion.ends[row][mark], opinion.nats_per_base[row][mark]
        return Verdict(
            name=piece.name,
            classes=self._config.classes,
            start=piece.start,
            bases=bases,
            length=length,
            probabilities=tuple(opinion.probabilities[row][mark]) if bases >= self.judging.shortest else None,
            nats_per_base=nats,
            ambiguous=bases - opinion.counted[row][mark],
            unknown=piece.unknown,
            unlike=self._is_unlike(nats, bases),
            last=last,
            source=piece.source,
        )

    def too_short(self, piece: Piece) -> Verdict:
        """A verdict without a posterior."""
        return Verdict(
            name=piece.name, classes=self._config.classes, start=piece.start, bases=0, length=len(piece.tokens),
            probabilities=None, nats_per_base=nan, ambiguous=int((piece.tokens >= self._letters).sum()),
            unknown=piece.unknown, unlike=False, last=True, source=piece.source,
        )  # fmt: skip

    def _whole(self, rows: list[int], tokens: Tensor, lengths: Tensor, waiting: "_Waiting") -> None:
        """One pass over a batch."""
        if self.judging.both_strands:
            tokens = torch.cat([tokens, other_strand(tokens, lengths, self._alphabet)])
        ends = [self._ends(0, len(waiting.pieces[i].tokens), True) for i in rows]
        own = own_marks(ends)
        places = np.zeros(own.shape, np.int64)
        places[own] = [end for each in ends for end in each]  # token n has seen n bases: the start token is number 0
        marks, _ = self.passes.advance(tokens, None, torch.from_numpy(np.tile(places, (self._strands, 1))))
        assert marks is not None
        waiting.add(rows, partial(form_opinion, marks, ends, self._config, self._strands))

    def _until_sure(self, rows: list[int], tokens: Tensor, waiting: "_Waiting") -> None:
        """A batch slice by slice; a row leaves it when it is sure or has ended."""
        step, sure, done = self.judging.every, self.judging.stop_when, 0
        assert step is not None
        assert sure is not None
        carry: Carry | None = None
        while rows:
            lengths = [len(waiting.pieces[i].tokens) for i in rows]
            seen = 0 if carry is None else done + 1  # tokens
            ends = [min(length, done + step) for length in lengths]
            places = torch.tensor([[end - seen] for end in ends])
            marks, carry = self.passes.advance(tokens[:, seen : done + step + 1], carry, places)
            assert marks is not None
            opinion = form_opinion(marks, [[end] for end in ends], self._config, self._strands)
            waiting.add(rows, partial(_given, opinion))
            done += step
            best = [max(marks[0]) for marks in opinion.probabilities]
            go_on = [k for k, n in enumerate(lengths) if n > done and (best[k] < sure or done < self.judging.shortest)]
            rows = [rows[k] for k in go_on]
            if rows and len(rows) < len(lengths):
                index = torch.tensor(go_on, device=self.passes.device)
                tokens, carry = tokens[index], carry.index(index)

    def _read(self, piece: LongPiece, blocks: Iterator[Tokens]) -> Iterator[Verdict]:
        """Verdicts as the bases come; the last one rests on all that was read."""
        step, sure = self.judging.every, self.judging.stop_when
        size = self._plan.bases
        if step is not None:  # marks then lie at the ends of chunks
            size = step if sure is not None or self.judging.live else max(1, size // step) * step
        carry: Carry | None = None
        done = 0
        passing = _Counted(blocks)
        for chunk, last in rechunk(passing, size, ahead=not self.judging.live):
            ends = self._ends(done, done + len(chunk), last)
            opinion, carry = self._chunk(chunk, carry, done, ends)
            done += len(chunk)
            for mark, end in enumerate(ends):
                assert opinion is not None
                at_end = last and end == done
                verdict = self.verdict(piece, opinion, 0, mark, done if at_end else None, at_end)
                if sure is not None and not at_end and verdict.confidence >= sure:
                    length = None if self.judging.live else passing.read_to_end()
                    yield verdict._replace(length=length, last=True, unknown=piece.unknown)
                    return
                if at_end or self.judging.on_the_way:
                    yield verdict

    def _chunk(self, chunk: Tokens, carry: Carry | None, done: int, ends: list[int]) -> tuple[Opinion | None, Carry]:
        tokens = stream_tokens(chunk, self._alphabet.start if carry is None else None, self.passes.device)
        seen = 0 if carry is None else done + 1
        places = torch.tensor([[end - seen for end in ends]], dtype=torch.int64)
        with torch.inference_mode():
            marks, carry = self.passes.advance(tokens, carry, places)
        opinion = None if marks is None else form_opinion(marks, [ends], self._config, 1)
        return opinion, carry

    def _ends(self, done: int, length: int, last: bool) -> list[int]:
        """After how many bases, of those past `done`, there is a verdict."""
        step = self.judging.every
        ends = [] if step is None else list(range((done // step + 1) * step, length + 1, step))
        return [*ends, length] if last and ends[-1:] != [length] else ends

    def _is_unlike(self, nats_per_base: float, bases: int) -> bool:
        return nats_per_base > self._unlike_above(max(1, bases))


class _Counted:
    """Blocks, and how many tokens they had."""

    def __init__(self, blocks: Iterator[Tokens]) -> None:
        self._blocks, self._tokens = blocks, 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Tokens:
        block = next(self._blocks)
        self._tokens += len(block)
        return block

    def read_to_end(self) -> int:
        """Tokens in all; what is left is read for its length alone."""
        return sum(len(block) for block in self._blocks) + self._tokens


def _given(opinion: Opinion) -> Opinion:
    return opinion


class _Waiting:
    """Marks of the pieces of a pool, on their way from the device."""

    def __init__(self, judge: Judge, pieces: Sequence[Piece]) -> None:
        self._judge, self.pieces = judge, pieces
        self._batches: list[tuple[list[int], Callable[[], Opinion]]] = []

    def add(self, rows: list[int], opinion: Callable[[], Opinion]) -> None:
        """What is found out about the pieces of these numbers, when it is asked for."""
        self._batches.append((rows, opinion))

    def fetch(self) -> Iterator[Verdict]:
        """As `Waiting.fetch`."""
        found: list[list[tuple[Opinion, int, int]]] = [[] for _ in self.pieces]
        for rows, ask in self._batches:
            opinion = ask()
            for row, number in enumerate(rows):
                found[number] += [(opinion, row, mark) for mark in range(len(opinion.ends[row]))]
        for piece, marks in zip(self.pieces, found, strict=True):
            if not marks:
                yield self._judge.too_short(piece)
            for left, (opinion, row, mark) in zip(range(len(marks) - 1, -1, -1), marks, strict=True):
                if not left or self._judge.judging.on_the_way:
                    yield self._judge.verdict(piece, opinion, row, mark, len(piece.tokens), not left)
