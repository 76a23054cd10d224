"""The coordinator of an ingest whose contigs other processes write: it holds the lock, the journal and the clock."""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.cluster import Cluster
from dnamamba.pipelines.packed_pieces import PieceReader, clear_pieces
from dnamamba.pipelines.share_pen import TOKEN, Finished, Written
from dnamamba.pipelines.share_tasks import Scan, SharedSource, scan, write_share
from dnamamba.pipelines.shares import PlacedContig, Share, cut_shares, place_all
from dnamamba.pipelines.sources import ContigStream
from dnamamba.pipelines.store_build import Interrupted, Progress
from dnamamba.pipelines.store_format import Contig, array_of
from dnamamba.pipelines.store_metadata import check_header
from dnamamba.pipelines.store_writer import AssemblyWriter


class ClusterIngest:
    """One source on its way into a store through a cluster. `fill` is for `store_build.build`."""

    def __init__(
        self,
        cluster: Cluster,
        source: SharedSource,
        chosen: Callable[[Iterable[ContigStream]], Iterator[ContigStream]],
        *,
        label: str,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> None:
        """Let a worker read the source a first time.

        Args:
            cluster: where the work is done.
            source: the file, as all workers see it.
            chosen: lets the wanted contigs through; it must be picklable.
            label: the source's name in messages.
            jobs: threads of one share.
            progress: see `store_build.Progress`.

        Raises:
            InputError: whatever is wrong with the source.
        """
        self._cluster, self._source, self._label, self._jobs = cluster, source, label, jobs
        self._progress = progress
        self.scan: Scan = cluster.call(scan, source, chosen)
        if self.scan.format == "fasta":  # of 2bit the names were seen here; a worker's warnings are not heard
            for _ in chosen(cast(Iterable[ContigStream], self.scan.contigs)):
                pass
        for contig in self.scan.contigs:
            check_header(contig.name, contig.description, label)
        self._total = sum(contig.length for contig in self.scan.contigs)
        if self._total == 0:
            raise InputError(f"{label}: holds no bases; a FASTA or 2bit file with sequence is wanted")

    def fill(self, writer: AssemblyWriter) -> None:
        """Have all contigs written that the writer does not have yet.

        Raises:
            InputError: what a worker found wrong.
            Interrupted: the cluster is gone.
        """
        placed = place_all(self.scan.contigs, writer.layout)
        _check_resumed(placed, writer.contigs, self._label)
        shares = [
            rest
            for share in cut_shares(placed, writer.layout, whole=self.scan.whole)
            if (rest := _rest(share, len(writer.contigs), placed)) is not None
        ]
        token = secrets.token_hex(16)
        (writer.folder / TOKEN).write_text(token)
        try:
            self._run(writer, shares, token)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException:
            # Workers that still run find no folder to write into, and what they opened goes with the rest.
            with suppress(OSError):
                shards = writer.folder / array_of(writer.layout_name)
                os.rename(shards / "c", shards / "stopped")
            raise
        finally:
            with suppress(FileNotFoundError):
                (writer.folder / TOKEN).unlink()
            clear_pieces(writer.folder)

    def _run(self, writer: AssemblyWriter, shares: Sequence[Share], token: str) -> None:
        folder = os.path.abspath(writer.folder)
        work = [
            partial(
                write_share,
                self._source,
                share,
                writer.layout,
                folder,
                token,
                name=writer.layout_name,
                whole=self.scan.whole,
                jobs=self._jobs,
            )
            for share in shares
        ]
        done = sum(contig.length for contig in writer.contigs)
        journal = InOrder(writer, shares)
        for number, written in self._cluster.run(work):
            journal.add(number, written)
            done += shares[number].bases
            if self._progress and shares[number].contigs:
                self._progress(shares[number].contigs[-1].contig.name, done, self._total)


class InOrder:
    """Gives a writer its contigs in order, each when all of its bases are written. Shares come in any order."""

    def __init__(self, writer: AssemblyWriter, shares: Sequence[Share]) -> None:
        self._writer, self._shares = writer, shares
        self._early: dict[int, Written] = {}
        self._pieces = PieceReader(writer.folder) if writer.layout_name == "packed" else None
        self._next = 0
        self._held: list[Finished] = []  # a contig whose end is the next share's

    def add(self, number: int, written: Written) -> None:
        self._early[number] = written
        while self._next in self._early:
            share = self._early.pop(self._next)
            if self._pieces is not None and share.pieces is not None:
                self._pieces.add(share.pieces)
            ready = self._held + share.finished
            self._next += 1
            over = self._next < len(self._shares) and self._shares[self._next].tail is not None
            self._held = ready[-1:] if over else []
            for one in ready[:-1] if over else ready:
                self._add(*one)

    def _add(self, contig: Contig, checksums: npt.NDArray[Any], n_counts: npt.NDArray[Any]) -> None:
        layout, writer = self._writer.layout, self._writer
        if self._pieces is not None and writer.runs is not None:
            last = layout.end(contig.offset, contig.length) // layout.chunk
            self._pieces.give(writer.runs, writer.end // layout.chunk, last)
        writer.add(contig, checksums, n_counts)


def _rest(share: Share, finished: int, placed: Sequence[PlacedContig]) -> Share | None:
    """What is left of a share when the first `finished` contigs are there already."""
    old = {id(one) for one in placed[:finished]}
    contigs = [one for one in share.contigs if id(one) not in old]
    tail = share.tail if share.tail is not None and id(share.tail) not in old else None
    return Share(share.first, share.last, contigs, tail) if contigs or tail else None


def _check_resumed(placed: Sequence[PlacedContig], finished: Sequence[Contig], label: str) -> None:
    for number, old in enumerate(finished):
        new = placed[number] if number < len(placed) else None
        if new is None or (new.contig.name, new.contig.length, new.offset) != (old.name, old.length, old.offset):
            what = f"contig {new.contig.name!r} stands" if new else "nothing stands"
            raise InputError(f"{label}: {what} where {old.name!r} was; run without --resume")
