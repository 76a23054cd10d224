"""FASTA, plain, gzip or bgzip: contig after contig, in bounded memory whatever the length of its lines."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream, DamagedStream, path_label
from dnamamba.pipelines.letters import BLANKS, LetterError, LetterRules
from dnamamba.pipelines.seen_names import SeenNames
from dnamamba.pipelines.signatures import GZIP, foreign_format

Names = Literal["first-word", "full"]

MAX_HEADER = 2**16
"""Longest header line that is read, in bytes: the longest real ones are some hundred."""
_SHOWN_NAME = 120  # letters of a name in a message; of a longer one, its start
_LINE_ENDS = b"\r\n"
_NOT_BLANK = re.compile(rb"[^ \t\r\n\v\f]")
_BOM = b"\xef\xbb\xbf"


class SharedFirstWord(InputError):
    """Two records have their first word in common and not their headers: full names would tell them apart."""


class FastaFile:
    """A FASTA file, opened anew by every `contigs()`.

    Args:
        path: the file, or "-" for standard input.
        names: a contig's name is the header's "first-word", or the "full" header.
        rules: which letters are kept, dropped, replaced or refused.
        repeats: a name may come again, as among reads; else it is an error, as in a genome.
        stream: an open pass over `path` that the first `contigs()` uses: a pipe cannot be opened twice.
    """

    format: Literal["fasta"] = "fasta"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        names: Names = "first-word",
        rules: LetterRules | None = None,
        repeats: bool = False,
        stream: ByteStream | None = None,
    ) -> None:
        if names not in ("first-word", "full"):
            raise ValueError(f'names must be "first-word" or "full", got {names!r}')
        self.path = os.fspath(path)
        self._names: Names = names
        self._rules = rules or LetterRules()
        self._repeats = repeats
        self._stream = stream
        self._pipe = stream is not None and not stream.seekable

    def contigs(self) -> Iterator["FastaContig"]:
        """The contigs in file order. Each must be read, or left, before the next is asked for.

        Raises:
            InputError: while it runs, at the first thing that is no FASTA; what is left of a contig is checked too.
        """
        if self._stream is None and self._pipe:
            raise InputError(f"{path_label(self.path)}: is a pipe and can be read only once; give a file")
        stream, self._stream = self._stream or ByteStream(self.path), None
        with stream:
            yield from _Reader(stream, self._names, self._rules, self._repeats).contigs()


class FastaContig:
    """One contig of a FASTA file, while the file is being read."""

    length: None = None
    """Not known before the contig has been read."""

    def __init__(
        self, name: str, description: str, at: int, blocks: Iterator[NDArray[np.uint8]], where: "_Where"
    ) -> None:
        self.name = name
        """First word of the header, or all of it."""
        self.description = description
        """The rest of the header."""
        self.at = at
        """Where its header starts, in bytes of the text."""
        self._blocks: Iterator[NDArray[np.uint8]] | None = blocks
        self._where = where

    @property
    def unknown(self) -> int:
        """Letters, of those read so far, that are no nucleotide code and were read as N."""
        return self._where.unknown

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """The sequence as read-only uint8 arrays [at most 2 MiB], none empty; a contig without bases gives none.

        Raises:
            InputError: a letter that cannot be kept, or damaged compression.
            RuntimeError: the blocks were asked for before, or the next contig has been.
        """
        if self._blocks is None:
            raise RuntimeError(f"contig {self.name!r}: a FASTA stream has passed it; read blocks() once, in order")
        blocks, self._blocks = self._blocks, None
        return blocks

    def _pass(self) -> None:
        self._blocks = None


@dataclass
class _Where:
    """What messages say about the place."""

    record: int = 0
    name: str | None = None
    letters: int = 0
    """Letters of the contig that lie before the text at hand."""
    unknown: int = 0
    """Those of them that were read as N because they are no nucleotide code."""


class _Reader:
    """One pass over the text. `_text[_at:]` has been read from the stream and not used yet."""

    def __init__(self, stream: ByteStream, names: Names, rules: LetterRules, repeats: bool) -> None:
        self._stream = stream
        self._names = names
        self._rules = rules
        self._chunks = stream.chunks()
        self._text = b""
        self._at = 0
        self._before = 0  # bytes of text before _text
        self._next: dict[bytes, int] = {}  # of each sign, the place in _text that was found last
        self._line_start = True
        self._where = _Where()
        self._seen = None if repeats else SeenNames()

    def contigs(self) -> Iterator[FastaContig]:
        self._find_first_header()
        while self._more():
            at = self._before + self._at
            header = self._header()
            name, description = self._split(header)
            blocks = self._blocks()
            contig = FastaContig(name, description, at, blocks, self._where)
            yield contig
            contig._pass()
            for _ in blocks:  # what was not asked for is still checked
                pass

    def _fail(self, problem: str) -> InputError:
        if self._where.record == 0:
            return InputError(f"{self._stream.label}: {problem}")
        if self._where.name is None:
            return InputError(f"{self._stream.label}: record {self._where.record:,}: {problem}")
        shown = _shown(self._where.name.encode()) if len(self._where.name) > _SHOWN_NAME else repr(self._where.name)
        return InputError(f"{self._stream.label}: contig {shown}: {problem}")

    def _more(self) -> bool:
        """Whether there is text; fetches a chunk when the last one is used up."""
        if self._at < len(self._text):
            return True
        self._before += len(self._text)
        try:
            self._text = next(self._chunks, b"")
        except DamagedStream as error:
            place = f"after base {self._where.letters:,}: " if self._where.name is not None else ""
            raise self._fail(f"{place}{error}") from error
        self._at = 0
        self._next = {}
        return bool(self._text)

    def _find_first_header(self) -> None:
        """Skip what may stand before the first header: a byte order mark, blank lines, comments."""
        if not self._more():
            raise self._fail("is empty; a FASTA or 2bit file is wanted")
        _refuse_foreign(self._text, self._stream.label)
        self._at = len(_BOM) if self._text.startswith(_BOM) else 0
        while self._more():
            letter = _NOT_BLANK.search(self._text, self._at)
            begin = letter.start() if letter else len(self._text)
            if begin > self._at:
                self._line_start = self._text[begin - 1] in _LINE_ENDS
                self._at = begin
            elif self._line_start and self._text[begin] == ord(";"):
                self._skip_line()
            elif self._line_start and self._text[begin] == ord(">"):
                return
            else:
                raise self._fail(
                    f"the first line starts with {_shown(self._text[begin:].splitlines()[0])}; FASTA starts with "
                    "'>' and a name. To read a sequence without header, put '>name' on a line before it"
                )
        raise self._fail("holds no sequence; a FASTA or 2bit file is wanted")

    def _line(self) -> Iterator[bytes]:
        """The rest of the current line in pieces, without the line end."""
        while self._more():
            end = min(self._find(b"\n", self._at), self._find(b"\r", self._at))
            piece = self._text[self._at : end]
            ended = end < len(self._text)
            self._at = end + ended
            yield piece
            if ended:
                break
        self._line_start = True

    def _skip_line(self) -> None:
        for _ in self._line():
            pass

    def _header(self) -> bytes:
        self._where = _Where(self._where.record + 1)
        header = b""
        for piece in self._line():
            header += piece
            if len(header) > MAX_HEADER:
                raise self._fail(
                    f"the header line is longer than {MAX_HEADER:,} bytes: {_shown(header)}; are line ends missing?"
                )
        return header[1:].strip(BLANKS)

    def _split(self, header: bytes) -> tuple[str, str]:
        """Name and description; the name is new, printable and not empty."""
        try:
            text = header.decode("utf-8")
            # Cut as bytes: str.split would also cut at blanks of other scripts.
            words = [word.decode("utf-8") for word in header.split(maxsplit=1)]
        except UnicodeDecodeError as error:
            raise self._fail(
                f"the header is not UTF-8: {_shown(header)}; convert the file (iconv -f latin1 -t utf-8)"
            ) from error
        if not words:
            raise self._fail("the header has no name: '>' is followed by nothing; put a name there")
        name, description = (text, "") if self._names == "full" else (words[0], "".join(words[1:]))
        if not name.isprintable():
            raise self._fail(f"the name holds control characters: {_shown(header)}; correct the header")
        self._where.name = name
        if self._seen is not None:
            self._note(self._seen, name, text)
        return name, description

    def _note(self, seen: SeenNames, name: str, text: str) -> None:
        """Refuse a name that was there before."""
        before, same = seen.first(name, text, self._where.record)
        if before != self._where.record:
            told = f"the name of record {self._where.record:,} is that of record {before:,} too"
            if same:
                raise self._fail(f"{told}; rename one")
            raise SharedFirstWord(str(self._fail(f"{told}; --names full tells them apart by their full headers")))

    def _blocks(self) -> Iterator[NDArray[np.uint8]]:
        for raw in self._sequence():
            try:
                text, letters, unknown = self._rules.clean(raw)
            except LetterError as error:
                base = self._where.letters + len(raw[: error.index].translate(None, BLANKS)) + 1
                raise self._fail(f"base {base:,}: {error.problem}") from error
            self._where.letters += letters
            self._where.unknown += unknown
            if text:
                yield np.frombuffer(text, np.uint8)

    def _sequence(self) -> Iterator[bytes]:
        """The raw lines up to the next header or the end, in pieces; comments left out."""
        while self._more():
            if self._line_start and self._text[self._at] in b">;":
                if self._text[self._at] == ord(">"):
                    return
                self._skip_line()
                continue
            end = min(self._at_line_start(b">"), self._at_line_start(b";"))
            piece = self._text[self._at : end]
            self._at = end
            self._line_start = piece[-1] in _LINE_ENDS
            yield piece

    def _at_line_start(self, sign: bytes) -> int:
        """Index of the first `sign` after _at that follows a line end; the length of the text if there is none."""
        found = self._find(sign, self._at + 1)
        while found < len(self._text) and self._text[found - 1] not in _LINE_ENDS:
            found = self._find(sign, found + 1)
        return found

    def _find(self, sign: bytes, start: int) -> int:
        """Index of the first `sign` from `start`; the length of the text if there is none.

        It is kept: a search to the chunk's end for each of many short records would be quadratic.
        """
        found = self._next.get(sign, -1)
        if found < start:
            found = self._text.find(sign, start)
            found = self._next[sign] = found if found >= 0 else len(self._text)
        return found


def _shown(text: bytes) -> str:
    """The start of a line, fit for a message: characters, or bytes in hexadecimal when it is no text."""
    start = text[:40].decode("utf-8", "ignore")
    if not start or not start.replace("\t", " ").isprintable():
        return f"the bytes {text[:8].hex(' ')}"
    return repr(start) + ("..." if len(text) > 40 else "")


def _refuse_foreign(head: bytes, label: str) -> None:
    foreign = foreign_format(head[:512])
    if foreign:
        raise InputError(f"{label}: holds {foreign[0]}; {foreign[1]}. A FASTA or 2bit file is wanted")


def check_fasta(stream: ByteStream) -> None:
    """Refuse at once what is empty or a known other format. Takes nothing away from `stream`.

    Raises:
        InputError: as `FastaFile.contigs` would.
    """
    head = stream.head()
    if not head:
        raise InputError(f"{stream.label}: is empty; a FASTA or 2bit file is wanted")
    if not head.startswith(GZIP):
        _refuse_foreign(head, stream.label)
