"""Files that are there whole or not at all, and outlast a power cut."""

import os
from pathlib import Path


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
