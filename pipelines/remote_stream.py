"""A FASTA on a server, read straight from there: broken connections taken up, digests taken on the way."""

import hashlib
import io
import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, BinaryIO, cast

from dnamamba.errors import InputError
from dnamamba.pipelines.fetch_address import url_file_name, url_label
from dnamamba.pipelines.fetch_checksums import names_of, publisher_md5
from dnamamba.pipelines.fetch_file import warn
from dnamamba.pipelines.fetch_reply import FetchSettings, Note, Refused, Surroundings, Version
from dnamamba.pipelines.fetch_transfer import Began, transfer
from dnamamba.pipelines.manifest import SourceFile
from dnamamba.pipelines.signatures import TWOBIT


class RemoteStream(os.PathLike[str]):
    """One pass over a file behind an address; `ingest` takes it in place of a path. Close it.

    Where a connection breaks, the rest is asked for. What a server sends again from the start (it gives no parts, or
    says nothing that would tell a changed file) is read again as far as it had come, and goes on only when that is the
    same, by its SHA-256. A mirror that fails in the middle hands on to the next.
    """

    def __init__(self, file: SourceFile, *, settings: FetchSettings | None = None, note: Note | None = None) -> None:
        """
        Args:
            file: mirrors in order, and what is known of it.
            settings: see `FetchSettings`.
            note: called with one line about each retry and each mirror left behind, and when nothing can be verified;
                by default these are warnings.
        """
        self.label = url_label(file.urls[0])
        self._file = file
        self._around = Surroundings(settings or FetchSettings(), note or warn, Event())
        self._md5, self._md5_from = file.md5, "the manifest"
        if file.md5 is None and file.md5sums is not None:
            self._md5, self._md5_from = publisher_md5(file.md5sums, names_of(file.urls), self._around)
        if self._md5 is None:
            only = "neither its size nor" if file.size is None else "no"
            why = f": {self._md5_from}" if file.md5sums is not None else ""
            self._around.note(f"{self.label}: {only} a checksum is known{why}; its SHA-256 is taken and stored")
        self._version, self._origin = Version(), ""
        self._sha256, self._running_md5, self._size = hashlib.sha256(), hashlib.md5(), 0
        self._pieces = self._all()
        self._ahead, self._ended = b"", False
        self.handle: BinaryIO = cast(BinaryIO, _Handle(self))
        """For who reads bytes."""

    def __fspath__(self) -> str:
        """The first address, as messages call it."""
        return self.label

    def next_piece(self) -> bytes:
        """The next bytes, b"" at the end.

        Raises:
            InputError: no mirror gives the rest, or what came is not the file that is wanted. At the end at the latest.
        """
        if self._ahead:
            piece, self._ahead = self._ahead, b""
            return piece
        first = not self._size
        piece = next(self._pieces, b"")
        if first and piece.startswith(TWOBIT):
            raise InputError(
                f"{self.label}: holds 2bit data, which cannot be streamed: its contigs lie behind their index, in any"
                " order. Leave --stream out, or give the FASTA"
            )
        return piece

    @property
    def identity(self) -> dict[str, Any] | None:
        """What tells that the file is still the same; None when its server says nothing of the kind."""
        if not self._size:
            self._ahead = self.next_piece()
        if not self._version.tells:
            return None
        version = self._version
        name = url_file_name(self._file.urls[0])
        return {"name": name, "size": version.total, "etag": version.etag, "modified": version.modified}

    def start_digest(self, pool: ThreadPoolExecutor) -> None:
        """Nothing to start: the digest is taken while the bases are read."""

    def attributes(self) -> dict[str, Any]:
        """Name, size and SHA-256, for the store; what was not read yet is read.

        Raises:
            InputError: as `next_piece`.
        """
        while not self._ended and self.next_piece():
            pass
        assert self._ended, "an error was passed over"
        name = url_file_name(self._file.urls[0])
        return {"name": name, "size": self._size, "sha256": self._sha256.hexdigest()}

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it is from and what it was held against, for the store."""
        return {"url": self.label, "md5": self._md5, "md5_from": self._md5_from if self._md5 else None}

    def close(self) -> None:
        """Leave the server."""
        self._pieces.close()

    def _all(self) -> Generator[bytes, None, None]:
        problems = []
        for url in self._file.urls:
            label = url_label(url)
            try:
                yield from self._from(url)
            except Refused as error:
                problems.append(f"{label}: {error}")
                if url != self._file.urls[-1]:
                    self._around.note(f"{label}: {error}; trying the next mirror")
            else:
                self._check()
                self._ended = True
                return
        raise InputError(f"could not be streamed: {'; '.join(problems)}")

    def _from(self, url: str) -> Iterator[bytes]:
        """The bytes after those that have come."""
        known = self._version if self._origin == url else Version(total=self._version.total)
        again, old = hashlib.sha256(), 0  # of what is read a second time: digest, and bytes still to come
        for piece in transfer(
            url, self._around, start=self._size, known=known, size=self._file.size, vouched=self._md5 is not None
        ):
            if isinstance(piece, Began):
                self._version, self._origin = piece.version, url
                if piece.start == 0:
                    again, old = hashlib.sha256(), self._size
                continue
            if old:
                again.update(piece[:old])
                piece, old = piece[old:], max(old - len(piece), 0)
                if not old and again.digest() != self._sha256.digest():
                    raise self._changed()
            if piece:
                self._sha256.update(piece)
                self._running_md5.update(piece)
                self._size += len(piece)
                yield piece
        if old:
            raise self._changed()

    def _changed(self) -> InputError:
        return InputError(
            f"{self.label}: is not the same file any more after {self._size:,} bytes; ingest it again from the start"
        )

    def _check(self) -> None:
        if self._file.size not in (None, self._size):
            raise InputError(f"{self.label}: gave {self._size:,} bytes, and {self._file.size:,} are wanted")
        digest = self._running_md5.hexdigest()
        if self._md5 not in (None, digest):
            raise InputError(
                f"{self.label}: the MD5 of what came is {digest}, and {self._md5} is wanted ({self._md5_from}); nothing"
                " of it is kept. Without --stream every mirror is tried"
            )


class _Handle(io.RawIOBase):
    """The bytes of a stream, as files give them."""

    def __init__(self, stream: RemoteStream) -> None:
        self._stream, self._rest = stream, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as one piece goes; 0 at the end."""
        if not self._rest:
            self._rest = memoryview(self._stream.next_piece())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
