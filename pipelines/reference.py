"""Random access to a genome, whatever it lies in: a store, an indexed FASTA or a 2bit file."""

import os
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream, is_bgzip
from dnamamba.pipelines.contig_kinds import other_spelling
from dnamamba.pipelines.contig_names import aliases_of, match_contigs
from dnamamba.pipelines.digests import SequenceDigester, fingerprint
from dnamamba.pipelines.fasta import check_fasta
from dnamamba.pipelines.fasta_index import REMEDY, STALE, check_index, line_without_place
from dnamamba.pipelines.manifest import find_manifest
from dnamamba.pipelines.signatures import GZIP, TWOBIT
from dnamamba.pipelines.store import Assembly, open_store
from dnamamba.pipelines.twobit import TwoBitFile
from dnamamba.pipelines.variant_files import quiet_htslib

Bases = NDArray[np.uint8]
_BLOCK = 1 << 22  # bases read at a time for the digest


class Genome(Protocol):
    """What a reference reads from."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length of every contig in bases, in file order."""

    def read(self, name: str, start: int, end: int) -> Bases:
        """Letters of a contig, case kept, uint8 [end - start]; 0 <= start <= end <= length."""


class Reference:
    """A genome that variants are scored against. Picklable: another process opens the file anew."""

    def __init__(self, path: str, assembly: str | None, name: str, genome: Genome, aliases: Mapping[str, str]) -> None:
        """Use `open_reference`."""
        self.path = path
        self.name = name
        """Of the assembly, or of the file."""
        self._assembly, self._genome, self._aliases = assembly, genome, dict(aliases)
        self.contigs: Mapping[str, int] = dict(genome.sizes)
        """Length of every contig in bases."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self._assembly, self._aliases)

    def __repr__(self) -> str:
        return f"Reference({self.path!r}, {self.name!r}, {len(self.contigs)} contigs)"

    def resolve(self, chrom: str) -> str | None:
        """The contig that a name or alias means, or None. "1" and "chr1" stand for each other where one of them is
        there (not so M and MT, which are different sequences in hg19 and GRCh37).

        Raises:
            InputError: a number, say, which is no name.
        """
        if chrom in self.contigs:
            return chrom
        alias = self._aliases.get(chrom)
        if alias is not None:
            return alias
        if not isinstance(chrom, str):
            raise InputError(f"contig: want a name such as 'chr1', got {chrom!r}")
        other = other_spelling(chrom)
        return other if other in self.contigs else None

    def fetch(self, contig: str, start: int, end: int) -> Bases:
        """Letters of a contig, case kept.

        Args:
            contig: a name in `contigs`.
            start, end: 0-based, half-open, inside the contig.

        Returns:
            uint8 [end - start].

        Raises:
            InputError: no such contig, or bases outside it.
        """
        length = self.contigs.get(contig)
        if length is None or not 0 <= start <= end <= length:
            raise InputError(f"{self.path}: no bases {start:,} to {end:,} of contig {contig!r} ({length} bases)")
        return self._genome.read(contig, start, end) if start < end else np.empty(0, np.uint8)

    @cached_property
    def digest(self) -> str:
        """A name for the sequences by content alone, the same for a store, FASTA and 2bit of one genome (the store's
        `fingerprint`). Of a file, the first call reads all of it."""
        if isinstance(self._genome, _StoredGenome):
            return self._genome.assembly.fingerprint
        refgets = []
        for name, length in self.contigs.items():
            digester = SequenceDigester()
            for start in range(0, length, _BLOCK):
                digester.update(self.fetch(name, start, min(start + _BLOCK, length)))
            refgets.append(digester.refget)
        return fingerprint(refgets)


def open_reference(
    path: str | os.PathLike[str], assembly: str | None = None, aliases: Mapping[str, str] | None = None
) -> Reference:
    """Open a genome for random access, told by what is there and never by its name.

    Args:
        path: a genome store, a 2bit file, or a FASTA file, plain or bgzip. An index (`.fai`, and `.gzi` for bgzip)
            beside a FASTA is used; without one the file is indexed on the fly, and nothing is written beside it.
        assembly: which one of a store; needed where it holds several.
        aliases: other name -> contig, beside those that the store or the manifest of the assembly's name knows.

    Raises:
        InputError: no such file, another format, a plain gzip file (it has no random access), a FASTA that cannot be
            indexed, has a name twice, or has an index of another file, or an alias of a contig that is not there.
    """
    label = os.fspath(path)
    if os.path.isdir(label) or "://" in label:
        stored = open_store(label).only(assembly)
        return _named(label, assembly, stored.name, _StoredGenome(stored), {**stored.aliases, **(aliases or {})})
    if assembly is not None:
        raise InputError(f"{label}: an assembly ({assembly!r}) is named, and this is a file and no genome store")
    with ByteStream(label) as stream:
        head = stream.head()
        if not head.startswith(TWOBIT):
            check_fasta(stream)
    if head.startswith(GZIP) and not is_bgzip(head):
        raise InputError(
            f"{label}: is plain gzip, which has no random access; unpack it, pack it with bgzip, or ingest it into a "
            "store"
        )
    genome: Genome = TwoBitFile(label) if head.startswith(TWOBIT) else IndexedFasta(label, bgzip=is_bgzip(head))
    name = Path(label).name.split(".")[0]
    manifest = find_manifest(name)
    known: dict[str, str] = {}
    if manifest is not None:
        try:
            known = aliases_of(match_contigs(manifest, genome.sizes))
        except InputError:  # another assembly of that name: its aliases are not believed
            known = {}
    return _named(label, None, name, genome, {**known, **(aliases or {})})


def _named(path: str, assembly: str | None, name: str, genome: Genome, aliases: Mapping[str, str]) -> Reference:
    for alias, contig in aliases.items():
        if contig not in genome.sizes:
            raise InputError(f"{path}: alias {alias!r}: there is no contig {contig!r}")
    return Reference(path, assembly, name, genome, aliases)


def _reopen(path: str, assembly: str | None, aliases: Mapping[str, str]) -> Reference:
    return open_reference(path, assembly, aliases)


class _StoredGenome:
    """An assembly of a store."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.sizes = assembly.sizes

    def read(self, name: str, start: int, end: int) -> Bases:
        return self.assembly[name, start:end]


class IndexedFasta:
    """A FASTA file through htslib's index. Opened anew after a fork: a shared file position returns wrong DNA."""

    def __init__(self, path: str, *, bgzip: bool) -> None:
        """Open it; index it in a temporary folder where there is no index beside it.

        Raises:
            InputError: it cannot be indexed: lines of unequal length, or no FASTA; or as `check_index`.
        """
        self.path, self._bgzip = path, bgzip
        self._open()
        self.sizes = dict(zip(self._file.references, self._file.lengths, strict=True))

    def _open(self) -> None:
        import pysam  # takes 0.1 s, and a store or a 2bit file need it not

        parts = ("fai", "gzi") if self._bgzip else ("fai",)
        with tempfile.TemporaryDirectory() as folder, quiet_htslib():
            index = [f"{self.path}.{part}" for part in parts]
            old = all(os.path.isfile(name) for name in index)
            if not old:
                index = [f"{folder}/{part}" for part in parts]
                try:
                    pysam.faidx(*(f"--{part}-idx={name}" for part, name in zip(parts, index, strict=True)), self.path)
                except pysam.SamtoolsError:
                    raise self._no_index() from None
            options = dict(zip(("filepath_index", "filepath_index_compressed"), index, strict=False))
            try:
                self._file = pysam.FastaFile(self.path, **options)
            except (OSError, ValueError) as error:
                raise InputError(f"{self.path}: cannot be opened with its index: {error}") from None
            check_index(self.path, index, old=old)
        self._pid = os.getpid()

    def read(self, name: str, start: int, end: int) -> Bases:
        if self._pid != os.getpid():
            self._open()
        try:
            with quiet_htslib():
                text = self._file.fetch(name, start, end).encode()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: contig {name!r}, bases from {start + 1:,} on: {error}; the file is damaged, or {STALE}"
            ) from None
        # Where an old index has a base, htslib may find the end of the file or of a line.
        if len(text) != end - start or b"\n" in text or b"\r" in text:
            raise InputError(f"{self.path}: contig {name!r}, bases from {start + 1:,} on: {STALE}")
        return np.frombuffer(text, np.uint8)

    def _no_index(self) -> InputError:
        line = line_without_place(self.path, bgzip=self._bgzip)
        why = "" if line is None else f": line {line:,} is not as an index wants it, a header, then lines of one length"
        return InputError(f"{self.path}: cannot be indexed{why}; {REMEDY}")
