"""Who may write an assembly, and how a finished one becomes visible: a lock per assembly, and one rename."""

import ctypes
import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dnamamba.errors import InputError
from dnamamba.pipelines.store_format import ASIDE

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_TRIES = 100


class Workplace:
    """The folders of one assembly while its lock is held."""

    def __init__(self, store: Path, assembly: str) -> None:
        self.store = store
        self.final = store / assembly
        """Where readers see it."""
        self.folder = store / ASIDE / assembly
        self.new = self.folder / "new"
        """Where it is made."""
        self._old = self.folder / "old"

    def recover(self) -> None:
        """Bring back an assembly that a kill caught between the two renames of `publish`."""
        if self._old.exists():
            if self.final.exists():
                shutil.rmtree(self._old)
            else:
                os.rename(self._old, self.final)

    def publish(self) -> None:
        """Make the new assembly visible; one that was there before goes. On Linux this is one step in every case."""
        if not self.final.exists():
            os.rename(self.new, self.final)
        elif not _exchange(self.new, self.final):
            os.rename(self.final, self._old)
            os.rename(self.new, self.final)
        sync_folder(self.final.parent)
        self.clear()

    def clear(self) -> None:
        """Remove what was made and not published."""
        shutil.rmtree(self.new, ignore_errors=True)
        shutil.rmtree(self._old, ignore_errors=True)


@contextmanager
def assembly_lock(store: Path, assembly: str) -> Iterator[Workplace]:
    """Hold the right to write one assembly. The kernel takes it back from a process that dies.

    Raises:
        InputError: another process holds it, or the file system cannot lock.
    """
    place = Workplace(store, assembly)
    lock = _acquire(place.folder / "lock", f"{store}: assembly {assembly!r}")
    try:
        place.recover()
        yield place
    finally:
        if not place.new.exists():  # else it waits for --resume, and the folder stays
            with suppress(OSError):
                (place.folder / "lock").unlink()
            for folder in (place.folder, place.folder.parent):
                with suppress(OSError):  # another assembly may be in the making
                    folder.rmdir()
        os.close(lock)


def _acquire(path: Path, what: str) -> int:
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the holder before us has just removed the folder
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino == path.stat().st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return handle
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
            os.close(handle)
            raise InputError(f"{what} is being written by {holder}; wait for it, or stop it") from None
        except FileNotFoundError:  # removed between open and lock: this handle locks nothing
            pass
        except OSError as error:
            os.close(handle)
            raise InputError(f"{what}: this file system cannot lock files ({error.strerror})") from None
        os.close(handle)
    raise InputError(f"{what}: other processes keep taking the lock; run again")


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step. False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
