"""What ingest asks of a source besides its bases: which file it is, which contigs are wanted, how long they are."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA, INVALID
from dnamamba.pipelines.sources import ContigStream

PEEK = 1 << 24  # bases looked at before the size of a chunk is chosen
_ENDINGS = (".gz", ".bgz"), (".fa", ".fasta", ".fna", ".fas", ".2bit")


def default_assembly(path: str | os.PathLike[str]) -> str:
    """An assembly's name from its file's: the folder, .gz and then .fa, .fasta, .fna, .fas or .2bit taken off."""
    name = PurePath(path).name
    for endings in _ENDINGS:
        name = next((name[: -len(ending)] for ending in endings if name.lower().endswith(ending)), name)
    return name


class SourceFile:
    """The file behind a source: its identity, and its SHA-256 taken in a thread while the bases are read."""

    def __init__(self, path: str | os.PathLike[str], label: str) -> None:
        """Look at the file. Standard input and pipes have neither size nor digest."""
        self._path, self._label = os.fspath(path), label
        self._digest: Future[str] | None = None
        self._stat = self._look()

    def _look(self) -> os.stat_result | None:
        if self._path == "-":
            return None
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise InputError(f"{self._label}: cannot be opened: {error.strerror}") from None
        return found if stat.S_ISREG(found.st_mode) else None

    @property
    def identity(self) -> dict[str, Any] | None:
        """What tells that the file is still the same: name, size in bytes, time of change. None for a pipe."""
        if self._stat is None:
            return None
        return {"name": PurePath(self._path).name, "size": self._stat.st_size, "mtime_ns": self._stat.st_mtime_ns}

    def start_digest(self, pool: ThreadPoolExecutor) -> None:
        """Begin with the SHA-256."""
        if self._stat is not None:
            self._digest = pool.submit(self.sha256)

    def sha256(self) -> str:
        """Read the file for its SHA-256."""
        with open(self._path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def attributes(self) -> dict[str, Any]:
        """Name, size and SHA-256, for the store.

        Raises:
            InputError: the file changed while it was read.
        """
        name = "standard input" if self._path == "-" else PurePath(self._path).name
        if self._stat is None or self._digest is None:
            return {"name": name, "size": None, "sha256": None}
        digest, now = self._digest.result(), self._look()
        if now is None or (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
            raise InputError(f"{self._label}: changed while it was read; ingest it again when nobody writes it")
        return {"name": name, "size": self._stat.st_size, "sha256": digest}


class ArrayContig:
    """A contig that is in memory already."""

    def __init__(self, name: str, description: str, sequence: npt.NDArray[np.uint8]) -> None:
        """
        Raises:
            InputError: not a uint8 array of one axis, or a byte that is no IUPAC letter.
        """
        if sequence.dtype != np.uint8 or sequence.ndim != 1:
            raise InputError(f"contig {name!r}: want uint8 [bases], got {sequence.dtype} {list(sequence.shape)}")
        self.name, self.description, self.length = name, description, len(sequence)
        self._sequence = sequence

    def blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        """The sequence in pieces, letters checked."""
        for start in range(0, self.length, PEEK):
            block = self._sequence[start : start + PEEK]
            bad = np.flatnonzero(DNA.table[block] == INVALID)
            if len(bad):
                found = chr(block[bad[0]])
                raise InputError(
                    f"contig {self.name!r}: base {start + int(bad[0]) + 1:,}: {found!r} is no IUPAC letter"
                )
            yield block


class HeldContig:
    """A contig whose first blocks have been read already."""

    def __init__(self, contig: ContigStream) -> None:
        self.name, self.description, self.length = contig.name, contig.description, contig.length
        self.held: list[npt.NDArray[np.uint8]] = []
        self.rest = iter(contig.blocks())

    def blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        """What is held, then what is still to be read."""
        while self.held:
            yield self.held.pop(0)
        yield from self.rest


def peek(contigs: Iterable[ContigStream]) -> tuple[list[int], bool, Iterator[ContigStream]]:
    """Look ahead for lengths, PEEK bases at most.

    Returns:
        The lengths of the contigs seen (of the last one, what was seen of it), whether these are all, and all contigs,
        those seen first.
    """
    stream, seen, lengths, left = iter(contigs), list[HeldContig](), list[int](), PEEK
    for contig in stream:
        seen.append(HeldContig(contig))
        lengths.append(0)
        for block in seen[-1].rest:
            seen[-1].held.append(block)
            lengths[-1] += len(block)
            left -= len(block)
            if left <= 0:
                return lengths, False, chain(seen, stream)
    return lengths, True, iter(seen)


class NameFilter:
    """Lets contigs through whose names fit the patterns (as of a shell, case counts)."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str], label: str) -> None:
        """Without `include`, every name that `exclude` does not hold fits. `label` is the source's name in messages."""
        self._include, self._exclude, self._label = tuple(include), tuple(exclude), label

    def __call__(self, contigs: Iterable[ContigStream]) -> Iterator[ContigStream]:
        """The contigs that fit.

        Raises:
            InputError: at the end, when none did; patterns and names are shown.
        """
        passed, refused = False, list[str]()
        for contig in contigs:
            if self._fits(contig.name):
                passed = True
                yield contig
            else:
                refused.append(contig.name)
        if refused and not passed:
            patterns = [f"--include {p}" for p in self._include] + [f"--exclude {p}" for p in self._exclude]
            shown = ", ".join(refused[:10]) + (" .." if len(refused) > 10 else "")
            raise InputError(f"{self._label}: no contig is left by {' '.join(patterns)}; its names are {shown}")

    def _fits(self, name: str) -> bool:
        wanted = not self._include or any(fnmatchcase(name, pattern) for pattern in self._include)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in self._exclude)
