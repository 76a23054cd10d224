"""Bases out of a store's `sequence` array: through a memory map of the shards, or through zarr from a URL.

A chunk's CRC-32C is tested before its bases are handed out. Maps are opened lazily, anew in each process.
"""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.digests import crc32c
from dnamamba.pipelines.store_format import Layout, decode_index, index_size

Bases = npt.NDArray[np.uint8]


class MappedSequence:
    """The shards of one local assembly. A window costs one copy out of the map once its chunks have been tested."""

    def __init__(
        self, folder: Path, layout: Layout, span: int, checksums: npt.NDArray[Any], name: Callable[[int], str]
    ):
        """Nothing is opened yet.

        Args:
            folder: of the array `sequence`.
            layout: sizes of chunk and shard, in bases.
            span: length of the array, in bases; a multiple of the chunk.
            checksums: CRC-32C of each chunk, [span / chunk].
            name: says in words where a chunk lies, for messages.
        """
        self._folder, self._layout, self._name = folder, layout, name
        self._span, self._checksums = span, checksums
        self._chunk_bits, self._shard_bits = layout.chunk.bit_length() - 1, layout.shard.bit_length() - 1
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        shards = -(-self._span // self._layout.shard)
        self._dense: list[Bases | None] = [None] * shards  # maps whose chunks lie in order from byte 0
        self._scattered: dict[int, tuple[Bases, npt.NDArray[np.int64]]] = {}  # the others, with their chunks' places
        self._tested = bytearray(self._span >> self._chunk_bits)

    def read(self, first: int, last: int) -> Bases:
        """Copy bases [first, last) of the array, uint8. 0 <= first < last <= span is the caller's to see to.

        Raises:
            InputError: a chunk or shard is damaged or missing.
        """
        if self._pid != os.getpid():
            self._reset()
        shard = first >> self._shard_bits
        start = shard << self._shard_bits
        data = self._dense[shard]
        if data is None or last - start > self._layout.shard:
            return self._gather(first, last)
        if self._tested.find(0, first >> self._chunk_bits, ((last - 1) >> self._chunk_bits) + 1) >= 0:
            self._test(first, last)
        return data[first - start : last - start].copy()

    def chunks(self, first: int, last: int) -> Bases:
        """Chunks [first, last), not tested, uint8 [chunks * chunk]: for `verify`.

        Raises:
            InputError: a shard is missing, too short, or has a damaged index.
        """
        return self.untested(first << self._chunk_bits, last << self._chunk_bits)

    def untested(self, first: int, last: int) -> Bases:
        """Bytes [first, last) as they are stored, not tested: a view of the map where they lie in order, else a copy.

        Raises:
            InputError: a shard is missing, too short, or has a damaged index.
        """
        if self._pid != os.getpid():
            self._reset()
        shard = first >> self._shard_bits
        start = shard << self._shard_bits
        self._open(shard)
        data = self._dense[shard]
        if data is not None and last - start <= len(data):
            return data[first - start : last - start]
        return self._copy(first, last)

    def _chunk(self, number: int) -> Bases:
        per_shard = self._layout.shard >> self._chunk_bits
        shard, within = divmod(number, per_shard)
        self._open(shard)
        data = self._dense[shard]
        if data is not None:
            place = within << self._chunk_bits if (within + 1) << self._chunk_bits <= len(data) else -1
        else:
            data, places = self._scattered[shard]
            place = int(places[within])
        if place < 0:  # zarr leaves chunks of nothing but the fill value out
            return np.zeros(self._layout.chunk, np.uint8)
        return data[place : place + self._layout.chunk]

    def _gather(self, first: int, last: int) -> Bases:
        """Windows over a shard's border, in a shard not opened yet, or in one whose chunks another program placed."""
        self._test(first, last)
        return self._copy(first, last)

    def _copy(self, first: int, last: int) -> Bases:
        out = np.empty(last - first, np.uint8)
        done = first
        while done < last:
            shard = done >> self._shard_bits
            start = shard << self._shard_bits
            self._open(shard)
            data = self._dense[shard]
            stop = min(last, start + self._layout.shard)
            if data is not None and stop - start <= len(data):
                out[done - first : stop - first] = data[done - start : stop - start]
            else:
                number = done >> self._chunk_bits
                start, stop = number << self._chunk_bits, min(last, (number + 1) << self._chunk_bits)
                out[done - first : stop - first] = self._chunk(number)[done - start : stop - start]
            done = stop
        return out

    def _test(self, first: int, last: int) -> None:
        for number in range(first >> self._chunk_bits, ((last - 1) >> self._chunk_bits) + 1):
            if not self._tested[number]:
                if crc32c(self._chunk(number)) != int(self._checksums[number]):
                    raise InputError(f"{self._name(number)}: damaged, its checksum differs; ingest this assembly again")
                self._tested[number] = 1

    def _open(self, shard: int) -> None:
        if self._dense[shard] is not None or shard in self._scattered:
            return
        path, tail = self._folder / "c" / str(shard), index_size(self._layout)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < tail:
                    raise InputError(f"{path}: {size:,} bytes, too short for a shard; ingest this assembly again")
                data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except FileNotFoundError:
            raise InputError(f"{path}: this shard is missing; ingest this assembly again") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be mapped: {error.strerror or error}") from None
        places = decode_index(data[size - tail :].tobytes(), self._layout, size - tail, str(path))
        stored = int((places >= 0).sum())
        if stored and np.array_equal(places[:stored], np.arange(stored) * self._layout.chunk):
            self._dense[shard] = data[: stored * self._layout.chunk]
        else:
            self._scattered[shard] = data, places


class RemoteSequence:
    """The same bases through zarr, from any address that fsspec knows. Every chunk is tested each time it comes."""

    def __init__(self, url: str, layout: Layout, span: int, checksums: npt.NDArray[Any], name: Callable[[int], str]):
        """As `MappedSequence`; `url` is that of the array `sequence`."""
        self._url, self._layout, self._name = url, layout, name
        self._span, self._checksums = span, checksums
        self._pid = 0
        self._array: Any = None

    def read(self, first: int, last: int) -> Bases:
        """As `MappedSequence.read`."""
        chunk = self._layout.chunk
        start, stop = first // chunk * chunk, min(-(-last // chunk) * chunk, self._span)
        data = self.untested(start, stop)
        for number in range(start // chunk, stop // chunk):
            if crc32c(data[number * chunk - start :][:chunk]) != int(self._checksums[number]):
                raise InputError(f"{self._name(number)}: damaged, its checksum differs; copy this store again")
        return data[first - start : last - start].copy()

    def chunks(self, first: int, last: int) -> Bases:
        """As `MappedSequence.chunks`."""
        return self.untested(first * self._layout.chunk, last * self._layout.chunk)

    def untested(self, start: int, stop: int) -> Bases:
        """As `MappedSequence.untested`, never a view."""
        if self._pid != os.getpid():  # connections do not cross a fork
            import zarr
            from zarr.storage import FsspecStore

            store = FsspecStore.from_url(self._url, read_only=True)
            self._array, self._pid = zarr.open_array(store, mode="r"), os.getpid()
        try:
            return np.ascontiguousarray(self._array[start:stop], dtype=np.uint8)
        except (ValueError, OSError) as error:
            raise InputError(f"{self._url}: cannot be read ({error})") from None
