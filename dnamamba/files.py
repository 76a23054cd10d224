"""Files that are there whole or not at all, and outlast a power cut."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def sync(path: Path) -> None:
    """Wait until a file's data, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is never there in part."""
    aside = path.with_name(f".{path.name}.writing")
    aside.write_text(text, encoding="utf-8")
    sync(aside)
    aside.replace(path)


@contextmanager
def opened_whole(out: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that appears by one rename at the end, not at all after an error; "-" is standard output."""
    if os.fspath(out) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(out)
    aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            yield file
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
