"""A file while it is fetched: NAME.part with the bytes so far, NAME.part.json with what they belong to."""

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dnamamba.errors import InputError
from dnamamba.pipelines.fetch_reply import Version
from dnamamba.pipelines.store_lock import sync_folder

RESERVE = 2**28
"""Bytes of a disk that a file of unknown size leaves free."""
_LOOK_EVERY = 2**24  # bytes between two looks at the disk


class PartFile:
    """Holds the right to fetch one file, as long as it is open. Use it as a context manager."""

    def __init__(self, final: Path) -> None:
        """
        Raises:
            InputError: another process fetches this file.
            OSError: the folder cannot be written.
        """
        self.final = final
        self._path = final.with_name(f"{final.name}.part")
        self._state_path = final.with_name(f"{final.name}.part.json")
        self._handle = _locked(self._path)
        self.size = os.fstat(self._handle).st_size
        """Bytes so far."""
        self.origin, self.version = self._state()
        """Address (as labelled) and version that the bytes belong to; "" and nothing known without a state."""
        self.mixed = self.size > 0
        """Whether bytes are in it that this process did not fetch from `origin`."""
        self._next_look = 0
        self._finished = False
        if not self.origin or (self.version.total is not None and self.size > self.version.total):
            self.discard_bytes()

    def begin(self, origin: str, start: int, version: Version) -> None:
        """Go on at byte `start`, of `version`; what lies behind it goes."""
        if start < self.size:
            os.ftruncate(self._handle, start)
        self.mixed = start > 0 and (self.mixed or origin != self.origin)
        self.origin, self.size, self.version = origin, start, version
        state: dict[str, Any] = {"origin": origin, "etag": version.etag, "modified": version.modified}
        aside = self._state_path.with_name(f"{self._state_path.name}.new")
        aside.write_text(json.dumps({**state, "total": version.total}))
        os.replace(aside, self._state_path)  # bytes without their state are not gone on with
        self._check_room()
        self._next_look = self.size + _LOOK_EVERY

    def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            InputError: no size is known, and the disk is nearly full.
            OSError: the disk is full.
        """
        left = memoryview(piece)
        while left:
            written = os.pwrite(self._handle, left, self.size)
            self.size, left = self.size + written, left[written:]
        if self.size >= self._next_look:
            self._check_room()
            self._next_look = self.size + _LOOK_EVERY

    def _check_room(self) -> None:
        free, total = shutil.disk_usage(self._path.parent).free, self.version.total
        if total is not None and total - self.size > free:
            raise InputError(
                f"{self.final}: {total - self.size:,} bytes are still to come, and this disk has {free:,} left;"
                " make room or choose another folder"
            )
        if total is None and free < RESERVE:
            raise InputError(
                f"{self.final}: the server does not say how large the file is; {self.size:,} bytes came, and this disk"
                f" has {free:,} left: stopped there"
            )

    def md5(self) -> str:
        """MD5 of the bytes so far."""
        with open(self._path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()

    def finish(self) -> None:
        """Give the file its name, on the disk for good."""
        os.fsync(self._handle)
        os.replace(self._path, self.final)
        self._finished = True
        with suppress(FileNotFoundError):
            self._state_path.unlink()
        sync_folder(self.final.parent)

    def discard_bytes(self) -> None:
        """Begin at nothing."""
        os.ftruncate(self._handle, 0)
        self.origin, self.size, self.version, self.mixed = "", 0, Version(), False
        with suppress(FileNotFoundError):
            self._state_path.unlink()

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self.size and not self._finished:  # nothing to go on with; a finished part may be another process's now
            for path in (self._state_path, self._path):
                with suppress(FileNotFoundError):
                    path.unlink()
        os.close(self._handle)

    def _state(self) -> tuple[str, Version]:
        try:
            state = json.loads(self._state_path.read_bytes())
            texts = [state[key] for key in ("etag", "modified")]
            total, origin = state["total"], state["origin"]
        except (OSError, ValueError, KeyError, TypeError):
            return "", Version()
        if not all(text is None or isinstance(text, str) for text in texts) or not isinstance(origin, str):
            return "", Version()
        if total is not None and (type(total) is not int or total < 0):
            return "", Version()
        return origin, Version(texts[0], texts[1], total)


def _locked(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino == os.stat(path).st_ino:
                return handle
        except BlockingIOError:
            os.close(handle)
            raise InputError(f"{path}: another process fetches this file; wait for it, or stop it") from None
        except FileNotFoundError:  # finished, and so renamed, between open and lock
            pass
        os.close(handle)
