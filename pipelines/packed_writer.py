"""The growing runs of a packed assembly: what `AssemblyWriter` keeps beside the shards, in step with its journal."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.packed import Bases, DamagedRuns, pack, unpack

LOGS = ("case", "other", "runs")
_COPY = 1 << 20  # bytes of a log copied at a time


class RunsWriter:
    """Packs bases in the order of the span. The runs go to their logs at once, the count of them a contig at a time."""

    def __init__(self, append: Callable[[str, bytes], None], chunk: int, borders: int = 0, runs: int = 0) -> None:
        """Go on behind what is there.

        Args:
            append: adds bytes to a log, by name.
            chunk: bases.
            borders, runs: how many entries `case` and `other` have.
        """
        self._append, self._chunk = append, chunk
        self.borders, self.runs = borders, runs
        self._rows: list[npt.NDArray[np.int64]] = []  # of chunks whose contig is not finished

    def pack(self, data: Bases) -> Bases:
        """Take the next bases of a contig, uint8 [n]; n is a multiple of the chunk but at the contig's end.

        Returns:
            Two bits a base, of whole chunks.
        """
        if len(data) % self._chunk:
            data = np.concatenate([data, np.zeros(-len(data) % self._chunk, np.uint8)])
        # An odd number of borders so far: lower case has begun and not ended.
        packed = pack(data, self._chunk, lower=bool(self.borders & 1))
        self._append("case", packed.case.astype("<u2").tobytes())
        self._append("other", packed.other.astype("<u2").tobytes())
        self._count(packed.runs)
        return packed.codes

    def fill(self, chunks: int) -> None:
        """Note that chunks up to the next contig hold nothing, zeros in the other layout, so only padding in this."""
        missing = chunks - sum(len(rows) for rows in self._rows)
        if missing <= 0:
            return
        counts = np.zeros((missing, 2), np.int64)
        counts[:, 1] = 1
        if self.borders & 1:
            self._append("case", bytes(2))
            counts[0, 0] = 1
        self._append("other", np.tile(np.array([0, self._chunk - 1, 0], "<u2"), missing).tobytes())
        self._count(counts)

    def take(self, counts: npt.NDArray[np.int64], case: BinaryIO, other: BinaryIO) -> None:
        """Take the next chunks as another process packed them, with upper case before the first.

        Args:
            counts: runs in each chunk, int64 [chunks, 2].
            case, other: files that stand where the entries of these chunks begin.
        """
        borders, runs = counts.sum(axis=0).tolist()
        if self.borders & 1:  # lower case came before: a border at the very start is none, or one is missing
            head = case.read(2) if counts[0, 0] else b""
            borders -= len(head) // 2
            if head == bytes(2):
                counts[0, 0] -= 1
            else:
                counts[0, 0] += 1
                self._append("case", bytes(2) + head)
        for name, file, left in (("case", case, 2 * borders), ("other", other, 6 * runs)):
            while left:
                data = file.read(min(left, _COPY))
                if not data:
                    raise EOFError(f"the runs of a share end {left:,} bytes before they should")
                self._append(name, data)
                left -= len(data)
        self._count(counts)

    def _count(self, counts: npt.NDArray[np.int64]) -> None:
        rows = np.cumsum(counts, axis=0) + np.array([self.borders, self.runs])
        if len(rows):
            self._rows.append(rows)
            self.borders, self.runs = rows[-1].tolist()

    def finish_contig(self) -> None:
        """Write how many runs lie before the end of each chunk: now they count."""
        for rows in self._rows:
            self._append("runs", rows.astype("<u8").tobytes())
        self._rows = []


def trim_logs(folder: Path, chunks: int) -> tuple[int, int] | None:
    """Cut the logs of an interrupted ingest to the chunks of its finished contigs.

    Returns:
        How many entries `case` and `other` then have; None when something is missing.
    """
    borders, runs = read_rows(folder, chunks)[-1].tolist() if _size(folder / "runs.part") >= 16 * chunks else (-1, -1)
    for name, size in (("runs", 16 * chunks), ("case", 2 * borders), ("other", 6 * runs)):
        if not 0 <= size <= _size(folder / f"{name}.part"):
            return None
        os.truncate(folder / f"{name}.part", size)
    return borders, runs


def read_rows(folder: Path, chunks: int) -> npt.NDArray[np.int64]:
    """The array `runs` as far as it is written, int64 [chunks + 1, 2]."""
    rows = np.fromfile(folder / "runs.part", "<u8", 2 * chunks).astype(np.int64).reshape(-1, 2)
    return np.concatenate([np.zeros((1, 2), np.int64), rows])


def read_back(folder: Path, chunk: int, rows: npt.NDArray[np.int64]) -> Callable[[int, Bases], Bases | None]:
    """How to unpack chunks of an assembly in the making: of a chunk's number and its codes; None when damaged."""
    case = _log(folder / "case.part").view("<u2")
    other = _log(folder / "other.part").view("<u2").reshape(-1, 3)

    def read(number: int, codes: Bases) -> Bases | None:
        (a, c), (b, d) = rows[number : number + 2].tolist()
        counts = np.array([[b - a, d - c]])
        try:
            return unpack(codes, case[a:b], other[c:d], counts, chunk, start=0, lower=bool(a & 1), strict=True)
        except DamagedRuns:
            return None

    return read


def _log(path: Path) -> Bases:
    return np.memmap(path, np.uint8, "r") if _size(path) else np.empty(0, np.uint8)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1
