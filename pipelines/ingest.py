"""From a genome file, or from arrays, into a store: streaming, resumable, and visible only when whole."""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError, UsageError
from dnamamba.pipelines.alias_files import read_synonyms
from dnamamba.pipelines.cluster import Cluster
from dnamamba.pipelines.fasta import Names
from dnamamba.pipelines.ingest_cluster import ClusterIngest
from dnamamba.pipelines.ingest_source import ArrayContig, NameFilter, SourceFile, default_assembly
from dnamamba.pipelines.letters import Gaps, Unknown
from dnamamba.pipelines.manifest import Manifest, find_manifest
from dnamamba.pipelines.remote_stream import RemoteStream
from dnamamba.pipelines.share_tasks import SharedSource
from dnamamba.pipelines.sources import open_source
from dnamamba.pipelines.store import Assembly, local_folder, open_store
from dnamamba.pipelines.store_build import Progress, build
from dnamamba.pipelines.store_files import StoreFiles
from dnamamba.pipelines.store_format import ASIDE, LayoutName, check_assembly_name, check_layout_name
from dnamamba.pipelines.store_lock import Workplace, assembly_lock
from dnamamba.pipelines.store_staging import staged

_FULL = (errno.ENOSPC, errno.EDQUOT)


def ingest(
    source_path: str | os.PathLike[str],
    store_path: str | os.PathLike[str],
    *,
    assembly: str | None = None,
    names: Names = "first-word",
    gaps: Gaps = "error",
    unknown: Unknown = "error",
    rna: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    layout: LayoutName = "raw",
    aliases: Mapping[str, str] | str | os.PathLike[str] | None = None,
    manifest: Manifest | None = None,
    simulated: bool = False,
    provenance: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> Assembly:
    """Put a FASTA or 2bit file into a store as one assembly. The store is made when there is none.

    Args:
        source_path: the file, told by its content; "-" is standard input (FASTA). Or a `RemoteStream`; names of
            genomes and addresses are for `remote_source.ingest_source`.
        store_path: a folder, or an address that fsspec can write (S3): then the assembly is made here and uploaded.
        assembly: its name; by default the file's without its endings.
        names: contigs are called by the "first-word" of their header or by the "full" header.
        gaps: alignment gaps are an "error", or "drop" leaves them out.
        unknown: letters that are no IUPAC code are an "error", or become "N".
        rna: store U as T; without it a U is an error.
        include: names, patterns as of a shell, or classes (@primary); contigs that fit none are left out.
        exclude: likewise; contigs that fit one are left out.
        resume: go on with an interrupted ingest of the same file; when it is whole already, do nothing.
        overwrite: replace an assembly that is there, once the new one is whole.
        layout: "raw", a byte a base for training, or "packed", about a quarter of it, for archives and object stores.
        aliases: other names of contigs, {alias: contig}; those of contigs that are not there are left out. Or a table
            of UCSC (chromAlias.txt) or NCBI (assembly report).
        manifest: that the contigs must agree with in length, for their aliases, homologs and classes; by default that
            of the assembly's name, if there is one, and a warning where they do not agree.
        simulated: mark the assembly as made by a program.
        provenance: anything else worth keeping, as JSON can hold it.
        jobs: threads; by default one a core, four at most. In a cluster: threads a task, by default one.
        cluster: whose workers read and write; they must see source and store under the same paths.
        progress: see `Progress`.

    Returns:
        The assembly, opened.

    Raises:
        InputError: anything wrong with source, store or disk, in one sentence. No half-made assembly is ever visible;
            after a kill it waits aside for `resume`, after any other failure nothing is left.
    """
    label = "standard input" if os.fspath(source_path) == "-" else os.fspath(source_path)
    if assembly is None and label == "standard input":
        raise UsageError("standard input: name the assembly with --assembly")
    check_layout_name(layout)
    name = check_assembly_name(assembly if assembly is not None else default_assembly(source_path))
    stream = source_path if isinstance(source_path, RemoteStream) else None
    file = stream or SourceFile(source_path, label)
    if resume and file.identity is None:
        raise InputError(f"{label}: a pipe, or a server without ETag, cannot be gone on with; run without --resume")
    if cluster is not None and file.identity is None:
        raise InputError(f"{label}: workers of a cluster cannot read a pipe; give a file that all of them see")
    reading: dict[str, Any] = {"names": names, "gaps": gaps, "unknown": unknown, "rna": rna}
    reading |= {"include": list(include), "exclude": list(exclude)}
    table = read_synonyms(aliases) if isinstance(aliases, str | os.PathLike) else ()
    extra = _checked(simulated, None if isinstance(aliases, str | os.PathLike) else aliases, provenance)
    extra |= {"synonyms": table, "manifest": manifest}
    place_of = _writing(store_path, name, overwrite=overwrite, resume=resume)
    with place_of as place, ThreadPoolExecutor(1, "sha256") as pool:
        file.start_digest(pool)
        if place.final.exists() and not overwrite:  # a resume: the kill may have come after the last step
            found = open_store(place.store)[name].attributes
            same = {"format": found["source"]["format"], **file.attributes(), **reading}
            if found["source"] != same or found["layout"] != layout:
                raise _already(place)
        else:
            handle = None if stream is None else stream.handle
            source = open_source(source_path, names=names, gaps=gaps, unknown=unknown, rna=rna, handle=handle)
            known = manifest if manifest is not None or simulated else find_manifest(name)
            chosen = NameFilter(include, exclude, label, known, strict=manifest is not None)
            lengths = [contig.length or 0 for contig in chosen(source.contigs())] if source.format == "2bit" else None
            remote = None
            if cluster is not None:
                shared = SharedSource(
                    path=os.path.abspath(source_path),
                    size=os.stat(source_path).st_size,
                    names=names,
                    gaps=gaps,
                    unknown=unknown,
                    rna=rna,
                )
                remote = ClusterIngest(cluster, shared, chosen, label=label, jobs=jobs or 1, progress=progress)
                lengths = list(remote.scan.seen)

            def attributes() -> dict[str, Any]:
                return {**extra, "source": {"format": source.format, **file.attributes(), **reading}}

            build(
                place,
                chosen(source.contigs()),
                label=label,
                attributes=attributes,
                header={"source": file.identity, "options": reading},
                layout=layout,
                lengths=lengths,
                complete=remote is None or remote.scan.complete,
                fill=None if remote is None else remote.fill,
                resume=resume,
                jobs=jobs,
                progress=progress,
            )
    return open_store(store_path)[name]


def ingest_arrays(
    contigs: Iterable[tuple[str, str, npt.NDArray[np.uint8]]],
    store_path: str | os.PathLike[str],
    *,
    assembly: str,
    source: str = "arrays",
    overwrite: bool = False,
    layout: LayoutName = "raw",
    aliases: Mapping[str, str] | None = None,
    simulated: bool = False,
    provenance: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Assembly:
    """Put sequences that are in memory into a store as one assembly; the other arguments are those of `ingest`.

    Args:
        contigs: (name, description, bases uint8 [n]) each, taken one at a time.
        assembly: its name.
        source: what stands in the attributes where a file's name would.

    Raises:
        InputError: as `ingest`; also two contigs of one name, or a letter that is no IUPAC code.
    """
    check_assembly_name(assembly)
    check_layout_name(layout)
    extra = _checked(simulated, aliases, provenance)
    origin = {"name": source, "format": "arrays", "size": None, "sha256": None}
    with _writing(store_path, assembly, overwrite=overwrite) as place:
        build(
            place,
            (ArrayContig(*contig) for contig in contigs),
            label=source,
            attributes=lambda: {**extra, "source": origin},
            header={"source": None},
            layout=layout,
            jobs=jobs,
            progress=progress,
        )
    return open_store(store_path)[assembly]


def _checked(
    simulated: bool, aliases: Mapping[str, str] | None, provenance: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The attributes that the caller gave, refused before anything is read when JSON cannot hold them."""
    extra = {"simulated": simulated, "aliases": dict(aliases or {}), "provenance": dict(provenance or {})}
    try:
        json.dumps(extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"aliases and provenance: must be what JSON can hold ({error})") from None
    return extra


@contextmanager
def _writing(
    store_path: str | os.PathLike[str], assembly: str, *, overwrite: bool, resume: bool = False
) -> Iterator[Workplace]:
    """Lock the assembly. Errors of the disk come out as one sentence, and a store made for nothing goes again."""
    remote = StoreFiles(store_path)
    if remote.local is None:
        with (
            staged(remote, assembly, overwrite=overwrite, resume=resume) as folder,
            _writing(folder, assembly, overwrite=overwrite or resume) as place,
        ):
            yield place
        return
    store = local_folder(store_path)
    try:
        _check_folder(store)
        made = not store.exists()
        try:
            with assembly_lock(store, assembly) as place:
                if place.final.exists() and not (overwrite or resume):
                    raise _already(place)
                yield place
        finally:
            if made:
                with suppress(OSError):  # it is not empty when all went well
                    store.rmdir()
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                f"{store}: no space left on this disk while {assembly!r} was written; nothing of it was kept:"
                " make room and run again"
            ) from None
        raise InputError(f"{store}: cannot be written: {error.strerror or error}") from None


def _check_folder(store: os.PathLike[str]) -> None:
    """A place for a store: nothing, an empty folder, or a store of ours."""
    with suppress(FileNotFoundError):
        names = set(os.listdir(store)) - {ASIDE}
        if "zarr.json" in names:
            open_store(store)
        elif names:
            raise InputError(f"{store}: this folder holds other things and is no genome store; choose another")


def _already(place: Workplace) -> InputError:
    return InputError(f"{place.store}: assembly {place.final.name!r} is there already; --overwrite replaces it")
