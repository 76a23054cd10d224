"""Open a genome file, FASTA or 2bit, whatever its name says: contigs as streams of uint8 blocks."""

import os
from collections.abc import Iterator
from typing import BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream
from dnamamba.pipelines.fasta import FastaFile, Names, check_fasta
from dnamamba.pipelines.letters import Gaps, LetterRules, Unknown
from dnamamba.pipelines.signatures import TWOBIT
from dnamamba.pipelines.twobit import TwoBitFile


class ContigStream(Protocol):
    """A contig of a source."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str:
        """The rest of a FASTA header; "" for 2bit."""

    @property
    def length(self) -> int | None:
        """In bases; None for FASTA, where only reading tells."""

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """The bytes of the sequence, case kept, letters checked: uint8 arrays [at most 4 MiB], none empty."""


class Source(Protocol):
    """A genome file that can be read contig by contig."""

    @property
    def path(self) -> str: ...

    @property
    def format(self) -> Literal["fasta", "2bit"]: ...

    def contigs(self) -> Iterator[ContigStream]:
        """The contigs in file order, in bounded memory. Of a FASTA, each must be read before the next is asked for."""


def open_source(
    path: str | os.PathLike[str],
    *,
    names: Names = "first-word",
    gaps: Gaps = "error",
    unknown: Unknown = "error",
    rna: bool = False,
    handle: BinaryIO | None = None,
) -> Source:
    """Open a FASTA (plain, gzip, bgzip) or 2bit file, told by its first bytes and never by its name.

    Args:
        path: the file, a pipe, or "-" for standard input (FASTA only).
        names: FASTA contigs are called by the header's "first-word" or by the "full" header.
        gaps: alignment gaps ("-", ".") are an "error", or left out ("drop").
        unknown: letters that are no IUPAC nucleotide are an "error", or become "N" (n in lower case).
        rna: U becomes T (u becomes t); else it is an error.
        handle: where the bytes come from (FASTA only); `path` is then its name in messages.

    Returns:
        The source. What it gives are the bytes of the file, but for what `gaps`, `unknown` and `rna` change.

    Raises:
        InputError: no such file, or one in another format. What is wrong further on shows when it is read.
    """
    rules = LetterRules(gaps=gaps, unknown=unknown, rna=rna)
    stream = ByteStream(path, handle=handle)
    try:
        if stream.head().startswith(TWOBIT):
            if not stream.seekable:
                raise InputError(f"{stream.label}: holds 2bit data, which cannot be read from a pipe; give its path")
            stream.close()
            return TwoBitFile(path)
        check_fasta(stream)
    except BaseException:
        stream.close()
        raise
    if stream.seekable:  # opened anew when it is read: a handle must not cross a fork
        stream.close()
        return FastaFile(path, names=names, rules=rules)
    return FastaFile(path, names=names, rules=rules, stream=stream)
