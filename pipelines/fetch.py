"""Fetch the files of genomes, by name or address, several at a time."""

import os
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Literal

from dnamamba.errors import InputError
from dnamamba.pipelines.fetch_address import check_url, url_file_name, url_label
from dnamamba.pipelines.fetch_file import Fetched, fetch_file, warn
from dnamamba.pipelines.fetch_reply import FetchSettings, Note, Surroundings
from dnamamba.pipelines.manifest import Manifest, SourceFile, load_manifest

Format = Literal["2bit", "fasta"]
FetchProgress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes of all files so far, and the bytes in all (None: not known)."""


def fetch(
    names: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    format: Format | None = None,
    jobs: int = 4,
    settings: FetchSettings | None = None,
    progress: FetchProgress | None = None,
    note: Note | None = None,
) -> list[Fetched]:
    """Fetch the files of genomes, several at a time.

    Args:
        names: manifests, or addresses (http, https, s3, gs, file).
        folder: where the files go; made when there is none.
        format: of the file wanted; by default the manifest's first.
        jobs: files fetched at a time.
        settings: see `FetchSettings`.
        progress: see `FetchProgress`.
        note: called with one line about each retry, each mirror left behind, each file that nothing vouches for; by
            default these are warnings.

    Returns:
        One entry a name, in their order.

    Raises:
        InputError: an unknown name, or files that could not be fetched, all of them named. The others are there; of
            these, what has come so far waits as NAME.part for the next call.
    """
    wanted = [wanted_file(name, format) for name in names]
    targets: dict[str, SourceFile] = {}
    for file in wanted:
        other = targets.setdefault(url_file_name(file.urls[0]), file)
        if other != file:
            both = f"{url_label(other.urls[0])} and {url_label(file.urls[0])}"
            raise InputError(f"{both} would have one name on disk; fetch them into two folders")
    around = Surroundings(settings or FetchSettings(), note or warn, Event())
    tally = _Tally(list(targets.values()), progress)
    todo: SimpleQueue[str] = SimpleQueue()
    done: SimpleQueue[tuple[str, Fetched | BaseException]] = SimpleQueue()
    for target in targets:
        todo.put(target)

    def work() -> None:
        while not around.stop.is_set():
            try:
                target = todo.get_nowait()
            except Empty:
                return
            try:
                done.put((target, fetch_file(targets[target], folder, around=around, progress=tally.of(target))))
            except BaseException as error:
                done.put((target, error))

    # Daemons: after Ctrl-C nobody waits for a server that is silent. All they do is to append to a part.
    for i in range(min(jobs, len(targets))):
        Thread(target=work, name=f"fetch {i}", daemon=True).start()
    results: dict[str, Fetched] = {}
    problems: list[str] = []
    try:
        for _ in targets:
            target, result = done.get()
            if isinstance(result, InputError):
                problems.append(str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                results[target] = result
    finally:
        around.stop.set()
    if problems:
        raise InputError("; ".join(problems))
    return [results[url_file_name(file.urls[0])] for file in wanted]


def wanted_file(name: str | Manifest, format: Format | None) -> SourceFile:
    """The file that a manifest's name or an address stands for.

    Raises:
        InputError: no such manifest, none of its files has this format, or an address that is not fetched.
    """
    if isinstance(name, str) and "://" in name:
        url_file_name(check_url(name))
        return SourceFile(format=format or "fasta", urls=(name,), size=None, md5=None, md5sums=None)
    manifest = load_manifest(name) if isinstance(name, str) else name
    for file in manifest.files:
        if format in (None, file.format):
            for url in file.urls:
                check_url(url)
            return file
    held = ", ".join(sorted({file.format for file in manifest.files}))
    raise InputError(f"manifest {manifest.name!r}: lists no {format} file, only {held}")


class _Tally:
    """Adds up what several threads have fetched."""

    def __init__(self, files: Sequence[SourceFile], progress: FetchProgress | None) -> None:
        self._progress, self._lock = progress, Lock()
        names = [url_file_name(file.urls[0]) for file in files]
        self._done = dict.fromkeys(names, 0)
        self._totals = {name: file.size for name, file in zip(names, files, strict=True)}

    def of(self, name: str) -> Callable[[int, int | None], None]:
        def tick(done: int, total: int | None) -> None:
            if self._progress is None:
                return
            with self._lock:
                self._done[name], self._totals[name] = done, total
                totals = [total for total in self._totals.values() if total is not None]
                whole = sum(totals) if len(totals) == len(self._totals) else None
                self._progress(name, sum(self._done.values()), whole)

        return tick
