"""From a genome's name, an address or a path to a store in one go: what `dnamamba genome ingest SOURCE` does."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote, urlsplit

from dnamamba.errors import InputError
from dnamamba.pipelines.fetch import FetchProgress, Format, wanted_file
from dnamamba.pipelines.fetch_address import check_url, is_url, url_file_name, url_label
from dnamamba.pipelines.fetch_file import fetch_file, warn
from dnamamba.pipelines.fetch_reply import FetchSettings, Note, Surroundings
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.ingest_source import default_assembly
from dnamamba.pipelines.manifest import Manifest, SourceFile, load_manifest, manifest_names
from dnamamba.pipelines.remote_stream import RemoteStream
from dnamamba.pipelines.store import Assembly
from dnamamba.pipelines.store_files import StoreFiles
from dnamamba.pipelines.store_format import ASIDE, check_assembly_name

DOWNLOADS = ".downloads"
"""Folder for downloads under the store's `ASIDE`; no assembly can have this name."""


@dataclass(frozen=True)
class Remote:
    """A source that is not on this disk."""

    file: SourceFile
    assembly: str
    """The name that its assembly gets by default."""
    manifest: Manifest | None
    """What its contigs must be, when it was called by a manifest's name."""


def find_source(source: str | os.PathLike[str], format: Format | None = None) -> str | Remote:
    """What a source stands for.

    Args:
        source: a path, which wins when it is there; an address; or a manifest's name, or the path of a manifest.
        format: which of a manifest's files; by default its first.

    Returns:
        A path (file:// is one, and so is "-"), or a remote file.

    Raises:
        InputError: none of these; the nearest name is shown.
    """
    text = os.fspath(source)
    is_manifest = text.endswith((".yaml", ".yml"))
    if text == "-" or (os.path.lexists(text) and not is_manifest):
        return text
    if is_url(text):
        check_url(text)
        if urlsplit(text).scheme == "file":
            return unquote(urlsplit(text).path)
        return Remote(wanted_file(text, format), default_assembly(url_file_name(text)), None)
    if is_manifest or text in manifest_names():
        manifest = load_manifest(text)
        return Remote(wanted_file(manifest, format), manifest.name, manifest)
    near = get_close_matches(text, manifest_names(), n=1, cutoff=0.5)
    hint = f"; is {near[0]!r} meant?" if near else "; `dnamamba genome list` shows the names"
    if os.path.basename(text) != text:
        raise InputError(f"{text}: no such file")
    raise InputError(f"{text}: no such file, and no genome of this name{hint}")


def check_names(
    sources: Iterable[str],
    store_path: str | os.PathLike[str],
    format: Format | None = None,
    *,
    replace: bool = False,
) -> None:
    """Look at the names that several sources would get in a store, before any of them is read.

    Args:
        sources, store_path, format: as of `ingest_source`.
        replace: an assembly that is there already is no error.

    Raises:
        InputError: as `find_source`; or a name that cannot be, that two sources get, or that is there already.
    """
    store = StoreFiles(store_path).local
    named: dict[str, str] = {}
    for source in sources:
        found = find_source(source, format)
        name = check_assembly_name(default_assembly(found) if isinstance(found, str) else found.assembly)
        if name in named:
            raise InputError(f"{named[name]} and {source}: both would be assembly {name!r}; ingest one with --assembly")
        named[name] = source
        if not replace:
            _check_free(store, name)


def _check_free(store: Path | None, name: str) -> None:
    if store is not None and (store / name / "zarr.json").exists():
        raise InputError(f"{store}: assembly {name!r} is there already; --overwrite replaces it")


def ingest_source(
    source: str | os.PathLike[str],
    store_path: str | os.PathLike[str],
    *,
    stream: bool = False,
    folder: str | os.PathLike[str] | None = None,
    keep: bool = False,
    format: Format | None = None,
    settings: FetchSettings | None = None,
    fetched: FetchProgress | None = None,
    note: Note | None = None,
    assembly: str | None = None,
    **options: Any,
) -> Assembly:
    """Put a genome into a store, wherever it is. What is not on this disk is downloaded first, or streamed.

    Args:
        source: see `find_source`.
        store_path: a local folder, or what else `ingest` writes to.
        stream: read a FASTA from its server straight into the store. Nothing is seen in the store before size and MD5,
            where they are known, have been found right. Of a file on this disk, this changes nothing.
        folder: where downloads go, and stay; by default a folder in the store, and they are removed when the assembly
            is there. What is broken off goes on with the next call.
        keep: do not remove the download.
        format: which of a manifest's files; by default its first, with `stream` the FASTA.
        settings: see `FetchSettings`.
        fetched: progress of the download, see `FetchProgress`.
        note: called with one line about each retry and whatever cannot be verified; by default these are warnings.
        assembly: its name; by default the manifest's, or the file's without its endings.
        options: further arguments of `ingest`.

    Returns:
        The assembly, opened.

    Raises:
        InputError: as `ingest`, `fetch_file` and `RemoteStream`; a 2bit file cannot be streamed.
    """
    note = note or warn
    found = find_source(source, format)
    if isinstance(found, str):
        return ingest(found, store_path, assembly=assembly, **options)
    name = check_assembly_name(assembly if assembly is not None else found.assembly)
    store = StoreFiles(store_path).local
    if not (options.get("overwrite") or options.get("resume")):
        _check_free(store, name)  # not after hours
    if found.manifest is not None:
        options.setdefault("manifest", found.manifest)
    made_by = dict(options.pop("provenance", None) or {})
    if stream:
        if options.get("cluster") is not None:
            raise InputError(f"{os.fspath(source)}: workers of a cluster cannot read one stream; leave --stream out")
        if found.manifest is not None:
            found = Remote(wanted_file(found.manifest, "fasta"), found.assembly, found.manifest)
        with closing(RemoteStream(found.file, settings=settings, note=note)) as remote:
            made_by |= remote.provenance
            return ingest(remote, store_path, assembly=name, provenance=made_by, **options)
    if store is None and folder is None:
        raise InputError(f"{store_path}: a store behind an address has no place for downloads; give --dir, or --stream")
    around = Surroundings(settings or FetchSettings(), note, Event())
    with _download_folder(store, folder, found.file, keep, note) as target:
        file_name = url_file_name(found.file.urls[0])
        tick = partial(fetched, file_name) if fetched else None
        got = fetch_file(found.file, target, around=around, progress=tick)
        made_by |= {"url": got.url or url_label(found.file.urls[0]), "md5": got.md5, "checked": list(got.checked)}
        return ingest(got.path, store_path, assembly=name, provenance=made_by, **options)


@contextmanager
def _download_folder(
    store: Path | None, folder: str | os.PathLike[str] | None, file: SourceFile, keep: bool, note: Note
) -> Iterator[Path]:
    """Where a download goes; when all went well, it goes from there again."""
    if store is None or folder is not None:
        assert folder is not None
        yield Path(folder)
        return
    # One folder an address: two files of one name never stand in for each other.
    aside = store / ASIDE
    place = aside / DOWNLOADS / hashlib.sha256(file.urls[0].encode()).hexdigest()[:16]
    path = place / url_file_name(file.urls[0])
    try:
        yield place
    except InputError:
        if path.exists():
            note(f"{path}: is kept, for the next ingest of this source")
        raise
    if keep:
        note(f"{path}: kept")
        return
    path.unlink(missing_ok=True)
    for empty in (place, place.parent, aside):
        with suppress(OSError):  # others may have downloads or assemblies in the making there
            empty.rmdir()
