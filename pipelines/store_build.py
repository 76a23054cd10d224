"""The way of every assembly into a store: contigs in, digests and checksums on the way, one rename at the end."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dnamamba import __version__
from dnamamba.errors import InputError
from dnamamba.pipelines.contig_names import named
from dnamamba.pipelines.ingest_source import peek
from dnamamba.pipelines.sources import ContigStream
from dnamamba.pipelines.store_format import (
    FORMAT,
    VERSION,
    Contig,
    Layout,
    LayoutName,
    choose_layout,
    group_document,
    to_json,
)
from dnamamba.pipelines.store_intake import ContigIntake, Lanes, even_blocks
from dnamamba.pipelines.store_lock import Workplace
from dnamamba.pipelines.store_metadata import check_header
from dnamamba.pipelines.store_writer import AssemblyWriter

Progress = Callable[[str, int, int | None], None]
"""Called after each block with the contig's name, the bases done so far, and the bases in all (None: not known)."""


class Interrupted(InputError):
    """Something outside stopped an ingest: what is finished waits for `resume`."""


class ContigWriter(Protocol):
    """Where a contig's bases go; `AssemblyWriter` says what each method does."""

    @property
    def layout(self) -> Layout: ...

    def place(self, length: int) -> int: ...

    def write(self, offset: int, data: npt.NDArray[np.uint8]) -> None: ...

    def add(self, contig: Contig, checksums: npt.NDArray[Any], n_counts: npt.NDArray[Any]) -> None: ...


def build(
    place: Workplace,
    contigs: Iterable[ContigStream],
    *,
    label: str,
    attributes: Callable[[], dict[str, Any]],
    header: dict[str, Any],
    layout: LayoutName = "raw",
    lengths: Sequence[int] | None = None,
    complete: bool = True,
    fill: Callable[[AssemblyWriter], None] | None = None,
    resume: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Make an assembly aside and make it visible.

    Args:
        place: the locked assembly.
        contigs: its contigs, each read before the next is asked for.
        label: the source's name in messages.
        attributes: asked at the end; may raise InputError.
        header: what a later ingest must have in common to go on with this one; `source` None when none can.
        layout: how the bases are stored.
        lengths: of the contigs, where they are known before.
        complete: whether `lengths` are those of all contigs.
        fill: puts the contigs into the writer when others do the work; `contigs` is not read then.
        resume: go on with what an interrupted ingest left.
        jobs: threads; by default one a core.
        progress: see `Progress`.

    Raises:
        InputError: what the source or `attributes` raise, two contigs of one name, no bases at all. Nothing is left
            aside then; after an interruption or a kill the finished contigs wait for `resume`.
    """
    header = {"version": VERSION, **header}
    writer = AssemblyWriter.resume(place.new, header, layout) if resume else None
    try:
        if writer is None:
            place.clear()
            known = lengths
            if known is None:
                known, complete, contigs = peek(contigs)
            writer = AssemblyWriter.start(place.new, choose_layout(known, complete=complete), header, layout)
        with writer, Lanes(jobs if jobs is not None else os.cpu_count() or 1) as lanes:
            total = None if lengths is None else sum(lengths)
            if fill is not None:
                fill(writer)
            else:
                _fill(writer, lanes, contigs, label, progress and (lambda name, done: progress(name, done, total)))
            writer.finish({**_common(place, writer), **_fitting(attributes(), writer, place.final.name, label)})
        _make_root(place)
        place.publish()
    except (KeyboardInterrupt, Interrupted):
        if header["source"] is None:  # it cannot be read a second time: nothing can go on with this
            place.clear()
        raise
    except BaseException:
        place.clear()
        raise


def _fill(
    writer: AssemblyWriter,
    lanes: Lanes,
    contigs: Iterable[ContigStream],
    label: str,
    progress: Callable[[str, int], None] | None,
) -> None:
    names = {contig.name for contig in writer.contigs}
    done = sum(contig.length for contig in writer.contigs)
    for contig in _remaining(contigs, writer.contigs, label):
        if contig.name in names:
            raise InputError(f"{label}: two contigs are named {contig.name!r}; rename one")
        names.add(contig.name)
        check_header(contig.name, contig.description, label)
        done += take_contig(contig, writer, lanes, label, progress and partial(_tick, progress, contig.name, done))
    if done == 0:
        raise InputError(f"{label}: holds no bases; a FASTA or 2bit file with sequence is wanted")


def _remaining(contigs: Iterable[ContigStream], finished: Sequence[Contig], label: str) -> Iterator[ContigStream]:
    """The contigs after those that an interrupted ingest finished."""
    old = iter(tuple(finished))
    for contig in contigs:
        before = next(old, None)
        if before is None:
            yield contig
        elif before.name != contig.name or contig.length not in (None, before.length):
            raise InputError(f"{label}: contig {contig.name!r} stands where {before.name!r} was; run without --resume")


def take_contig(
    contig: ContigStream,
    writer: ContigWriter,
    lanes: Lanes,
    label: str,
    tick: Callable[[int], None] | None,
) -> int:
    """Write one contig; gives back its length. Until it is known whether it outgrows a shard, and so where it has to
    start, its blocks are held: at most a shard of them."""
    intake = ContigIntake(writer.layout.chunk)
    held: list[npt.NDArray[np.uint8]] = []
    written = 0
    for block, bases in even_blocks(contig.blocks(), writer.layout.chunk):
        steps = intake.steps(block, bases)
        held.append(block[:bases])
        if contig.length is not None or intake.length > writer.layout.shard:
            offset = writer.place(contig.length if contig.length is not None else intake.length)
            steps += (partial(_write, writer, offset + written, held),)
            written, held = intake.length, []
        lanes.run(bases, *steps)
        if tick:
            tick(intake.length)
    lanes.wait()
    if contig.length not in (None, intake.length):
        raise InputError(
            f"{label}: contig {contig.name!r}: {intake.length:,} bases came, {contig.length:,} were announced"
        )
    offset = writer.place(intake.length)
    _write(writer, offset + written, held)
    row = Contig(
        name=contig.name,
        offset=offset,
        length=intake.length,
        refget=intake.digester.refget,
        md5=intake.digester.md5,
        description=contig.description,
        n_bases=int(intake.n_counts.sum(dtype=np.int64)),
        lower=intake.lower,
    )
    writer.add(row, intake.checksums, intake.n_counts)
    return intake.length


def _tick(progress: Callable[[str, int], None], name: str, before: int, bases: int) -> None:
    progress(name, before + bases)


def _write(writer: ContigWriter, offset: int, blocks: list[npt.NDArray[np.uint8]]) -> None:
    for block in blocks:
        writer.write(offset, block)
        offset += len(block)


def _common(place: Workplace, writer: AssemblyWriter) -> dict[str, Any]:
    # SOURCE_DATE_EPOCH: the convention of reproducible-builds.org, so that two ingests can be equal in every byte.
    now = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return {
        "format": FORMAT,
        "version": VERSION,
        "layout": writer.layout_name,
        "assembly": place.final.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "package_version": __version__,
        "bases": sum(contig.length for contig in writer.contigs),
        "n_bases": sum(contig.n_bases for contig in writer.contigs),
        "lower_bases": sum(contig.lower for contig in writer.contigs),
    }


def _fitting(attributes: dict[str, Any], writer: AssemblyWriter, assembly: str, label: str) -> dict[str, Any]:
    """The attributes with all names of these contigs."""
    return named(attributes, assembly, {contig.name: contig.length for contig in writer.contigs}, label)


def _make_root(place: Workplace) -> None:
    """Make the folder a store, in one step; two processes that do it write the same."""
    root = place.store / "zarr.json"
    if not root.exists():
        part = place.folder / "root"
        part.write_bytes(to_json(group_document({"format": FORMAT, "version": VERSION})))
        os.replace(part, root)
