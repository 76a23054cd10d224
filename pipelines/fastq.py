"""FASTQ, plain, gzip or bgzip: read after read, in the memory of one read; letters on one line or on several."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream, DamagedStream
from dnamamba.pipelines.letters import LetterError, LetterRules

LONGEST_LINE = 2**28
"""Bytes of a line that are read: the longest reads have some million letters."""


class FastqRead:
    """One read. Its qualities are checked in number and not kept."""

    __slots__ = ("_letters", "description", "length", "name", "unknown")

    def __init__(self, name: str, description: str, letters: bytes, unknown: int) -> None:
        self.name = name
        self.description = description
        self.length = len(letters)
        self.unknown = unknown
        """Letters that are no nucleotide code and were read as N."""
        self._letters = letters

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """The sequence as one read-only uint8 array; none for a read without bases."""
        if self._letters:
            yield np.frombuffer(self._letters, np.uint8)


class FastqFile:
    """A FASTQ file; can be read once.

    Args:
        stream: an open pass over it, which is closed at the end.
        rules: which letters are kept, dropped, replaced or refused.

    Source: Cock et al., The Sanger FASTQ file format, Nucleic Acids Research 38 (2010).
    """

    format: Literal["fastq"] = "fastq"

    def __init__(self, stream: ByteStream, rules: LetterRules) -> None:
        self.path = stream.label
        self._stream, self._rules = stream, rules
        self._record = self._line = 0

    def contigs(self) -> Iterator[FastqRead]:
        """The reads in file order.

        Raises:
            InputError: while it runs, at the first record that is no FASTQ, or where compressed data are damaged.
        """
        with self._stream:
            lines = self._lines()
            for header in lines:
                self._line += 1
                if header.strip():
                    yield self._read(header, lines)

    def _read(self, header: bytes, lines: Iterator[bytes]) -> FastqRead:
        self._record += 1
        if not header.startswith(b"@"):
            raise self._fail(
                f"line {self._line:,} starts with {_shown(header)}; the header of a FASTQ record is '@' and a name"
            )
        words = header[1:].decode("utf-8", "replace").split(maxsplit=1)
        name, description = words[0] if words else "", words[1].rstrip() if len(words) > 1 else ""
        letters = self._until_plus(lines, name)
        quality = self._qualities(lines, name, len(letters))
        if quality != len(letters):
            raise self._fail(f"{len(letters):,} letters and {quality:,} qualities; want as many", name)
        try:
            text, _, unknown = self._rules.clean(letters)
        except LetterError as error:
            raise self._fail(f"base {error.index + 1:,}: {error.problem}", name) from error
        return FastqRead(name, description, text, unknown)

    def _until_plus(self, lines: Iterator[bytes], name: str) -> bytes:
        """The letters, on one line or several, and the line of "+" behind them."""
        letters = self._next(lines, name, "its letters")
        more = self._next(lines, name, "its line of '+'")
        if more.startswith(b"+"):
            return letters
        parts = [letters]
        while not more.startswith(b"+"):
            parts.append(more)
            more = self._next(lines, name, "its line of '+'")
        return b"".join(parts)

    def _qualities(self, lines: Iterator[bytes], name: str, wanted: int) -> int:
        """How many there are. A line of them may start with "@": only their number tells where the record ends."""
        if not wanted:
            line = next(lines, b"")  # may be left out at the end of the file
            self._line += 1
            return len(line.strip())
        found = len(self._next(lines, name, "its qualities"))
        while found < wanted:
            found += len(self._next(lines, name, f"{wanted - found:,} of its qualities"))
        return found

    def _next(self, lines: Iterator[bytes], name: str, wanted: str) -> bytes:
        line = next(lines, None)
        if line is None:
            raise self._fail(f"the file ends before {wanted}: it is truncated; fetch or copy it again", name)
        self._line += 1
        return line.rstrip()

    def _lines(self) -> Iterator[bytes]:
        """Lines without their ends; the last one also when nothing ends it."""
        parts: list[bytes] = []
        size = 0
        chunks = self._stream.chunks()
        while True:
            try:
                chunk = next(chunks, b"")
            except DamagedStream as error:
                raise self._fail(f"after line {self._line:,}: {error}") from error
            if not chunk:
                break
            first, *others = chunk.split(b"\n")
            parts.append(first)
            size += len(first)
            if size > LONGEST_LINE:
                raise self._fail(
                    f"line {self._line + 1:,} is longer than {LONGEST_LINE:,} bytes; are line ends missing?"
                )
            if others:
                yield b"".join(parts)
                last = others.pop()
                yield from others
                parts, size = [last], len(last)
        if size:
            yield b"".join(parts)

    def _fail(self, problem: str, name: str | None = None) -> InputError:
        which = "" if name is None else f" {name[:120]!r}"
        return InputError(f"{self.path}: record {self._record:,}{which}: {problem}")


def _shown(text: bytes) -> str:
    start = text[:40].decode("utf-8", "ignore")
    return repr(start) if start.isprintable() and start else f"the bytes {text[:8].hex(' ')}"
