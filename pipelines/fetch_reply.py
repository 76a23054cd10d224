"""What every kind of server gives: a body from some byte on, what tells its content apart, and two kinds of failure."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """How patient a fetch is."""

    timeout: float = 60.0
    """Seconds without `slowest` bytes after which a connection counts as stalled; also for connecting."""
    slowest: int = 1_000
    """Bytes that must come in `timeout` seconds."""
    tries: int = 6
    """Connections in a row that bring nothing on before an address is given up."""
    first_wait: float = 1.0
    """Seconds before the second try; doubled for each one after it, and varied by half at random."""
    longest_wait: float = 60.0
    """Seconds that a wait grows to."""
    longest_asked: float = 300.0
    """Seconds of waiting that a server may ask for (Retry-After); when it wants more, the next mirror is tried."""


@dataclass(frozen=True)
class Version:
    """What tells one content of an address from the next; None: the server does not say."""

    etag: str | None = None
    """A strong entity tag: the same tag, the same bytes."""
    modified: str | None = None
    """Time of the last change, as the server writes it."""
    total: int | None = None
    """Bytes in all."""

    @property
    def tells(self) -> bool:
        """Whether a changed file would be seen."""
        return self.etag is not None or self.modified is not None

    def same(self, other: "Version") -> bool:
        """Whether nothing speaks against one content: what both state is equal."""
        pairs = (self.etag, other.etag), (self.modified, other.modified), (self.total, other.total)
        return all(one is None or two is None or one == two for one, two in pairs)


@dataclass
class Reply:
    """An open body. `read` gives at least one byte, b"" at the end; `close` may be called twice."""

    start: int
    """Which byte of the file comes first: the one asked for, or 0."""
    version: Version
    read: Callable[[], bytes]
    close: Callable[[], None]


class BrokenOff(Exception):
    """It may work the next time: a dropped connection, a busy server."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        """`wait`: seconds that the server asks for."""
        super().__init__(problem)
        self.wait = wait


class StartAgain(BrokenOff):
    """What is there already cannot be gone on with: the file is another one now, or its parts do not fit."""


class Refused(Exception):
    """This address will not give the file, however often it is asked."""


class Stopped(Exception):
    """Somebody else's failure, or Ctrl-C, ended this transfer."""


Note = Callable[[str], None]
"""Called with one line about what a user should know: a retry, a mirror left behind, a file nothing vouches for."""


@dataclass(frozen=True)
class Surroundings:
    """What a transfer needs besides an address."""

    settings: FetchSettings
    note: Note
    stop: Event
    """When it is set, transfers end with `Stopped`."""
