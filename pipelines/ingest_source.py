"""What ingest asks of a source besides its bases: which file it is, which contigs are wanted, how long they are."""

import hashlib
import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError, InputWarning, UsageError
from dnamamba.pipelines.alphabet import DNA, INVALID
from dnamamba.pipelines.contig_kinds import CLASSES, contig_kind, other_spelling
from dnamamba.pipelines.contig_names import check_length
from dnamamba.pipelines.manifest import Manifest, ManifestContig
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
    """Lets contigs through that fit names, patterns (as of a shell, case counts) or classes (`contig_kinds.CLASSES`).

    "@sex" is the class; "sex" is the class and a contig of that name; "[s]ex", a pattern, is only the latter. A name
    without a wildcard fits a contig that goes under it: by an alias of the manifest, with or without "chr". A pattern
    is held against the name in the source and the manifest's first name.
    """

    def __init__(
        self,
        include: Sequence[str],
        exclude: Sequence[str],
        label: str,
        manifest: Manifest | None = None,
        *,
        strict: bool = False,
    ) -> None:
        """Without `include`, every contig that `exclude` does not hold fits.

        Args:
            include: names, patterns or classes.
            exclude: likewise.
            label: the source's name in messages.
            manifest: of the assembly, for aliases and classes.
            strict: the source must be what the manifest says: a contig of another length is an error where lengths are
                known before the bases.

        Raises:
            InputError: "@" before a word that is no class.
        """
        self._include, self._exclude, self._label = tuple(include), tuple(exclude), label
        self._manifest, self._strict = manifest, strict
        rows = manifest.contigs if manifest is not None else ()
        self._rows = {name: row for row in rows for name in (row.name, *row.aliases)}
        for option, patterns in (("include", self._include), ("exclude", self._exclude)):
            for pattern in patterns:
                if pattern.startswith("@") and pattern[1:] not in CLASSES:
                    raise UsageError(f"--{option} {pattern}: no such class; want @{', @'.join(CLASSES)}")

    def __call__(self, contigs: Iterable[ContigStream]) -> Iterator[ContigStream]:
        """The contigs that fit.

        Raises:
            InputError: at the end, when none did; patterns and names are shown, the nearest first.
        """
        passed, refused, unused = False, dict[str, str | None](), set(self._include)
        for contig in contigs:
            row = self._rows.get(contig.name)
            if self._strict and self._manifest and row and contig.length is not None:
                check_length(contig.name, contig.length, row, self._manifest, self._label)
            kind = row.kind if row else contig_kind(contig.name, contig.description)
            fitting = {p for p in self._include if name_fits(p, contig.name, row, kind)}
            unused -= fitting
            if (fitting or not self._include) and not any(name_fits(p, contig.name, row, kind) for p in self._exclude):
                passed = True
                yield contig
            else:
                refused[contig.name] = kind
        if refused and not passed:
            raise InputError(f"{self._label}: no contig is left by {self._nothing(refused)}")
        if unused:
            words = ", ".join(sorted(unused))
            warnings.warn(f"{self._label}: no contig fits --include {words}", InputWarning, stacklevel=1)

    def _nothing(self, refused: Mapping[str, str | None]) -> str:
        patterns = (*self._include, *self._exclude)
        names = list(refused)[:20_000]
        near = [name for p in patterns for name in get_close_matches(p.strip("*?@"), names, n=4, cutoff=0.4)]
        shown = list(dict.fromkeys([*near, *names]))[:10]
        if any(p.removeprefix("@") in CLASSES for p in patterns):
            shown = [f"{name} ({refused[name] or 'of no known class'})" for name in shown]
        options = [f"--include {p}" for p in self._include] + [f"--exclude {p}" for p in self._exclude]
        return f"{' '.join(options)}; its names are {', '.join(shown)}" + (" .." if len(refused) > len(shown) else "")


def name_fits(pattern: str, name: str, row: ManifestContig | None, kind: str | None) -> bool:
    """Whether one word of --include or --exclude fits a contig of this name, row of the manifest and kind."""
    if kind in CLASSES.get(pattern.removeprefix("@"), ()):
        return True
    if pattern.startswith("@"):
        return False
    if any(sign in pattern for sign in "*?["):
        return fnmatchcase(name, pattern) or (row is not None and fnmatchcase(row.name, pattern))
    return pattern in (name, other_spelling(name)) or (row is not None and pattern in (row.name, *row.aliases))
