"""Writing one assembly: shards straight in their final form, a journal of finished contigs beside them for `resume`."""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.digests import crc32c
from dnamamba.pipelines.packed_writer import RunsWriter, read_back, read_rows, trim_logs
from dnamamba.pipelines.store_format import (
    BASES_PER_BYTE,
    COLUMNS,
    N_BLOCK,
    RUNS,
    SMALL,
    Contig,
    Layout,
    LayoutName,
    array_of,
    contigs_checksum,
    contigs_fingerprint,
    encode_index,
    encode_plain,
    group_document,
    plain_document,
    sequence_document,
    to_json,
)
from dnamamba.pipelines.store_lock import sync_folder
from dnamamba.pipelines.store_metadata import contig_row

_JOURNAL = "journal"
_COPY = 1 << 20  # bytes of a log copied at a time


class AssemblyWriter:
    """An assembly in the making, in a folder that no reader looks at. Use it as a context manager.

    A contig's bases are written first (`place`, `write`), then its row (`add`): only then it counts as finished.
    """

    def __init__(self, folder: Path, layout: Layout, name: LayoutName) -> None:
        """Use `start` or `resume`."""
        self.folder, self.layout, self.layout_name = folder, layout, name
        self._bytes = layout.in_bytes(name)
        self._shards = folder / array_of(name) / "c"
        self.runs = RunsWriter(self._append_run, layout.chunk) if name == "packed" else None
        """What two bits a base do not say; of the packed layout alone."""
        self.contigs: list[Contig] = []
        """Finished contigs, in order."""
        self.end = 0
        """Where the last finished contig ends, a chunk border."""
        self._shard = -1
        self._handle = -1
        self._syncs = ThreadPoolExecutor(1, "sync")  # a disk's pace must not hold up the hashing
        self._pending: list[Future[None]] = []
        self._zero = crc32c(np.zeros(layout.chunk, np.uint8))
        self._logs: dict[str, FileIO] = {}

    def __enter__(self) -> "AssemblyWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._leave_shard()
        self._close_logs()
        self._syncs.shutdown()  # each of its tasks closes a file

    @classmethod
    def start(cls, folder: Path, layout: Layout, header: dict[str, Any], name: LayoutName = "raw") -> "AssemblyWriter":
        """Begin an empty assembly in a new folder.

        Args:
            layout: sizes of chunk and shard.
            header: what an ingest must have in common with this one to go on with it.
            name: how the bases are stored.
        """
        (folder / array_of(name) / "c").mkdir(parents=True)
        for part in _parts(name):
            (folder / f"{part}.part").touch()
        line = {"header": header, "chunk": layout.chunk, "shard": layout.shard, "layout": name}
        (folder / _JOURNAL).write_text(json.dumps(line) + "\n")
        return cls(folder, layout, name)

    @classmethod
    def resume(cls, folder: Path, header: dict[str, Any], name: LayoutName = "raw") -> "AssemblyWriter | None":
        """Go on where an interrupted ingest stopped. What the journal calls finished is checked, the rest dropped.

        Returns:
            The writer; None when nothing is there that can be gone on with.

        Raises:
            InputError: the interrupted ingest read another source, or read it otherwise.
        """
        try:
            lines = [json.loads(line) for line in (folder / _JOURNAL).read_bytes().split(b"\n")[:-1]]
            first, rows = lines[0], lines[1:]
        except (FileNotFoundError, IndexError, ValueError):
            return None
        before = {**first["header"], "layout": first.get("layout", "raw")}
        for key, value in {**header, "layout": name}.items():
            if before.get(key) != value:
                raise InputError(
                    f"cannot go on: {key} was {before.get(key)!r} in the interrupted ingest,"
                    f" now it is {value!r}; run without --resume to start again"
                )
        writer = cls(folder, Layout(first["chunk"], first["shard"]), name)
        writer.contigs = [Contig(**row) for row in rows]
        if rows:
            writer.end = writer.layout.end(writer.contigs[-1].offset, writer.contigs[-1].length)
        if not writer._trim():
            writer.__exit__(None, None, None)
            return None
        return writer

    def _trim(self) -> bool:
        """Cut every file to the finished contigs; False when their chunks do not have their checksums."""
        (self.folder / _JOURNAL).write_text(
            "".join(
                [(self.folder / _JOURNAL).read_text().split("\n", 1)[0] + "\n"]
                + [json.dumps(contig_row(contig)) + "\n" for contig in self.contigs]
            )
        )
        self._drop_strays()
        chunks = self.end // self.layout.chunk
        counts = {"crc32c": chunks, "n_count": self.end // N_BLOCK}
        for name, dtype in SMALL.items():
            path, size = self.folder / f"{name}.part", counts[name] * np.dtype(dtype).itemsize
            if not path.exists() or path.stat().st_size < size:
                return False
            os.truncate(path, size)
        unpack = None
        if self.runs is not None:
            totals = trim_logs(self.folder, chunks)
            if totals is None:
                return False
            self.runs = RunsWriter(self._append_run, self.layout.chunk, *totals)
            unpack = read_back(self.folder, self.layout.chunk, read_rows(self.folder, chunks))
        checksums = self._part("crc32c")
        extents = dict(self._extents())
        for path in self._shards.iterdir():
            os.truncate(path, extents.get(int(path.name), 0))
        for shard, size in extents.items():
            path = self._shard_path(shard)
            if not path.exists():
                return False
            data = np.memmap(path, np.uint8, "r")
            first = shard * self._bytes.shard // self._bytes.chunk
            for number in range(size // self._bytes.chunk):
                chunk: npt.NDArray[np.uint8] | None = data[number * self._bytes.chunk :][: self._bytes.chunk]
                if unpack is not None and chunk is not None:
                    chunk = unpack(first + number, chunk)
                if chunk is None or crc32c(chunk) != checksums[first + number]:
                    return False
        return True

    def _drop_strays(self) -> None:
        """What workers of a cluster, or the last step of an ingest, had in the making when a kill came."""
        known = {_JOURNAL, array_of(self.layout_name), *(f"{name}.part" for name in _parts(self.layout_name))}
        for path in self.folder.iterdir():
            if path.name not in known:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def place(self, length: int) -> int:
        """Where the next contig, of `length` bases, starts. Any length above a shard's gives the same answer."""
        return self.layout.place(self.end, length)

    def write(self, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Put bases at an offset, uint8 [n], in order. Runs in a worker thread, one call at a time."""
        if self.runs is not None and len(data):
            self.runs.fill((offset - self.end) // self.layout.chunk)
            data, offset = self.runs.pack(data), offset // BASES_PER_BYTE[self.layout_name]
        view = data.data
        while len(view):
            shard, within = divmod(offset, self._bytes.shard)
            if shard != self._shard:
                self._leave_shard()
                self._handle = os.open(self._shard_path(shard), os.O_RDWR | os.O_CREAT, 0o644)
                self._shard = shard
            done = os.pwrite(self._handle, view[: self._bytes.shard - within], within)
            offset, view = offset + done, view[done:]

    def add(self, contig: Contig, checksums: npt.NDArray[Any], n_counts: npt.NDArray[Any]) -> None:
        """Call a contig finished.

        Args:
            contig: its row; its offset is what `place` said.
            checksums: CRC-32C of its chunks, the last one padded with zeros, [chunks].
            n_counts: N in each of its blocks of 1,024 bases, [chunks * chunk / 1024].
        """
        gap = contig.offset - self.end
        counts = {
            "crc32c": np.concatenate([np.full(gap // self.layout.chunk, self._zero), checksums]),
            "n_count": np.concatenate([np.zeros(gap // N_BLOCK), n_counts]),
        }
        for name, values in counts.items():
            self._append(f"{name}.part", values.astype(SMALL[name]).tobytes())
        if self.runs is not None:
            self.runs.finish_contig()
        self._append(
            _JOURNAL, (json.dumps(contig_row(contig)) + "\n").encode("ascii")
        )  # last: it vouches for the others
        self.contigs.append(contig)
        self.end = self.layout.end(contig.offset, contig.length)

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write indexes and metadata and wait for the disk. The folder then is the assembly.

        Args:
            attributes: of the assembly's group; the contig table and its digests are added here.
        """
        self._leave_shard()
        self._close_logs()
        for shard, size in self._extents():  # in bytes
            with self._shard_path(shard).open("r+b") as file:
                file.truncate(size)
                file.seek(size)
                file.write(encode_index(size // self._bytes.chunk, self._bytes))
                file.flush()
                os.fsync(file.fileno())
        for pending in self._pending:
            pending.result()
        rows = [contig_row(contig) for contig in self.contigs]
        size = self.end // BASES_PER_BYTE[self.layout_name]
        self._save(f"{array_of(self.layout_name)}/zarr.json", to_json(sequence_document(size, self._bytes)))
        for name in SMALL:
            values = self._part(name)
            self._save(f"{name}/zarr.json", to_json(plain_document(f"uint{values.itemsize * 8}", len(values))))
            self._save(f"{name}/c/0", encode_plain(values))
        if self.runs is not None:
            self._finish_runs()
        digests = {"contigs_crc32c": contigs_checksum(rows), "fingerprint": contigs_fingerprint(self.contigs)}
        self._save("zarr.json", to_json(group_document({**attributes, **digests, "contigs": rows})))
        for name in (_JOURNAL, *(f"{name}.part" for name in _parts(self.layout_name))):
            (self.folder / name).unlink()
        for folder in (self._shards, self.folder):
            sync_folder(folder)

    def _finish_runs(self) -> None:
        """The arrays of runs out of their logs. They may be as long as the sequence: never in memory as a whole."""
        for name, dtype in RUNS.items():
            first = bytes(np.dtype(dtype).itemsize * 2) if name == "runs" else b""  # no runs before the first chunk
            log, columns = self.folder / f"{name}.part", COLUMNS.get(name)
            size = len(first) + log.stat().st_size
            length = size // (np.dtype(dtype).itemsize * (columns or 1))
            self._save(f"{name}/zarr.json", to_json(plain_document(np.dtype(dtype).name, length, columns)))
            if length:
                self._save(f"{name}/c/{'0' if columns is None else '0/0'}", _with_checksum(first, log))

    def _extents(self) -> Iterator[tuple[int, int]]:
        """Each shard that holds bases, and how many of its bytes do, index left out."""
        spans = (
            (shard, min(end, (shard + 1) * self.layout.shard) - shard * self.layout.shard)
            for contig in self.contigs
            if contig.length
            for end in (self.layout.end(contig.offset, contig.length),)
            for shard in range(contig.offset // self.layout.shard, -(-end // self.layout.shard))
        )
        for shard, group in groupby(spans, key=lambda span: span[0]):
            yield shard, max(size for _, size in group) // BASES_PER_BYTE[self.layout_name]

    def _leave_shard(self) -> None:
        if self._handle >= 0:
            self._pending.append(self._syncs.submit(_sync_and_close, self._handle))
            self._handle = self._shard = -1

    def _shard_path(self, shard: int) -> Path:
        return self._shards / str(shard)

    def _append_run(self, name: str, data: bytes) -> None:
        self._append(f"{name}.part", data)

    def _append(self, name: str, data: bytes) -> None:
        """Add to a log at once: what is in no buffer, no kill can take."""
        if name not in self._logs:
            self._logs[name] = (self.folder / name).open("ab", buffering=0)
        view = memoryview(data)
        while view:
            view = view[self._logs[name].write(view) :]

    def _close_logs(self) -> None:
        for log in self._logs.values():
            log.close()
        self._logs = {}

    def _part(self, name: str) -> npt.NDArray[Any]:
        return np.fromfile(self.folder / f"{name}.part", SMALL[name])

    def _save(self, path: str, data: bytes | Iterator[bytes]) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (self.folder / path).open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())


def _parts(name: LayoutName) -> dict[str, str]:
    return SMALL | RUNS if name == "packed" else SMALL


def _with_checksum(first: bytes, log: Path) -> Iterator[bytes]:
    """Some bytes, a file, and the CRC-32C of both."""
    checksum = crc32c(first)
    yield first
    with log.open("rb") as file:
        while data := file.read(_COPY):
            checksum = crc32c(data, checksum)
            yield data
    yield checksum.to_bytes(4, "little")


def _sync_and_close(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
