"""An ingest that is killed, from outside at a random moment or by itself at a given call, and gone on with."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.store import Assembly

FORK = multiprocessing.get_context("fork")
ASSEMBLY = "toy"


@dataclass(frozen=True)
class Kill:
    """What one kill met, and what the resume after it did."""

    after: float
    """Seconds from the start to SIGKILL, or to the end when that came first."""
    hit: bool
    """Whether the process was still at work."""
    state: str
    """What stood on the disk: "nothing", "in the making" or "whole"."""
    finished: tuple[str, ...]
    """Contigs of the source that the journal held; all of them when the assembly was whole."""
    again: tuple[str, ...]
    """Contigs that the resume worked on."""

    @property
    def redone(self) -> set[str]:
        """Contigs that were finished and done again: none, when all is well."""
        return set(self.finished) & set(self.again)


def kill_and_resume(
    source: Path, store: Path, contigs: list[str], after: float, pause: float = 0
) -> tuple[Kill, Assembly]:
    """Ingest in a process that is killed `after` seconds, look at what is left, and resume in this one.

    Args:
        source: a FASTA or 2bit file.
        store: where it goes; nothing is there yet, or what an earlier kill left.
        contigs: names of the source's contigs in its order.
        after: seconds.
        pause: seconds that each report of progress takes, to stretch a small ingest.
    """
    child = FORK.Process(target=_ingest, args=(source, store, pause))
    begin = time.perf_counter()
    child.start()
    child.join(after)
    if child.is_alive():
        child.kill()
    child.join()
    seconds = time.perf_counter() - begin
    assert child.exitcode in (0, -signal.SIGKILL), f"the ingest ended with {child.exitcode}"
    new = store / ".ingest" / ASSEMBLY / "new"
    if (store / ASSEMBLY).exists():
        state, count = "whole", len(contigs)
    elif new.exists():
        journal = new / "journal"  # a head, and a line a contig; what stands behind the last line end is none
        state, count = "in the making", max(journal.read_bytes().count(b"\n") - 1, 0) if journal.exists() else 0
    else:
        state, count = "nothing", 0
    again: dict[str, None] = {}
    made = ingest(source, store, assembly=ASSEMBLY, resume=True, progress=lambda name, *_: again.setdefault(name))
    hit = child.exitcode == -signal.SIGKILL
    return Kill(seconds, hit, state, tuple(contigs[:count]), tuple(again)), made


def _ingest(source: Path, store: Path, pause: float) -> None:
    ingest(source, store, assembly=ASSEMBLY, resume=True, progress=lambda *_: time.sleep(pause))


def die_at(target, method, count, *, after):
    """Patch in a child: the process kills itself at the count-th call."""
    real, calls = getattr(target, method), []

    def dying(*args, **kwargs):
        calls.append(method)
        if len(calls) == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(target, method, dying)
