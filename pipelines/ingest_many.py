"""Several sources into a store at the same time, their contigs spread over the workers of one cluster."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePath
from typing import Any

from dnamamba.errors import InputError
from dnamamba.pipelines.cluster import Cluster
from dnamamba.pipelines.remote_source import ingest_source
from dnamamba.pipelines.store import Assembly
from dnamamba.pipelines.store_build import Progress

_AT_ONCE = 16  # sources; each keeps one thread here, which waits and takes the SHA-256


def ingest_many(
    sources: Sequence[str],
    store: str | os.PathLike[str],
    *,
    cluster: Cluster,
    done: Callable[[Assembly], None],
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Put each source into the store as an assembly. One that fails does not stop the others.

    Args:
        sources: files that all workers see, addresses, or names of genomes.
        store: where to.
        cluster: whose workers read and write.
        done: called with each assembly as soon as it is there.
        progress: see `store_build.Progress`; the bases are those of all sources.
        options: further arguments of `ingest_source`.

    Raises:
        InputError: at the end, when one or more sources failed.
    """
    sums = _Sums(progress, len(sources)) if progress else None
    failures: list[InputError] = []

    def one(number: int, source: str) -> None:
        tick = sums and partial(sums.tick, number, PurePath(source).name)
        try:
            done(ingest_source(source, store, cluster=cluster, progress=tick, **options))
        except InputError as error:
            failures.append(error)

    with ThreadPoolExecutor(min(len(sources), _AT_ONCE), "source") as pool:
        futures = [pool.submit(one, number, source) for number, source in enumerate(sources)]
        try:
            for future in futures:
                future.result()
        except BaseException:  # above all Ctrl-C, which comes to this thread alone
            for future in futures:
                future.cancel()
            cluster.stop()
            raise
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise InputError(f"{len(failures)} of {len(sources)} sources failed: " + "; ".join(map(str, failures)))


class _Sums:
    """Adds up the progress of several sources."""

    def __init__(self, progress: Progress, sources: int) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._done, self._totals = [0] * sources, list[int | None]([None] * sources)

    def tick(self, number: int, source: str, contig: str, done: int, total: int | None) -> None:
        with self._lock:
            self._done[number], self._totals[number] = done, total
            known = [total for total in self._totals if total is not None]
            whole = sum(known) if len(known) == len(self._totals) else None
            self._progress(f"{source} {contig}", sum(self._done), whole)
