"""One address, however often the connection breaks: the bytes in order, with waits that grow and an end to patience."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from dnamamba.pipelines.fetch_address import HTTP, url_label
from dnamamba.pipelines.fetch_http import open_http
from dnamamba.pipelines.fetch_object import open_object
from dnamamba.pipelines.fetch_reply import BrokenOff, Refused, Reply, StartAgain, Stopped, Surroundings, Version

_PROGRESS = 2**20  # bytes past the best place so far that make a try count as a success


@dataclass(frozen=True)
class Began:
    """A connection stands; the pieces after this one are the file from byte `start` on."""

    start: int
    version: Version


def transfer(
    url: str,
    around: Surroundings,
    *,
    start: int = 0,
    known: Version | None = None,
    size: int | None = None,
    vouched: bool = False,
) -> Iterator[Began | bytes]:
    """Bring a file, taking up broken connections where they broke.

    Args:
        url: a checked address.
        around: settings, where notes go, and the stop signal.
        start: bytes that are there already.
        known: what these belong to.
        size: of the file, in bytes, where it is known from elsewhere.
        vouched: a checksum will be tested at the end. Without it, the rest of a file is asked for only when the server
            says something that would tell a changed file; else the file is begun again.

    Yields:
        `Began`, then pieces; after each break `Began` again, whose start is the byte after the last piece, or 0.

    Raises:
        Refused: the address cannot give the file, or was tried `settings.tries` times in a row without coming further.
        Stopped: the stop signal was set.
    """
    known, position, best, failures = known or Version(), start, start, 0
    while True:
        if position and not (vouched or known.tells):
            position = 0
        try:
            reply = _open(url, position, known, around)
            try:
                known = _joined(reply, known, size)
                position = reply.start
                yield Began(position, known)
                while piece := reply.read():
                    position += len(piece)
                    if known.total is not None and position > known.total:
                        raise Refused(f"sends more than the {known.total:,} bytes that are wanted")
                    yield piece
                    if around.stop.is_set():
                        raise Stopped
                    if position >= best + _PROGRESS:
                        best, failures = position, 0
            finally:
                reply.close()
            if known.total is None or position == known.total:
                return
            raise BrokenOff(f"the connection ended after {position:,} of {known.total:,} bytes")
        except BrokenOff as error:
            best = max(best, position)
            if isinstance(error, StartAgain):
                position, known = 0, Version()
            failures += 1
            if failures >= around.settings.tries:
                raise Refused(f"{error}; given up after {failures} tries") from None
            _wait(url, error, failures, position, around)


def _open(url: str, start: int, known: Version, around: Surroundings) -> Reply:
    if around.stop.is_set():
        raise Stopped
    if urlsplit(url).scheme in HTTP:
        return open_http(url, start, known, around.settings)
    return open_object(url, start, known)


def _joined(reply: Reply, known: Version, size: int | None) -> Version:
    """What the whole file is, after this reply: a part that says less than the start of the file did changes nothing.

    Raises:
        Refused: its size is not the one wanted.
    """
    version = reply.version
    if reply.start:
        total = version.total if version.total is not None else known.total
        version = Version(version.etag or known.etag, version.modified or known.modified, total)
    if size is not None and version.total not in (None, size):
        raise Refused(f"has a file of {version.total:,} bytes, and {size:,} are wanted")
    return version if version.total is not None else Version(version.etag, version.modified, size)


def _wait(url: str, error: BrokenOff, failures: int, position: int, around: Surroundings) -> None:
    settings = around.settings
    wait = min(settings.first_wait * 2 ** (failures - 1), settings.longest_wait) * random.uniform(0.5, 1.5)
    if error.wait is not None:  # a little more than asked, and not all clients at once
        wait = error.wait + random.uniform(0.0, settings.first_wait)
    around.note(f"{url_label(url)}: {error}; going on from byte {position:,} in {wait:.1f} s")
    if around.stop.wait(wait):
        raise Stopped
