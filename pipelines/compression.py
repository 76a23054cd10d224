"""The bytes of a text file, decompressed on the way: plain, gzip or bgzip, told by magic bytes; a path or stdin."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import BinaryIO, cast

from isal import igzip_lib

from dnamamba.errors import InputError
from dnamamba.pipelines.signatures import GZIP

CHUNK = 2**20
"""Bytes of text handed on at a time, about."""
_RAW_CHUNK = 2**18  # of compressed data: `unused_data` is copied once a member, and bgzip has many
_BGZIP_END_SIZE = 28
"""Bytes of the empty block that ends every whole bgzip file. Source: SAM specification 1.6, section 4.1.2."""
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16  # flags of a gzip header (RFC 1952)
_HEADER_ROOM = 2**17  # bytes: an extra field of 64 KiB, and as much again for name and comment
_GzipError = cast(type[Exception], igzip_lib.IsalError)  # isal's stubs call the class an instance


class DamagedStream(Exception):
    """Compressed data that end early or do not decompress. The reader adds file and contig."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A part of a file's text that can be read without what lies before it."""

    at: int
    """Byte of the file where reading starts; of a compressed file, where a member starts."""
    skip: int
    """Bytes of text from there to the part."""
    size: int | None
    """Bytes of text in the part; None: to the end of the file."""

    def cut(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The part's own pieces out of those of the text from `at` on."""
        skip, left = self.skip, sys.maxsize if self.size is None else self.size
        while left > 0 and (chunk := next(chunks, b"")):
            piece = chunk[skip : skip + left]
            skip, left = max(0, skip - len(chunk)), left - len(piece)
            if piece:
                yield piece


class ByteStream:
    """One pass over a file's text, or a part of it. Use it as a context manager, or close it.

    Raises:
        InputError: no such file, a folder, or one that cannot be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str], part: TextPart | None = None, *, handle: BinaryIO | None = None
    ) -> None:
        """`handle`: where the bytes come from when `path` is no file but a name for messages."""
        self.label = path_label(path)
        self._handle, self.seekable = (handle, False) if handle is not None else _open(path, self.label)
        self._part = part
        if part is not None:
            self._handle.seek(part.at)
        # What a pipe has now is enough: `read` of standard input would wait for all of it.
        self._read: Callable[[int], bytes] = getattr(self._handle, "read1", self._handle.read)
        self._ahead = b""
        self._read_bytes = 0
        self._chunks: Iterator[bytes] | None = None

    def head(self) -> bytes:
        """The first bytes as they are in the file, at least four unless it is shorter. Takes nothing away."""
        while len(self._ahead) < 512 and (more := self._read_file(4096)):
            self._ahead += more
        return self._ahead

    def chunks(self) -> Iterator[bytes]:
        """The text, in pieces of about `CHUNK` bytes, none empty, none above 2 * CHUNK.

        Raises:
            DamagedStream: after all text before the damage has been given out.
            InputError: the operating system could not read on.
        """
        if self._chunks is None:
            text = self._gathered() if self.head().startswith(GZIP) else self._plain()
            self._chunks = text if self._part is None else self._part.cut(text)
        return self._chunks

    def first_text(self) -> bytes:
        """The start of the text, decompressed, at least 512 bytes unless there are fewer. Takes nothing away.

        Raises:
            DamagedStream, InputError: as `chunks`.
        """
        chunks = self.chunks()
        parts: list[bytes] = []
        while sum(map(len, parts)) < 512 and (part := next(chunks, b"")):
            parts.append(part)
        self._chunks = chain(parts, chunks)
        return b"".join(parts)

    def close(self) -> None:
        if self._handle is not sys.stdin.buffer:
            self._handle.close()

    def __enter__(self) -> "ByteStream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _read_file(self, size: int) -> bytes:
        try:
            data = self._read(size)
        except OSError as error:
            where = f"after byte {self._read_bytes:,}"
            raise InputError(f"{self.label}: reading failed {where}: {error.strerror}") from error
        self._read_bytes += len(data)
        return data

    def _raw(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._read_file(size)

    def _plain(self) -> Iterator[bytes]:
        while data := self._raw(CHUNK):
            yield data

    def _gathered(self) -> Iterator[bytes]:
        """The text of all members, small ones put together (bgzip's hold 64 KiB)."""
        parts: list[bytes] = []
        size = 0
        members = self._members()
        while True:
            try:
                part = next(members, b"")
            except DamagedStream:
                if parts:
                    yield b"".join(parts)
                raise
            parts.append(part)
            size += len(part)
            if not part or size >= CHUNK:
                if size:
                    yield b"".join(parts)
                if not part:
                    return
                parts, size = [], 0

    def _members(self) -> Iterator[bytes]:
        bgzip = is_bgzip(self.head())
        data = self._raw(_RAW_CHUNK)
        used = 0  # bytes of the file before `data`
        ended = False  # the last member was bgzip's end marker
        while data := data or self._raw(_RAW_CHUNK):
            start = used
            while not _header_is_whole(data) and (more := self._raw(_RAW_CHUNK)):
                data += more
            if data == GZIP[:1]:
                raise DamagedStream(_truncated(used + 1))
            if not data.startswith(GZIP):
                self._check_padding(data, start)
                break
            unpacker = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            empty = True
            while not unpacker.eof:
                if unpacker.needs_input and not data and not (data := self._raw(_RAW_CHUNK)):
                    raise DamagedStream(_truncated(used))
                try:
                    text = unpacker.decompress(data, CHUNK)
                except _GzipError as error:
                    raise DamagedStream(
                        f"the gzip member that starts at byte {start:,} is damaged ({error}); fetch or copy it again"
                    ) from error
                used += len(data)
                data = b""
                if text:
                    empty = False
                    yield text
            data = unpacker.unused_data
            used -= len(data)
            ended = empty and used - start == _BGZIP_END_SIZE
        if bgzip and not ended:
            raise DamagedStream(
                f"the bgzip end marker is missing at byte {used:,}: the file is truncated between two blocks; "
                "fetch or copy it again"
            )

    def _check_padding(self, data: bytes, start: int) -> None:
        """Zeros may follow the last member (tapes, block devices); anything else is no part of the file."""
        while data:
            if data.strip(b"\0"):
                where = start + len(data) - len(data.lstrip(b"\0"))
                raise DamagedStream(
                    f"byte {where:,} starts something that is not gzip after the end of the gzip data; "
                    "remove it or fetch the file again"
                )
            start += len(data)
            data = self._raw(_RAW_CHUNK)


def _header_is_whole(data: bytes) -> bool:
    """Whether a member's header ends in `data`, or is none, or is longer than any real one.

    isal misreads one in parts: it takes a part's end for the end of the file's name, and a right checksum for a wrong.
    """
    if not data.startswith(GZIP[: len(data)]) or len(data) > _HEADER_ROOM:
        return True
    if len(data) < 10:
        return False
    flags, end = data[3], 10
    if flags & _FEXTRA:
        end += 2 + int.from_bytes(data[10:12], "little")
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            end = data.find(b"\0", end) + 1
            if not end:
                return False
    return len(data) >= end + (2 if flags & _FHCRC else 0)


def _truncated(at: int) -> str:
    return f"the gzip data end at byte {at:,} in the middle of a member: the file is truncated; fetch or copy it again"


def is_bgzip(head: bytes) -> bool:
    """Whether gzip data start with a bgzip block: an extra field "BC" of two bytes."""
    return head[:4] == b"\x1f\x8b\x08\x04" and head[12:16] == b"BC\x02\x00"


def path_label(path: str | os.PathLike[str]) -> str:
    """How messages call a source."""
    return "standard input" if os.fspath(path) == "-" else os.fspath(path)


def _open(path: str | os.PathLike[str], label: str) -> tuple[BinaryIO, bool]:
    """The handle, and whether the path can be opened a second time (a pipe cannot)."""
    if os.fspath(path) == "-":
        return sys.stdin.buffer, False
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{label}: is a folder; give a FASTA or 2bit file")
        return open(path, "rb", buffering=0), stat.S_ISREG(mode)
    except FileNotFoundError as error:
        raise InputError(f"{label}: no such file") from error
    except OSError as error:
        raise InputError(f"{label}: cannot be opened: {error.strerror}") from error
