"""Scores kept beside an output that is being made, so that a killed run goes on without scoring anything again.

The first line says what the scores belong to; each further line holds one score in the order of the file, a checksum of
the variant that it is of and one of the line. What stands behind the first line that is not whole is none.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dnamamba.errors import InputError
from dnamamba.pipelines.digests import crc32c

if TYPE_CHECKING:
    from dnamamba.pipelines.variants import Variant
    from dnamamba.scoring.types import VariantScore

FORMAT = "dnamamba-score-journal 1"
_VALUES = ("score", "allele", "downstream", "forward", "reverse", "upstream", "horizon", "quantile", "skipped")


class Journal:
    """The scores of an output in the making. A context manager: left without an error, the file is removed; with one it
    stays when it holds a score, and not only reasons."""

    def __init__(
        self, out: str | os.PathLike[str], belongs_to: Mapping[str, Any], *, resume: bool, window: int = 1
    ) -> None:
        """Begin a journal, or open the one that is there.

        Args:
            out: path of the output; the journal is a hidden file beside it.
            belongs_to: plain data: digests of model and genome, options. Scores of anything else are not used.
            resume: go on with a journal that is there.
            window: scores that were computed together. A part of a window is not gone on with: in other company, a
                score may differ in its last bits.

        Raises:
            InputError: another process writes it; one is there and `resume` is off; or it belongs to something else.
        """
        self._out = out = Path(out)
        self.path = journal_of(out)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self._head = json.dumps({"format": FORMAT, **belongs_to}, sort_keys=True).encode() + b"\n"
        self._waiting: list[bytes] = []
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise _taken(out) from None
        try:
            self.count, end = self._look(out, resume, window)
            os.ftruncate(self._handle, end)
            os.lseek(self._handle, end, os.SEEK_SET)
            self._worth = self.count > 0  # to be kept when this run fails
            for left in out.parent.glob(f"{escape(f'.{out.name}.writing-')}*"):  # by a process that was killed
                left.unlink()
            if end == 0:
                self._write(self._head)
        except BaseException:
            os.close(self._handle)
            raise

    def _look(self, out: Path, resume: bool, window: int) -> tuple[int, int]:
        """Scores that are whole, and the bytes up to there."""
        with open(self.path, "rb") as file:
            head = file.readline(2**24)
            if not head.endswith(b"\n"):  # killed before the first line was whole
                return 0, 0
            count = seen = 0
            end = at = len(head)
            for line in file if head == self._head else ():
                if _read(line) is None:
                    break
                seen, at = seen + 1, at + len(line)
                if seen % window == 0:
                    count, end = seen, at
        if not resume:
            raise _unfinished(out)
        if head != self._head:
            raise InputError(f"{out}: the unfinished run beside it {_difference(head, self._head)}; remove {self.path}")
        return count, end

    def replay(self, variants: Iterator["Variant"]) -> Iterator["VariantScore"]:
        """The kept scores; takes as many variants, which must be those that they are of.

        Raises:
            InputError: they are not, or there are fewer of them.
        """
        from dnamamba.scoring.types import VariantScore

        with open(self.path, "rb") as file:
            file.readline()
            for number in range(1, self.count + 1):
                kept, variant = _read(file.readline()), next(variants, None)
                if kept is None or variant is None or kept[0] != _key(variant):
                    raise InputError(
                        f"the variants are not those of the unfinished run (allele {number:,} differs); "
                        f"remove {self.path} to start anew"
                    )
                yield VariantScore(variant.chrom, variant.pos, variant.id, variant.ref, variant.alt, **kept[1])

    def add(self, score: "VariantScore") -> None:
        """Keep a score; `flush` puts it on the disk."""
        self._worth |= score.skipped is None
        line = f"{_key(score)} " + json.dumps([getattr(score, name) for name in _VALUES], separators=(",", ":"))
        self._waiting.append(f"{line} {crc32c(line.encode()):08x}\n".encode())

    def flush(self) -> None:
        """Put on the disk what was added."""
        if self._waiting:
            self._write(b"".join(self._waiting))
            self._waiting = []

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]
        os.fsync(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None or not self._worth:
                self.path.unlink()
            else:
                self.flush()
                if kind is not None and issubclass(kind, KeyboardInterrupt):
                    raise kind(f"{self._out}: what is scored is kept; --resume goes on") from None
        finally:
            os.close(self._handle)


def begun(out: str | os.PathLike[str], *, resume: bool) -> bool:
    """Whether a run that was not finished left a journal beside an output: what `Journal` would say, before the work
    that comes before it.

    Raises:
        InputError: another process writes it, or one is there and `resume` is off.
    """
    try:
        with open(journal_of(out), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            there = file.readline(2**24).endswith(b"\n")
    except FileNotFoundError:
        return False
    except BlockingIOError:
        raise _taken(out) from None
    if there and not resume:
        raise _unfinished(out)
    return there


def journal_of(out: str | os.PathLike[str]) -> Path:
    """Where the journal of an output is: a hidden file beside it."""
    return Path(out).with_name(f".{Path(out).name}.journal")


def _taken(out: str | os.PathLike[str]) -> InputError:
    return InputError(f"{out}: another process is writing it")


def _unfinished(out: str | os.PathLike[str]) -> InputError:
    return InputError(f"{out}: an unfinished run stands beside it; --resume goes on, or remove {journal_of(out)}")


def _key(variant: "Variant | VariantScore") -> str:
    text = "\t".join((variant.chrom, str(variant.pos), variant.id, variant.ref, variant.alt))
    return f"{crc32c(text.encode(errors='surrogateescape')):08x}"


def _read(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Key and values of a line; None for one that is not whole."""
    body, _, check = line.rstrip(b"\n").rpartition(b" ")
    if not line.endswith(b"\n") or check != b"%08x" % crc32c(body):
        return None
    key, _, values = body.partition(b" ")
    return key.decode(), dict(zip(_VALUES, json.loads(values), strict=True))


def _difference(theirs: bytes, ours: bytes) -> str:
    try:
        there, here = json.loads(theirs), json.loads(ours)
    except ValueError:
        return "has a journal that is damaged"
    if not isinstance(there, dict) or there.get("format") != FORMAT:
        return "was begun by another version of dnamamba"
    keys = [key for key in here if there.get(key) != here[key]] or sorted(set(there) - set(here))
    return f"was begun with {keys[0]} {there.get(keys[0])}, now it is {here.get(keys[0])}"
