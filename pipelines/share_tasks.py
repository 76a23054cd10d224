"""What runs in another process, maybe on another machine: read a source once, and write one share of an assembly."""

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnamamba import __version__
from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream, TextPart, is_bgzip
from dnamamba.pipelines.fasta import FastaContig, FastaFile, Names
from dnamamba.pipelines.ingest_source import peek
from dnamamba.pipelines.letters import Gaps, LetterRules, Unknown
from dnamamba.pipelines.share_pen import SharePen, Written
from dnamamba.pipelines.shares import KnownContig, Share
from dnamamba.pipelines.signatures import GZIP
from dnamamba.pipelines.sources import ContigStream, Source, open_source
from dnamamba.pipelines.store_build import take_contig
from dnamamba.pipelines.store_format import Layout, LayoutName
from dnamamba.pipelines.store_intake import Lanes, even_blocks
from dnamamba.pipelines.twobit import TwoBitFile


@dataclass(frozen=True, kw_only=True)
class SharedSource:
    """A genome file that all workers see under one path, and how it is read."""

    path: str
    """Absolute."""
    size: int
    """In bytes."""
    names: Names
    gaps: Gaps
    unknown: Unknown
    rna: bool
    version: str = __version__
    """The package that wants it read; another one may give other bytes."""

    def open(self) -> Source:
        """Open it in this process.

        Raises:
            InputError: what `open_source` raises, another file than the coordinator's, or another package version.
        """
        here = socket.gethostname()
        if self.version != __version__:
            raise InputError(f"the worker on {here} has dnamamba {__version__}, {self.version} is wanted there")
        try:
            size = os.stat(self.path).st_size
        except OSError as error:
            raise InputError(
                f"{self.path}: the worker on {here} cannot open it ({error.strerror}); all workers must see it"
            ) from None
        if size != self.size:
            raise InputError(f"{self.path}: {size:,} bytes for the worker on {here}, {self.size:,} where ingest runs")
        return open_source(self.path, names=self.names, gaps=self.gaps, unknown=self.unknown, rna=self.rna)

    def blocks(self, known: KnownContig) -> Iterator[npt.NDArray[np.uint8]]:
        """Read one contig of a FASTA file at its place.

        Raises:
            InputError: another one stands there.
        """
        rules = LetterRules(gaps=self.gaps, unknown=self.unknown, rna=self.rna)
        file = FastaFile(self.path, names=self.names, rules=rules, stream=ByteStream(self.path, known.part))
        for contig in file.contigs():
            if contig.name != known.name:
                raise self.changed()
            yield from contig.blocks()

    def changed(self) -> InputError:
        """The file is no longer what it was in the first pass."""
        return InputError(f"{self.path}: changed while it was read; ingest it again when nobody writes it")


@dataclass(frozen=True)
class Scan:
    """What a first pass over a source tells."""

    format: str
    contigs: tuple[KnownContig, ...]
    seen: tuple[int, ...]
    """The lengths that a local ingest would choose chunk and shard by."""
    complete: bool
    """Whether these are all."""
    whole: bool
    """The text can be read from its start only."""


def scan(source: SharedSource, chosen: Callable[[Iterable[ContigStream]], Iterator[ContigStream]]) -> Scan:
    """Find the contigs and their lengths. Of FASTA this reads and checks the whole text, of 2bit the index.

    Args:
        source: the file.
        chosen: lets the wanted contigs through.

    Raises:
        InputError: whatever is wrong with the source.
    """
    opened = source.open()
    if opened.format == "2bit":
        contigs = tuple(KnownContig(one.name, "", one.length or 0) for one in chosen(opened.contigs()))
        return Scan("2bit", contigs, tuple(one.length for one in contigs), True, False)
    heads: dict[str, int] = {}

    def noted() -> Iterator[ContigStream]:
        for one in opened.contigs():
            assert isinstance(one, FastaContig)
            heads[one.name] = one.at
            yield one

    seen, complete, streams = peek(chosen(noted()))
    found = [(one.name, one.description, sum(map(len, one.blocks()))) for one in streams]
    ends = dict(zip(heads, [*list(heads.values())[1:], None], strict=True))
    blocks = _blocks_of(source.path)
    contigs = tuple(
        KnownContig(*one, part=blocks.part(heads[one[0]], ends[one[0]]) if blocks is not None else None)
        for one in found
    )
    return Scan("fasta", contigs, tuple(seen), complete, blocks is None)


class _TextBlocks:
    """Where text can be entered: bytes of the file, and of the text, at which each piece of it starts, [pieces]."""

    def __init__(self, file: npt.NDArray[np.int64], text: npt.NDArray[np.int64]) -> None:
        self._file, self._text = file, text

    def part(self, start: int, stop: int | None) -> TextPart:
        piece = int(np.searchsorted(self._text, start, "right")) - 1
        size = None if stop is None else stop - start
        return TextPart(int(self._file[piece]), start - int(self._text[piece]), size)


def _blocks_of(path: str) -> _TextBlocks | None:
    """Of plain text one piece that starts anywhere, of bgzip its blocks; None for other gzip.

    Source: SAM specification 1.6, section 4.1: BSIZE in the header, ISIZE at the end of each block.
    """
    with open(path, "rb") as file:
        head = file.read(18)
        if not head.startswith(GZIP):
            return _Plain()
        places, texts, at, text = [0], [0], 0, 0
        size = os.fstat(file.fileno()).st_size
        while at < size:
            head = os.pread(file.fileno(), 18, at)
            if len(head) < 18 or not is_bgzip(head):
                return None
            at += struct.unpack_from("<H", head, 16)[0] + 1
            tail = os.pread(file.fileno(), 4, at - 4)
            if len(tail) < 4:
                return None
            text += struct.unpack("<I", tail)[0]
            places.append(at)
            texts.append(text)
    # Empty blocks share their place in the text with the next one; searchsorted takes the last of them.
    return _TextBlocks(np.array(places), np.array(texts))


class _Plain(_TextBlocks):
    def __init__(self) -> None:
        super().__init__(np.zeros(1, np.int64), np.zeros(1, np.int64))

    def part(self, start: int, stop: int | None) -> TextPart:
        return TextPart(start, 0, None if stop is None else stop - start)


def write_share(
    source: SharedSource,
    share: Share,
    layout: Layout,
    folder: str,
    token: str,
    *,
    name: LayoutName = "raw",
    whole: bool,
    jobs: int,
) -> Written:
    """Write a share; done twice, it gives the same bytes.

    Args:
        source: the file.
        share: contigs and shards.
        layout: sizes of chunk and shard, in bases.
        folder: where the assembly is made.
        token: what its file TOKEN holds.
        name: how the bases are stored.
        whole: the source can be read from its start only.
        jobs: threads.

    Returns:
        What an `AssemblyWriter` has to add.

    Raises:
        InputError: the source is wrong or changed, or this machine does not see the same files.
    """
    opened = source.open()
    with SharePen(Path(folder), layout, share, token, name) as pen, Lanes(jobs) as lanes:
        placed = share.contigs if share.tail is None else [share.tail, *share.contigs]
        wanted = [one.contig for one in placed]
        for one, stream in zip(placed, _streams(source, opened, wanted, whole), strict=True):
            pen.begin(one.offset)
            if one is share.tail:
                at = one.offset
                for block, bases in even_blocks(stream.blocks(), layout.chunk):
                    pen.write(at, block[:bases])
                    at += bases
            else:
                take_contig(stream, pen, lanes, source.path, None)
    return pen.written


@dataclass(frozen=True)
class _Stream:
    """A contig that must be as it was in the first pass."""

    name: str
    description: str
    length: int
    blocks: Callable[[], Iterator[npt.NDArray[np.uint8]]]


def _streams(source: SharedSource, opened: Source, wanted: list[KnownContig], whole: bool) -> Iterator[ContigStream]:
    passing = opened.contigs() if whole else iter(())
    for known in wanted:
        if isinstance(opened, TwoBitFile):
            blocks = opened.contig(known.name).blocks
        elif whole:
            found = next((one for one in passing if one.name == known.name), None)
            if found is None:
                raise source.changed()
            blocks = found.blocks
        else:
            blocks = partial(source.blocks, known)
        yield _Stream(known.name, known.description, known.length, blocks)
