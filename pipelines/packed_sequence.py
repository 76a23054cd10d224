"""Bases out of the packed layout: two bits each through a map or a URL, then the runs of case and of other letters.

A chunk's CRC-32C is that of its bases, as in the raw layout: it vouches for the bits and for the runs together.
"""

import mmap
import os
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.digests import crc32c
from dnamamba.pipelines.packed import PER_BYTE, DamagedRuns, unpack
from dnamamba.pipelines.store_files import StoreFiles
from dnamamba.pipelines.store_sequence import Bases, MappedSequence, RemoteSequence

_PIECE = 1 << 22  # bytes tested at a time


class RunTable:
    """One array of runs, in one file: read where it is wanted, through a map or by ranges."""

    def __init__(self, files: StoreFiles, path: str, dtype: str, shape: tuple[int, ...]) -> None:
        """Nothing is opened yet.

        Args:
            files: of the store.
            path: of the array's one chunk.
            dtype, shape: as its metadata say.
        """
        self._files, self._path, self._dtype, self._shape = files, path, np.dtype(dtype), shape
        self._row = self._dtype.itemsize * prod(shape[1:])
        self._map: npt.NDArray[Any] | None = None

    def rows(self, first: int, last: int) -> npt.NDArray[Any]:
        """Entries [first, last), not tested.

        Raises:
            InputError: the file is missing, cannot be read or has another size.
        """
        if first == last:
            return np.empty((0, *self._shape[1:]), self._dtype)
        if self._files.local is not None:
            if self._map is None:
                self._map = np.frombuffer(self._open(), self._dtype, prod(self._shape)).reshape(self._shape)
            return self._map[first:last]
        data = self._range(first * self._row, last * self._row)
        return np.frombuffer(data, self._dtype).reshape(-1, *self._shape[1:])

    def check(self) -> None:
        """Test the whole array against its own checksum.

        Raises:
            InputError: it differs.
        """
        size = self._shape[0] * self._row
        if not size:
            return
        checksum = 0
        for start in range(0, size, _PIECE):
            checksum = crc32c(self._range(start, min(start + _PIECE, size)), checksum)
        if checksum != int.from_bytes(self._range(size, size + 4), "little"):
            raise InputError(f"{self._files}/{self._path}: damaged, its checksum differs; ingest this assembly again")

    def _range(self, start: int, stop: int) -> bytes:
        try:
            data = self._files.read_range(self._path, start, stop)
        except FileNotFoundError:
            raise InputError(f"{self._files}/{self._path}: missing; ingest this assembly again") from None
        if len(data) != stop - start:
            raise InputError(f"{self._files}/{self._path}: damaged, too short; ingest this assembly again")
        return data

    def _open(self) -> mmap.mmap:
        assert self._files.local is not None
        path, want = self._files.local / self._path, self._shape[0] * self._row + 4
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != want:
                    raise InputError(f"{path}: damaged, {size:,} bytes, {want:,} wanted; ingest this assembly again")
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise InputError(f"{path}: missing; ingest this assembly again") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be mapped: {error.strerror or error}") from None


def check_rows(rows: npt.NDArray[Any], chunk: int, borders: int, runs: int, where: str) -> npt.NDArray[np.int64]:
    """The array `runs`, once it fits the arrays that it points into.

    Args:
        rows: as stored, uint64 [chunks + 1, 2].
        chunk: bases.
        borders, runs: how many entries `case` and `other` have.
        where: for the message.

    Returns:
        The same as int64.

    Raises:
        InputError: it does not start at 0 and end at their ends, or gives a chunk more runs than bases, or less than 0.
    """
    signed = rows.view(np.int64)
    counts = signed[1:] - signed[:-1]
    if signed[0].any() or signed[-1].tolist() != [borders, runs] or np.any(counts < 0) or np.any(counts > chunk):
        raise InputError(f"{where}: does not fit the runs that there are; ingest this assembly again")
    return signed


class PackedSequence:
    """The span of one assembly, unpacked where it is read. A window costs its own bases, not those of its chunks, once
    these have been tested; what comes over a network is tested each time, whole chunks at once."""

    def __init__(
        self,
        codes: MappedSequence | RemoteSequence,
        case: RunTable,
        other: RunTable,
        rows: npt.NDArray[np.int64],
        chunk: int,
        checksums: npt.NDArray[Any],
        name: Callable[[int], str],
    ) -> None:
        """Nothing is opened yet.

        Args:
            codes: two bits a base, uint8 [span / 4].
            case, other: runs.
            rows: how many of them lie before each chunk, [chunks + 1, 2], checked.
            chunk: bases.
            checksums: CRC-32C of each chunk's bases, [chunks].
            name: says in words where a chunk lies, for messages.
        """
        self._codes, self._case, self._other, self._rows = codes, case, other, rows
        self._chunk, self._chunk_bits, self._checksums, self._name = chunk, chunk.bit_length() - 1, checksums, name
        self._remote = isinstance(codes, RemoteSequence)
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._tested = bytearray(len(self._checksums))

    def read(self, first: int, last: int) -> Bases:
        """Bases [first, last) of the span, uint8. 0 <= first < last <= span is the caller's to see to.

        Raises:
            InputError: a chunk, a shard or the runs are damaged or missing.
        """
        if self._pid != os.getpid():
            self._reset()
        a, b = first >> self._chunk_bits, ((last - 1) >> self._chunk_bits) + 1
        if self._remote:
            start = a << self._chunk_bits
            bases = self.chunks(a, b)
            self._compare(a, bases)
            return bases[first - start : last - start].copy()
        if self._tested.find(0, a, b) >= 0:
            self._test(a, b)
        start = first & ~7  # where a 16-bit word starts
        try:
            return self._unpack(start, (last + 7) & ~7, strict=False)[first - start : last - start]
        except DamagedRuns as error:  # they were good when the chunks were tested
            raise self._damaged(a, error) from None

    def chunks(self, first: int, last: int) -> Bases:
        """Chunks [first, last), their checksums not tested, uint8 [chunks * chunk]: for `verify`.

        Raises:
            InputError: a shard is missing, too short, or has a damaged index; runs or codes that no ingest writes.
        """
        try:
            return self._unpack(first << self._chunk_bits, last << self._chunk_bits, strict=True)
        except DamagedRuns as error:
            if last - first == 1:
                raise self._damaged(first, error) from None
            return np.concatenate([self.chunks(number, number + 1) for number in range(first, last)])

    def check_runs(self) -> None:
        """Test the runs against their own checksums.

        Raises:
            InputError: they differ.
        """
        self._case.check()
        self._other.check()

    def _test(self, first: int, last: int) -> None:
        for number in range(first, last):
            if not self._tested[number]:
                self._compare(number, self.chunks(number, number + 1))
                self._tested[number] = 1

    def _compare(self, first: int, bases: Bases) -> None:
        for number, start in enumerate(range(0, len(bases), self._chunk), first):
            if crc32c(bases[start : start + self._chunk]) != int(self._checksums[number]):
                raise self._damaged(number, "its checksum differs")

    def _damaged(self, number: int, what: object) -> InputError:
        return InputError(f"{self._name(number)}: damaged, {what}; ingest this assembly again")

    def _unpack(self, start: int, stop: int, *, strict: bool) -> Bases:
        """Bases [start, stop), both multiples of 8."""
        a, b = start >> self._chunk_bits, ((stop - 1) >> self._chunk_bits) + 1
        rows = self._rows[a : b + 1]
        (first_border, first_run), (last_border, last_run) = rows[0].tolist(), rows[-1].tolist()
        return unpack(
            self._codes.untested(start // PER_BYTE, stop // PER_BYTE),
            self._case.rows(first_border, last_border),
            self._other.rows(first_run, last_run),
            rows[1:] - rows[:-1],
            self._chunk,
            start=start - (a << self._chunk_bits),
            lower=bool(first_border & 1),
            strict=strict,
        )
