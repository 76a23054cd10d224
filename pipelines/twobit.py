"""The 2bit format of UCSC: both byte orders, versions 0 and 1, N and mask blocks; whole contigs or any part."""

import os
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.signatures import TWOBIT

BLOCK = 2**21
"""Bases decoded at a time."""
_HEADER = 16  # bytes before the index
_LOWER = 0x20
_CACHED = 32  # contigs whose N and mask blocks are kept


def _four_letters() -> NDArray[np.uint32]:
    """[256] packed byte -> its four letters, as one 32-bit word in memory order."""
    codes = np.frombuffer(b"TCAG", np.uint8)
    byte = np.arange(256)
    return np.ascontiguousarray(np.stack([codes[byte >> shift & 3] for shift in (6, 4, 2, 0)], 1)).view(np.uint32)[:, 0]


_LETTERS = _four_letters()


@dataclass(frozen=True)
class _Blocks:
    """Runs of N, or of lower case: sorted, not overlapping, inside the contig."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def spread(self, start: int, end: int, value: int) -> NDArray[np.uint8] | None:
        """[end - start]: `value` in the runs, 0 outside; None where no run reaches in."""
        if not len(self.starts):
            return None
        first = int(np.searchsorted(self.ends, start, "right"))
        last = int(np.searchsorted(self.starts, end, "left"))
        if first >= last:
            return None
        borders = np.empty(2 * (last - first) + 2, np.int64)
        borders[0], borders[-1] = start, end
        borders[1:-1:2] = np.maximum(self.starts[first:last], start)
        borders[2:-1:2] = np.minimum(self.ends[first:last], end)
        # Ten times as fast as a loop over the runs: soft masks have one for every 500 bases.
        values = np.zeros(len(borders) - 1, np.uint8)
        values[1::2] = value
        return np.repeat(values, np.diff(borders))


_NO_BLOCKS = _Blocks(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class _Record:
    """Where a contig's parts lie in the file, in bytes."""

    length: int
    n_count: int
    n_at: int
    mask_count: int
    mask_at: int
    packed_at: int


class TwoBitFile:
    """A 2bit file. Index and record headers are read and checked at once, sequence on demand.

    Reads are positioned (`pread`), so that one object serves threads and forked processes. A pickle holds the path.

    Raises:
        InputError: no 2bit file, or one whose header contradicts itself or the file's size.

    Source: UCSC, twoBit.h and "Frequently Asked Questions: Data File Formats".
    """

    format: Literal["2bit"] = "2bit"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115  (closed by close)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be opened: {error.strerror}") from error
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._order = "<"
            self._rows, offsets = self._read_index()
            self._table = self._read_records(offsets)
        except BaseException:
            self._file.close()
            raise
        weakref.finalize(self, self._file.close)
        self._cache: dict[str, tuple[_Blocks, _Blocks]] = {}

    def __reduce__(self) -> tuple[type["TwoBitFile"], tuple[str]]:
        return TwoBitFile, (self.path,)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "TwoBitFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every contig in bases, in file order."""
        return dict(zip(self._rows, self._table[:, 0].tolist(), strict=True))

    def contigs(self) -> Iterator["TwoBitContig"]:
        """The contigs in file order. They can be read in any order, and more than once."""
        return (TwoBitContig(self, name, int(self._table[row, 0])) for name, row in self._rows.items())

    def contig(self, name: str) -> "TwoBitContig":
        """One contig by name.

        Raises:
            InputError: there is none of that name.
        """
        return TwoBitContig(self, name, self._record(name).length)

    def read(self, name: str, start: int = 0, end: int | None = None) -> NDArray[np.uint8]:
        """Letters of a contig: A C G T N, lower case where masked.

        Args:
            name: the contig.
            start: first base, 0-based.
            end: one past the last base; the contig's end when None.

        Returns:
            uint8 [end - start], writable.

        Raises:
            InputError: no such contig, bases outside it, or damaged N or mask blocks.
        """
        record = self._record(name)
        end = record.length if end is None else end
        if not 0 <= start <= end <= record.length:
            raise InputError(
                f"{self.path}: contig {name!r}: want 0 <= start <= end <= {record.length:,}, got {start:,} and {end:,}"
            )
        if end - start <= BLOCK:
            return self._decoded(name, record, start, end)
        letters = np.empty(end - start, np.uint8)  # block by block: what decoding needs beside would be twice as much
        for at in range(start, end, BLOCK):
            letters[at - start : at - start + BLOCK] = self._decoded(name, record, at, min(at + BLOCK, end))
        return letters

    def _decoded(self, name: str, record: _Record, start: int, end: int) -> NDArray[np.uint8]:
        n_blocks, mask_blocks = self._blocks(name, record)
        first, last = start // 4, -(-end // 4)
        packed = np.frombuffer(self._bytes(record.packed_at + first, last - first), np.uint8)
        letters = np.take(_LETTERS, packed).view(np.uint8)[start - 4 * first : end - 4 * first]
        unknown = n_blocks.spread(start, end, 1)
        if unknown is not None:
            np.copyto(letters, ord("N"), where=unknown.view(np.bool_))
        lower = mask_blocks.spread(start, end, _LOWER)
        if lower is not None:
            letters |= lower
        return letters

    def _fail(self, problem: str) -> InputError:
        return InputError(f"{self.path}: {problem}; the 2bit file is damaged: fetch or make it again")

    def _bytes(self, at: int, count: int) -> bytes:
        """`count` bytes from `at`; the caller has checked them against the file's size."""
        data = os.pread(self._file.fileno(), count, at)
        while len(data) < count:  # Linux reads at most 2 GiB at a time
            more = os.pread(self._file.fileno(), count - len(data), at + len(data))
            if not more:
                raise self._fail(f"ends at byte {at + len(data):,} while it is read, {count - len(data):,} bytes early")
            data += more
        return data

    def _record(self, name: str) -> _Record:
        if name not in self._rows:
            raise InputError(f"{self.path}: no contig {name!r}; it has {_some(list(self._rows))}")
        return _Record(*self._table[self._rows[name]].tolist())

    def _read_index(self) -> tuple[dict[str, int], NDArray[np.uint64]]:
        """Row of every contig, and offset of every record."""
        if self._size < _HEADER:
            raise self._fail(f"is {self._size} bytes long, and a 2bit header alone takes {_HEADER}")
        magic = self._bytes(0, 4)
        if magic not in TWOBIT:
            raise InputError(f"{self.path}: starts with {magic.hex()}, not with the signature of 2bit")
        self._order = "<" if magic == TWOBIT[0] else ">"
        version, count, reserved = struct.unpack(f"{self._order}3I", self._bytes(4, 12))
        if version not in (0, 1):
            raise InputError(f"{self.path}: byte 4: 2bit version {version} is not known, only 0 and 1")
        if reserved:
            raise self._fail(f"byte 12: the reserved word is {reserved}, not 0")
        if count == 0:
            raise InputError(f"{self.path}: holds no sequence: the 2bit header counts 0")
        offset_size = 4 + 4 * version
        if count * (2 + offset_size) > self._size - _HEADER:
            raise self._fail(f"byte 8: the header counts {count:,} sequences, too many for {self._size:,} bytes")
        rows: dict[str, int] = {}
        offsets = np.empty(count, np.uint64)
        self._file.seek(_HEADER)
        at = _HEADER
        for number in range(1, count + 1):
            size = self._file.read(1)
            entry = self._file.read(size[0] + offset_size) if size else b""
            if not size or len(entry) < size[0] + offset_size:
                raise self._fail(
                    f"the index ends in entry {number:,} of {count:,}: the file is truncated at byte {self._size:,}"
                )
            try:
                name = entry[: size[0]].decode("utf-8")
            except UnicodeDecodeError as error:
                raise self._fail(f"byte {at + 1:,}: the name of sequence {number:,} is not UTF-8") from error
            if not name.strip() or not name.isprintable():
                raise self._fail(
                    f"byte {at + 1:,}: the name of sequence {number:,} is {_short(name)}, empty or not printable"
                )
            if name in rows:
                raise self._fail(f"byte {at + 1:,}: the name {name!r} stands in the index twice")
            rows[name] = number - 1
            (offsets[number - 1],) = struct.unpack(self._order + "IQ"[version], entry[size[0] :])
            at += 1 + len(entry)
        self._index_end = at
        return rows, offsets

    def _read_records(self, offsets: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Check that every record lies in the file, behind the index, and shares no byte with another."""
        # Numbers of a contig in 48 bytes: as objects they took 25 times the file where contigs are short.
        table = np.empty((len(offsets), len(fields(_Record))), np.int64)
        for name, row in self._rows.items():
            offset = int(offsets[row])
            if offset < self._index_end:
                raise self._fail(
                    f"contig {name!r}: offset {offset:,} lies inside the index, which ends at {self._index_end:,}"
                )
            table[row] = self._read_record(name, offset)
        starts = offsets.astype(np.int64)  # they lie inside the file
        order = starts.argsort(kind="stable")
        ends = table[:, -1] - -table[:, 0] // 4
        bad = np.flatnonzero(starts[order[1:]] < ends[order[:-1]])
        if len(bad):
            names, (one, other) = list(self._rows), order[bad[0] : bad[0] + 2].tolist()
            raise self._fail(f"contigs {names[one]!r} and {names[other]!r} overlap at byte {int(starts[other]):,}")
        return table

    def _read_record(self, name: str, offset: int) -> tuple[int, ...]:
        """The numbers of a `_Record`."""
        at = offset
        length, n_count = self._record_words(name, "the record", at, 2)
        n_at = at + 8
        at = self._fits(name, f"{n_count:,} N blocks", n_at, 8 * n_count)
        (mask_count,) = self._record_words(name, "the count of mask blocks", at, 1)
        mask_at = at + 4
        at = self._fits(name, f"{mask_count:,} mask blocks", mask_at, 8 * mask_count)
        (reserved,) = self._record_words(name, "the reserved word", at, 1)
        if reserved:
            raise self._fail(f"contig {name!r}: byte {at:,}: the reserved word is {reserved}, not 0")
        self._fits(name, f"{length:,} packed bases", at + 4, -(-length // 4))
        return length, n_count, n_at, mask_count, mask_at, at + 4

    def _record_words(self, name: str, what: str, at: int, count: int) -> list[int]:
        self._fits(name, what, at, 4 * count)
        return list(struct.unpack(f"{self._order}{count}I", self._bytes(at, 4 * count)))

    def _fits(self, name: str, what: str, at: int, count: int) -> int:
        if at + count > self._size:
            raise self._fail(
                f"contig {name!r}: {what} at byte {at:,} would take {count:,} bytes, "
                f"and the file ends at byte {self._size:,}"
            )
        return at + count

    def _blocks(self, name: str, record: _Record) -> tuple[_Blocks, _Blocks]:
        blocks = self._cache.get(name)
        if blocks is None:
            blocks = (
                self._read_blocks(name, "N", record.n_at, record.n_count, record.length),
                self._read_blocks(name, "mask", record.mask_at, record.mask_count, record.length),
            )
            for oldest in list(self._cache)[: max(0, len(self._cache) + 1 - _CACHED)]:
                self._cache.pop(oldest, None)  # another thread may have been faster
            self._cache[name] = blocks
        return blocks

    def _read_blocks(self, name: str, kind: str, at: int, count: int, length: int) -> _Blocks:
        if count == 0:
            return _NO_BLOCKS
        words = np.frombuffer(self._bytes(at, 8 * count), self._order + "u4").astype(np.int64)
        starts, ends = words[:count], words[:count] + words[count:]
        for bad, problem in (
            (ends > length, f"reaches past the contig's {length:,} bases"),
            (np.append(False, starts[1:] < ends[:-1]), "overlaps the one before or is out of order"),
        ):
            if bad.any():
                i = int(np.flatnonzero(bad)[0])
                span = f"{starts[i]:,} to {ends[i]:,}"
                raise self._fail(f"contig {name!r}: {kind} block {i + 1:,} of {count:,}, bases {span}, {problem}")
        return _Blocks(starts, ends)


class TwoBitContig:
    """One contig of a 2bit file."""

    description = ""
    """A 2bit file has none."""
    unknown = 0
    """Letters that were no nucleotide code: the format holds none."""

    def __init__(self, file: TwoBitFile, name: str, length: int) -> None:
        self._file = file
        self.name = name
        self.length = length
        """In bases."""

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """The sequence as uint8 arrays [at most 2 Mi], none empty.

        Raises:
            InputError: damaged N or mask blocks.
        """
        for start in range(0, self.length, BLOCK):
            yield self.read(start, min(start + BLOCK, self.length))

    def read(self, start: int, end: int) -> NDArray[np.uint8]:
        """Letters [start, end), 0-based, as `TwoBitFile.read`."""
        return self._file.read(self.name, start, end)


def _short(name: str) -> str:
    """A name that is damaged may be 255 control characters, each of four in a message."""
    return repr(name[:40]) + ("..." if len(name) > 40 else "")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
