"""Verify an assembly: every chunk against its checksum, every contig against its digests."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.packed_sequence import PackedSequence
from dnamamba.pipelines.store import Assembly
from dnamamba.pipelines.store_format import N_BLOCK, Contig
from dnamamba.pipelines.store_intake import BLOCK, ContigIntake, Lanes

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Damage:
    """Bases of a contig that are not those that were written; 0-based, half-open."""

    contig: str
    start: int
    end: int
    what: str

    def __str__(self) -> str:
        return f"contig {self.contig!r}, bases {self.start + 1:,} to {self.end:,}: {self.what}"


def verify(assembly: Assembly, *, jobs: int | None = None, progress: Progress | None = None) -> list[Damage]:
    """Read everything again.

    Args:
        assembly: opened; what was tested before is tested again.
        jobs: threads; by default one a core.
        progress: called with the contig's name, the bases done so far, and the bases in all.

    Returns:
        What is damaged, in the order of the contigs; neighbouring chunks are put together. Empty when all is well.

    Raises:
        InputError: the checksums, counts or tables of runs themselves are damaged, or a shard cannot be read at all.
    """
    damage: list[Damage] = []
    done, total = 0, sum(assembly.sizes.values())
    with Lanes(jobs if jobs is not None else os.cpu_count() or 1) as lanes:
        for contig in assembly.contigs:
            intake, unreadable = ContigIntake(assembly.chunk), dict[int, str]()
            for block, bases in _raw_blocks(assembly, contig, unreadable):
                lanes.run(bases, *intake.steps(block, bases))
                if progress:
                    progress(contig.name, done + intake.length, total)
            lanes.wait()
            damage += _compare(assembly, contig, intake, unreadable)
            done += contig.length
    if not damage and isinstance(assembly.sequence, PackedSequence):
        assembly.sequence.check_runs()
    return damage


def _raw_blocks(
    assembly: Assembly, contig: Contig, unreadable: dict[int, str]
) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """The contig's chunks as they are stored, some at a time, and how many bases are not padding. For a chunk that
    cannot be read zeros stand, and the reason is noted under its number in the contig."""
    sequence, chunk = assembly.sequence, assembly.chunk
    for start in range(0, contig.length, BLOCK):
        stop = min(start + BLOCK, contig.length)
        first = contig.offset // chunk + start // chunk
        last = first + -(-(stop - start) // chunk)
        try:
            block = sequence.chunks(first, last)
        except InputError:
            block = np.zeros((last - first) * chunk, np.uint8)
            for number in range(first, last):
                try:
                    block[(number - first) * chunk :][:chunk] = sequence.chunks(number, number + 1)
                except InputError as error:
                    unreadable[number - contig.offset // chunk] = str(error)
        yield block, stop - start


def _compare(assembly: Assembly, contig: Contig, intake: ContigIntake, unreadable: dict[int, str]) -> list[Damage]:
    """What differs between a contig as it is and as it was."""
    bad = np.flatnonzero(intake.checksums != assembly.checksums(contig.name))
    damage = [
        Damage(
            contig.name,
            start,
            min(end, contig.length),
            next(
                (unreadable[n] for n in range(start // assembly.chunk, end // assembly.chunk) if n in unreadable),
                "the checksum differs",
            ),
        )
        for start, end in _runs(bad, assembly.chunk)
    ]
    if damage or contig.length == 0:
        return damage
    whole = (contig.name, 0, contig.length)
    if (intake.digester.refget, intake.digester.md5) != (contig.refget, contig.md5):
        damage.append(Damage(*whole, f"the digests differ ({intake.digester.refget}, {contig.refget} wanted)"))
    counts = intake.n_counts[: -(-contig.length // N_BLOCK)]
    if (intake.lower, int(counts.sum(dtype=np.int64))) != (contig.lower, contig.n_bases):
        damage.append(Damage(*whole, "the numbers of N and of lower-case letters differ"))
    damage += [
        Damage(contig.name, start, min(end, contig.length), "the stored counts of N differ")
        for start, end in _runs(np.flatnonzero(counts != assembly.n_count(contig.name)), N_BLOCK)
    ]
    return damage


def _runs(numbers: npt.NDArray[np.intp], size: int) -> Iterator[tuple[int, int]]:
    """Neighbouring numbers together: first base and end of each run, `size` bases a number."""
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
        if len(run):
            yield int(run[0]) * size, (int(run[-1]) + 1) * size
