"""Files that are there whole or not at all, and outlast a power cut."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dnamamba.errors import InputError


def sync(path: Path) -> None:
    """Wait until a file's data, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is never there in part."""
    aside = _hidden(path)
    try:
        aside.write_text(text, encoding="utf-8")
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def check_output(out: str | os.PathLike[str], inputs: Sequence[str | os.PathLike[str]] = ()) -> None:
    """What can be known before the work that an output is of. The folder of a file is made.

    Args:
        out: path of a file; "-" is standard output.
        inputs: what is read, paths or "-".

    Raises:
        InputError: as `beside`, or it is one of the inputs.
    """
    if os.fspath(out) == "-":
        return
    if any(os.path.exists(out) and os.path.exists(one) and os.path.samefile(one, out) for one in inputs):
        raise InputError(f"{os.fspath(out)}: is what is read; write to another file")
    beside(Path(out))


def beside(path: Path, end: str = "") -> Path:
    """Where a file is written until it is whole: hidden in its folder, which is made, under a name of this process.

    Args:
        path: of the file.
        end: of the name.

    Raises:
        InputError: a folder or a device stands there, or the file's own folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: its folder cannot be made: {error.strerror}") from None
    if path.is_dir():
        raise InputError(f"{path}: is a folder; want the name of a file")
    if path.exists() and not path.is_file():  # the rename would put a file in the place of /dev/null
        raise InputError(f"{path}: is no ordinary file, which is what appears whole; - is standard output")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: its folder cannot be written to")
    return _hidden(path, end)


def _hidden(path: Path, end: str = "") -> Path:
    return path.parent / f".{path.name}.writing-{os.getpid()}{end}"


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A folder to write into until it, or what is in it, is whole and renamed; what is left at the end is removed.

    It stands as `beside` says, and the parents of `path` are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _hidden(path)
    shutil.rmtree(aside, ignore_errors=True)  # of a process of the same number that was killed
    try:
        aside.mkdir()
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def opened_whole(out: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that appears by one rename at the end, not at all after an error; "-" is standard output.

    Raises:
        InputError: as `beside`.
    """
    if os.fspath(out) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(out)
    aside = beside(path)
    try:
        with open(aside, "wb") as file:
            yield file
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
