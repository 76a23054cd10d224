"""From sequences to the pieces a model reads from their start: whole sequences, or the windows of a sequence."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.pipelines.sequence_files import RandomAccess, SequenceStream

Tokens = NDArray[np.uint8]
ReadTokens = Callable[[int, int], Tokens]
Progress = Callable[[str, int, int | None], None]


@dataclass(slots=True)
class Piece:
    """A piece that fits into a batch."""

    name: str
    start: int
    """Its first base in the sequence, 0-based."""
    tokens: Tokens
    unknown: int
    """Letters that are no nucleotide code and were read as N; of a window, of the sequence up to here."""
    source: str = ""
    """File it comes from."""

    @property
    def length(self) -> int:
        return len(self.tokens)


@dataclass(slots=True)
class LongPiece:
    """A piece longer than a batch: its tokens come block by block, once."""

    name: str
    start: int
    blocks: Iterator[Tokens]
    read: ReadTokens | None
    """Tokens [start, end) of the piece, where any part can be had; its length is `length` then."""
    length: int | None
    stream: SequenceStream = field(repr=False)
    source: str = ""

    @property
    def unknown(self) -> int:
        """As `Piece.unknown`, of what has been read."""
        return self.stream.unknown


class PieceCutter:
    """Cuts sequences into pieces.

    Args:
        alphabet: the model's.
        limit: pieces of more bases than this are `LongPiece`.
        window: bases of a window; None takes every sequence whole. The last window of a sequence may be shorter, and
            one without bases has an empty one.
        progress: is told the sequence, the bases so far, and None for the bases in all.
    """

    def __init__(
        self, alphabet: Alphabet, limit: int, window: int | None = None, progress: Progress | None = None
    ) -> None:
        self._table = alphabet.table.tobytes()
        self._limit, self._window, self._progress = limit, window, progress
        self.bases = 0
        """Bases of all sequences so far."""

    def pieces(self, sequence: SequenceStream, source: str = "") -> Iterator[Piece | LongPiece]:
        """The pieces of one sequence. Each must be read, or left, before the next is asked for.

        Raises:
            InputError: while the sequence is read.
        """
        blocks = self.tokens(sequence)
        if self._window is None:
            yield self._piece(sequence, source, 0, blocks)
            return
        supply, start = _Supply(blocks), 0
        while supply.more() or not start:  # a sequence without bases is one empty window, as it is one piece
            piece = self._piece(sequence, source, start, supply.take(self._window), self._window)
            yield piece
            if isinstance(piece, LongPiece):
                for _ in piece.blocks:
                    pass
            start += self._window

    def tokens(self, sequence: SequenceStream) -> Iterator[Tokens]:
        """All tokens of a sequence, in the blocks it comes in."""
        for block in sequence.blocks():
            self.bases += len(block)
            if self._progress is not None:
                self._progress(sequence.name, self.bases, None)
            # bytes.translate is five times as fast as an index into the table.
            yield np.frombuffer(block.tobytes().translate(self._table), np.uint8)

    def _piece(
        self, sequence: SequenceStream, source: str, start: int, blocks: Iterator[Tokens], window: int | None = None
    ) -> Piece | LongPiece:
        parts: list[Tokens] = []
        size = 0
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size > self._limit:
                return self._long(sequence, source, start, parts, blocks, window)
        tokens = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.uint8)
        return Piece(sequence.name, start, tokens, sequence.unknown, source)

    def _long(
        self, sequence: SequenceStream, source: str, start: int, parts: list[Tokens], rest: Iterator[Tokens],
        window: int | None,
    ) -> LongPiece:  # fmt: skip
        def all_blocks() -> Iterator[Tokens]:
            while parts:
                yield parts.pop(0)
            yield from rest

        read, length = None, None
        if isinstance(sequence, RandomAccess):
            whole: RandomAccess = sequence
            length = whole.length - start if window is None else min(window, whole.length - start)

            def read(first: int, last: int) -> Tokens:
                letters = whole.read(start + first, start + last)
                return np.frombuffer(letters.tobytes().translate(self._table), np.uint8)

        return LongPiece(sequence.name, start, all_blocks(), read, length, sequence, source)


class _Supply:
    """Blocks that are taken in other sizes than they come."""

    def __init__(self, blocks: Iterator[Tokens]) -> None:
        self._blocks = blocks
        self._rest: Tokens = np.empty(0, np.uint8)

    def more(self) -> bool:
        while not len(self._rest):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._rest = block
        return True

    def take(self, size: int) -> Iterator[Tokens]:
        """The next `size` tokens, fewer at the end, in the pieces they come in."""
        while size and self.more():
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part


def rechunk(blocks: Iterator[Tokens], size: int, *, ahead: bool = True) -> Iterator[tuple[Tokens, bool]]:
    """The same tokens in chunks of `size`, the last one shorter, each with whether it is the last.

    So the bits that a model gives do not depend on the blocks a file happens to come in.

    Args:
        blocks: none empty.
        size: of a chunk.
        ahead: look whether more comes before a chunk is given out. Without it the last chunk is known as such only when
            it is shorter than `size`.
    """
    supply = _Supply(blocks)
    while supply.more():
        parts = list(supply.take(size))
        chunk = parts[0] if len(parts) == 1 else np.concatenate(parts)
        yield chunk, not supply.more() if ahead else len(chunk) < size
