"""Fetch one file: its mirrors in order, resumed where they broke, verified, and under its name only when whole."""

import errno
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from dnamamba.errors import InputError
from dnamamba.pipelines.fetch_address import url_file_name, url_label
from dnamamba.pipelines.fetch_checksums import names_of, publisher_md5
from dnamamba.pipelines.fetch_part import PartFile
from dnamamba.pipelines.fetch_reply import FetchSettings, Refused, Surroundings, Version
from dnamamba.pipelines.fetch_transfer import Began, transfer
from dnamamba.pipelines.manifest import SourceFile

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Fetched:
    """A file that is whole, as far as anybody can tell."""

    path: Path
    url: str
    """Where it is from (as labelled); "" when it was there already."""
    size: int
    """In bytes."""
    md5: str
    checked: tuple[str, ...]
    """What it was held against, such as "size" or "MD5 of the manifest"; empty when nothing is known of it."""


def fetch_file(
    file: SourceFile,
    folder: str | os.PathLike[str],
    *,
    around: Surroundings | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """Fetch one file into a folder, under the name that its first address ends with. One that is there is verified.

    Args:
        file: its mirrors, and what is known of it.
        folder: made when there is none.
        around: settings, notes and a stop signal.
        progress: called with the bytes so far and in all (None: not known).

    Raises:
        InputError: no mirror gave the file, each one's reason; another file of this name; no room.
        Stopped: the stop signal was set.
    """
    around = around or Surroundings(FetchSettings(), warn, Event())
    final = Path(folder) / url_file_name(file.urls[0])
    with _disk(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        with PartFile(final) as part:
            md5, source, checked = file.md5, "MD5 of the manifest", list[str]()
            if md5 is None and file.md5sums is not None:
                md5, source = publisher_md5(file.md5sums, names_of(file.urls), around)
                if md5 is None:
                    around.note(f"{final.name}: no checksum is known of it: {source}")
                else:
                    source = f"MD5 of {source}"
            if file.size is not None:
                checked.append("size")
            if md5 is not None:
                checked.append(source)
            if not checked:
                around.note(f"{final.name}: neither its size nor a checksum is known: nothing can be verified")
            if os.path.lexists(final):
                return _there(final, file.size, md5, tuple(checked))
            url, digest = _from_mirrors(file, part, md5, around, progress or (lambda done, total: None))
            size = part.size
            part.finish()
    return Fetched(final, url_label(url), size, digest, tuple(checked))


def _from_mirrors(
    file: SourceFile, part: PartFile, md5: str | None, around: Surroundings, progress: Callable[[int, int | None], None]
) -> tuple[str, str]:
    """Fill the part; gives back the address and the MD5."""
    problems = []
    for url in file.urls:
        label = url_label(url)
        try:
            _fill(url, part, file.size, md5 is not None, around, progress)
            digest = part.md5()
            if md5 is not None and digest != md5 and part.mixed:
                around.note(f"{label}: the MD5 is {digest} where {md5} is wanted; begun again without what was there")
                part.discard_bytes()
                _fill(url, part, file.size, True, around, progress)
                digest = part.md5()
            if md5 in (None, digest):
                return url, digest
            part.discard_bytes()
            raise Refused(f"the MD5 of what it gives is {digest}, and {md5} is wanted")
        except Refused as error:
            problems.append(f"{label}: {error}")
            if url != file.urls[-1]:
                around.note(f"{label}: {error}; trying the next mirror")
    kept = f" ({part.size:,} bytes are kept for the next try)" if part.size else ""
    raise InputError(f"{part.final}: could not be fetched{kept}: {'; '.join(problems)}")


def _fill(
    url: str,
    part: PartFile,
    size: int | None,
    vouched: bool,
    around: Surroundings,
    progress: Callable[[int, int | None], None],
) -> None:
    label = url_label(url)
    # A validator says something at its own server only; the size holds at all of them. So bytes of another mirror are
    # gone on with when a checksum vouches for the mixture, and else fetched again.
    known = part.version if part.origin == label else Version(total=part.version.total)
    if part.size and part.size == known.total and (vouched or known.tells):
        return  # the kill came before the rename
    for piece in transfer(url, around, start=part.size, known=known, size=size, vouched=vouched):
        if isinstance(piece, Began):
            part.begin(label, piece.start, piece.version)
        else:
            part.write(piece)
        progress(part.size, part.version.total)
    if size is not None and part.size != size:
        raise Refused(f"gave {part.size:,} bytes, and {size:,} are wanted")


def _there(final: Path, size: int | None, md5: str | None, checked: tuple[str, ...]) -> Fetched:
    """A file of this name that was there before: as it should be, or left alone."""
    if final.is_symlink() and not final.exists():
        raise InputError(f"{final}: is a link to nothing; remove it")
    if not final.is_file():
        raise InputError(f"{final}: is there already and is no file; remove it or choose another folder")
    found = final.stat().st_size
    if size not in (None, found):
        raise InputError(f"{final}: is there already with {found:,} bytes, and {size:,} are wanted; move it away")
    with open(final, "rb") as handle:
        digest = hashlib.file_digest(handle, "md5").hexdigest()
    if md5 not in (None, digest):
        raise InputError(f"{final}: is there already with MD5 {digest}, and {md5} is wanted; move it away")
    return Fetched(final, "", found, digest, checked)


@contextmanager
def _disk(final: Path) -> Iterator[None]:
    """What the disk refuses, as one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                f"{final}: no space left on this disk; make room and run again, it goes on there"
            ) from None
        raise InputError(f"{final}: cannot be written: {error.strerror or error}") from None


def warn(text: str) -> None:
    """The note of those who gave none."""
    warnings.warn(text, stacklevel=2)
