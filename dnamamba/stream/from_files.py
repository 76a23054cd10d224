"""The sequences of many files as pieces. A file that cannot be read is noted, and the next one goes on."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dnamamba.errors import InputError
from dnamamba.stream.given import HowToRead
from dnamamba.stream.pieces import LongPiece, Piece, PieceCutter


@dataclass
class Failures:
    """The files that could not be read to their end."""

    tell: Callable[[str], None]
    """Is given each problem at once, a line; of a single file `check` says it."""
    files: int
    """How many are read."""
    of: dict[str, InputError] = field(default_factory=dict)
    """File -> what was wrong."""

    def __call__(self, source: str, error: InputError) -> None:
        """Note one."""
        self.of[source] = error
        if self.files > 1:
            self.tell(str(error))

    def check(self, where: str) -> None:
        """Speak up at the end.

        Args:
            where: what became of the good ones, a clause.

        Raises:
            InputError: one file or more failed.
        """
        if len(self.of) == self.files == 1:
            raise next(iter(self.of.values()))
        if self.of:
            names = ", ".join(list(self.of)[:20]) + (f" and {len(self.of) - 20} more" if len(self.of) > 20 else "")
            raise InputError(f"{len(self.of)} of {self.files} files could not be read to their end ({names}); {where}")


@contextmanager
def settled_memory() -> Iterator[None]:
    """Python's garbage collector does not look through what is loaded already: torch alone makes a million objects, and
    looking through them again and again took a fifth of the time of short reads."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def pieces_of_files(
    paths: Sequence[str], cutter: PieceCutter, how: HowToRead, failures: Failures
) -> Iterator[Piece | LongPiece]:
    """The pieces of all files, one after the other.

    Args:
        paths: whatever `open_sequences` takes.
        cutter: whole sequences or windows.
        how: names and letters.
        failures: where a bad file is noted. What was read of it before stands; once it is there it is left.
    """
    for path in paths:
        try:
            for sequence in how.open(path).contigs():
                yield from cutter.pieces(sequence, path)
                if path in failures.of:  # the one who read a long piece has found out
                    break
        except InputError as error:
            failures(path, error)
