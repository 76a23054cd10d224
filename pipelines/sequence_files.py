"""Any file of sequences, as a stream: FASTA, FASTQ, gzip or bgzip, 2bit, a genome store, standard input.

What a file holds is told by its content, never by its name. Unlike `pipelines.sources`, which reads genomes for a
store, this takes reads as they come: names may repeat, and letters of no alphabet are counted instead of refused.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream, DamagedStream
from dnamamba.pipelines.fasta import FastaFile, Names
from dnamamba.pipelines.fastq import FastqFile
from dnamamba.pipelines.letters import Gaps, LetterRules, Unknown
from dnamamba.pipelines.signatures import GZIP, TWOBIT
from dnamamba.pipelines.store import Assembly, open_store
from dnamamba.pipelines.twobit import TwoBitFile

Letters = NDArray[np.uint8]
WANTED = "a FASTA, FASTQ or 2bit file or a genome store is wanted"


class SequenceStream(Protocol):
    """One sequence of a file, while the file is being read."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def length(self) -> int | None:
        """In letters; None where only reading tells (FASTA)."""

    @property
    def unknown(self) -> int:
        """Letters read so far that are no nucleotide code and were read as N."""

    def blocks(self) -> Iterator[Letters]:
        """The letters, case kept: uint8 arrays [at most 4 MiB, or one read], none empty. To be asked for once."""


@runtime_checkable
class RandomAccess(Protocol):
    """A sequence of which any part can be read at once."""

    @property
    def length(self) -> int: ...

    def read(self, start: int, end: int) -> Letters:
        """Letters [start, end)."""


class SequenceFile(Protocol):
    """A file that can be read once, sequence by sequence."""

    @property
    def path(self) -> str: ...

    @property
    def format(self) -> Literal["fasta", "fastq", "2bit", "store"]: ...

    def contigs(self) -> Iterator[SequenceStream]:
        """The sequences in file order. Each must be read, or left, before the next is asked for.

        Raises:
            InputError: while it runs; what was given before is good.
        """


@dataclass(frozen=True)
class StoreContig:
    """A contig of a genome store."""

    name: str
    description: str
    length: int
    assembly: Assembly
    contig: str
    unknown = 0

    def blocks(self) -> Iterator[Letters]:
        """As `SequenceStream.blocks`."""
        return self.assembly.blocks(self.contig)

    def read(self, start: int, end: int) -> Letters:
        """Letters [start, end)."""
        return self.assembly[self.contig, start:end]


class StoreSequences:
    """Every contig of every assembly of a genome store; named ASSEMBLY:CONTIG where there are several assemblies."""

    format: Literal["store"] = "store"

    def __init__(self, location: str) -> None:
        self.path = location
        store = open_store(location)
        self._assemblies = [store[name] for name in store.assemblies]
        if not self._assemblies:
            raise InputError(f"{location}: the genome store is empty; `dnamamba genome ingest` fills it")

    def contigs(self) -> Iterator[StoreContig]:
        """As `SequenceFile.contigs`."""
        for assembly in self._assemblies:
            for contig, length in assembly.sizes.items():
                name = contig if len(self._assemblies) == 1 else f"{assembly.name}:{contig}"
                yield StoreContig(name, assembly.name, length, assembly, contig)


def open_sequences(
    path: str | os.PathLike[str],
    *,
    names: Names = "first-word",
    gaps: Gaps = "error",
    unknown: Unknown = "N",
    rna: bool = False,
) -> SequenceFile:
    """Open a file of sequences.

    Args:
        path: FASTA or FASTQ (plain, gzip, bgzip), 2bit, a genome store's folder or URL, or "-" for standard input.
        names: a FASTA sequence is called by its header's "first-word" or by the "full" header.
        gaps: alignment gaps ("-", ".") are an "error", or left out ("drop").
        unknown: letters that are no nucleotide code are read as "N" and counted, or are an "error".
        rna: read U as T; else it is an error.

    Raises:
        InputError: no such file, or one that holds no sequences. What is wrong further on shows when it is read.
    """
    rules, text = LetterRules(gaps=gaps, unknown=unknown, rna=rna), os.fspath(path)
    if "://" in text or Path(text).is_dir():
        return StoreSequences(text)
    stream = ByteStream(path)
    try:
        head = stream.head()
        if head.startswith(TWOBIT):
            if not stream.seekable:
                raise InputError(f"{stream.label}: holds 2bit data, which cannot be read from a pipe; give its path")
            stream.close()
            return TwoBitFile(path)
        try:
            start = stream.first_text()
        except DamagedStream as error:
            raise InputError(f"{stream.label}: {error}") from error
        if not start:
            what = "holds nothing but an empty gzip member" if head.startswith(GZIP) else "is empty"
            raise InputError(f"{stream.label}: {what}; {WANTED}")
    except BaseException:
        stream.close()
        raise
    start = start.lstrip()
    if start.startswith(b"@") and not start.startswith((b"@HD\t", b"@SQ\t")):
        return FastqFile(stream, rules)
    return FastaFile(path, names=names, rules=rules, repeats=True, stream=stream)
