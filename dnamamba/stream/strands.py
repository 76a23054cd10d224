"""The other strand of a sequence that is longer than memory should hold: read backwards, from the source or a spool."""

import tempfile
from collections.abc import Iterator

import numpy as np

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.stream.pieces import LongPiece, ReadTokens, Tokens

IN_MEMORY = 2**24
"""Bytes of a spool that stay in memory; what is longer goes to a temporary file, one byte a base."""


class Spool:
    """Tokens kept while they pass, to be read again in any order. Closed, nothing is left."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  (closed by close)
        self.length = 0

    def add(self, tokens: Tokens) -> None:
        """Append.

        Raises:
            InputError: the disk is full.
        """
        try:
            self._file.write(tokens.tobytes())
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()}: the other strand of a long sequence is kept here and {error.strerror}; set "
                "TMPDIR to a folder with a byte for each base, or take --strands forward"
            ) from error
        self.length += len(tokens)

    def read(self, start: int, end: int) -> Tokens:
        """Tokens [start, end)."""
        self._file.seek(start)
        return np.frombuffer(self._file.read(end - start), np.uint8)

    def close(self) -> None:
        self._file.close()


class BothWays:
    """A long piece to be read forward, then as the other strand.

    A source with random access (2bit, a store, what is in memory) is read again from its end; a stream is spooled. A
    context manager.
    """

    def __init__(self, piece: LongPiece, alphabet: Alphabet) -> None:
        self._piece, self._alphabet = piece, alphabet
        self._spool = None if piece.read is not None else Spool()

    def __enter__(self) -> "BothWays":
        return self

    def __exit__(self, *error: object) -> None:
        if self._spool is not None:
            self._spool.close()

    def forward(self) -> Iterator[Tokens]:
        """The piece's blocks."""
        for block in self._piece.blocks:
            if self._spool is not None:
                self._spool.add(block)
            yield block

    def reverse(self, size: int) -> Iterator[Tokens]:
        """Blocks of the reverse complement, `size` tokens each; after `forward` has been read to its end."""
        if self._spool is not None:
            return reverse_blocks(self._spool.read, self._spool.length, self._alphabet, size)
        assert self._piece.read is not None
        assert self._piece.length is not None
        return reverse_blocks(self._piece.read, self._piece.length, self._alphabet, size)


def reverse_blocks(read: ReadTokens, length: int, alphabet: Alphabet, size: int) -> Iterator[Tokens]:
    """The reverse complement of `length` tokens in blocks of `size`, the last one shorter."""
    for end in range(length, 0, -size):
        yield alphabet.reverse_complement(read(max(0, end - size), end))
