"""What runs in another process, maybe on another machine: read a source once, and write one share of an assembly."""

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba import __version__
from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream, TextPart, is_bgzip
from dnamamba.pipelines.fasta import FastaContig, FastaFile, Names
from dnamamba.pipelines.ingest_source import peek
from dnamamba.pipelines.letters import Gaps, LetterRules, Unknown
from dnamamba.pipelines.shares import KnownContig, Share
from dnamamba.pipelines.signatures import GZIP
from dnamamba.pipelines.sources import ContigStream, Source, open_source
from dnamamba.pipelines.store_build import take_contig
from dnamamba.pipelines.store_format import Contig, Layout
from dnamamba.pipelines.store_intake import Lanes
from dnamamba.pipelines.twobit import TwoBitFile

TOKEN = "token"  # file of an assembly in the making: only who knows what it holds may write there
Finished = tuple[Contig, npt.NDArray[Any], npt.NDArray[Any]]
"""A contig's row, its chunks' checksums and its counts of N."""


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


class SharePen:
    """Writes the bases of one share into its shards. Use it as a context manager: it ends when all is on the disk."""

    def __init__(self, folder: Path, layout: Layout, share: Share, token: str) -> None:
        self.layout = layout
        self.finished: list[Finished] = []
        self._folder, self._share, self._token = folder, share, token
        self._offset = 0
        self._shard, self._handle = -1, -1

    def __enter__(self) -> "SharePen":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            try:
                if kind is None:
                    os.fsync(handle)
            finally:
                os.close(handle)

    def begin(self, offset: int) -> None:
        """The next contig has this offset."""
        self._offset = offset

    def place(self, length: int) -> int:
        """Where the contig lies."""
        return self._offset

    def write(self, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Put bases at an offset, uint8 [n]; those outside the share are another one's.

        Raises:
            InputError: nobody waits for this share any more, or this machine does not see the store.
        """
        low, high = self._share.first * self.layout.shard, self._share.last * self.layout.shard
        data = data[max(low - offset, 0) : max(high - offset, 0)]
        offset = max(offset, low)
        view = data.data
        if len(view):
            self._check()
        while len(view):
            shard, within = divmod(offset, self.layout.shard)
            if shard != self._shard:
                self.__exit__(None)
                path = self._folder / "sequence" / "c" / str(shard)
                self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
                self._shard = shard
            done = os.pwrite(self._handle, view[: self.layout.shard - within], within)
            offset, view = offset + done, view[done:]

    def add(self, contig: Contig, checksums: npt.NDArray[Any], n_counts: npt.NDArray[Any]) -> None:
        """Keep what is to be told of a finished contig."""
        self.finished.append((contig, checksums, n_counts))

    def _check(self) -> None:
        """A worker that was taken for dead must not write into what others have begun since."""
        try:
            token = (self._folder / TOKEN).read_text()
        except OSError:
            token = ""
        if token != self._token:
            raise InputError(
                f"{self._folder}: the worker on {socket.gethostname()} does not see the ingest that sent it;"
                " the store must lie where all workers see it"
            )


def write_share(
    source: SharedSource, share: Share, layout: Layout, folder: str, token: str, *, whole: bool, jobs: int
) -> list[Finished]:
    """Write a share; done twice, it gives the same bytes.

    Args:
        source: the file.
        share: contigs and shards.
        layout: sizes of chunk and shard, in bases.
        folder: where the assembly is made.
        token: what its file TOKEN holds.
        whole: the source can be read from its start only.
        jobs: threads.

    Returns:
        Of each contig that starts in the share what an `AssemblyWriter` has to add, in order.

    Raises:
        InputError: the source is wrong or changed, or this machine does not see the same files.
    """
    opened = source.open()
    with SharePen(Path(folder), layout, share, token) as pen, Lanes(jobs) as lanes:
        placed = share.contigs if share.tail is None else [share.tail, *share.contigs]
        wanted = [one.contig for one in placed]
        for one, stream in zip(placed, _streams(source, opened, wanted, whole), strict=True):
            pen.begin(one.offset)
            if one is share.tail:
                at = one.offset
                for block in stream.blocks():
                    pen.write(at, block)
                    at += len(block)
            else:
                take_contig(stream, pen, lanes, source.path, None)
    return pen.finished


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
