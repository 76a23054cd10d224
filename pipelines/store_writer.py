"""Writing one assembly: shards straight in their final form, a journal of finished contigs beside them for `resume`."""

import json
import os
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
from dnamamba.pipelines.store_format import (
    N_BLOCK,
    Contig,
    Layout,
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
_PARTS = {"crc32c": "<u4", "n_count": "<u2"}


class AssemblyWriter:
    """An assembly in the making, in a folder that no reader looks at. Use it as a context manager.

    A contig's bases are written first (`place`, `write`), then its row (`add`): only then it counts as finished.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Use `start` or `resume`."""
        self.folder, self.layout = folder, layout
        self.contigs: list[Contig] = []
        """Finished contigs, in order."""
        self._end = 0
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
    def start(cls, folder: Path, layout: Layout, header: dict[str, Any]) -> "AssemblyWriter":
        """Begin an empty assembly in a new folder.

        Args:
            header: what an ingest must have in common with this one to go on with it.
        """
        (folder / "sequence" / "c").mkdir(parents=True)
        for name in _PARTS:
            (folder / f"{name}.part").touch()
        line = {"header": header, "chunk": layout.chunk, "shard": layout.shard}
        (folder / _JOURNAL).write_text(json.dumps(line) + "\n")
        return cls(folder, layout)

    @classmethod
    def resume(cls, folder: Path, header: dict[str, Any]) -> "AssemblyWriter | None":
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
        for key, value in header.items():
            if first["header"].get(key) != value:
                raise InputError(
                    f"cannot go on: {key} was {first['header'].get(key)!r} in the interrupted ingest,"
                    f" now it is {value!r}; run without --resume to start again"
                )
        writer = cls(folder, Layout(first["chunk"], first["shard"]))
        writer.contigs = [Contig(**row) for row in rows]
        if rows:
            writer._end = writer.layout.end(writer.contigs[-1].offset, writer.contigs[-1].length)
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
        counts = {"crc32c": self._end // self.layout.chunk, "n_count": self._end // N_BLOCK}
        for name, dtype in _PARTS.items():
            path, size = self.folder / f"{name}.part", counts[name] * np.dtype(dtype).itemsize
            if not path.exists() or path.stat().st_size < size:
                return False
            os.truncate(path, size)
        checksums = self._part("crc32c")
        extents = dict(self._extents())
        for path in (self.folder / "sequence" / "c").iterdir():
            os.truncate(path, extents.get(int(path.name), 0))
        for shard, size in extents.items():
            path = self.folder / "sequence" / "c" / str(shard)
            if not path.exists():
                return False
            data = np.memmap(path, np.uint8, "r")
            first = shard * self.layout.shard // self.layout.chunk
            for number in range(size // self.layout.chunk):
                chunk = data[number * self.layout.chunk :][: self.layout.chunk]
                if crc32c(chunk) != checksums[first + number]:
                    return False
        return True

    def place(self, length: int) -> int:
        """Where the next contig, of `length` bases, starts. Any length above a shard's gives the same answer."""
        return self.layout.place(self._end, length)

    def write(self, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Put bases at an offset, uint8 [n]. Runs in a worker thread, one call at a time."""
        view = data.data
        while len(view):
            shard, within = divmod(offset, self.layout.shard)
            if shard != self._shard:
                self._leave_shard()
                self._handle = os.open(self._shard_path(shard), os.O_RDWR | os.O_CREAT, 0o644)
                self._shard = shard
            done = os.pwrite(self._handle, view[: self.layout.shard - within], within)
            offset, view = offset + done, view[done:]

    def add(self, contig: Contig, checksums: npt.NDArray[Any], n_counts: npt.NDArray[Any]) -> None:
        """Call a contig finished.

        Args:
            contig: its row; its offset is what `place` said.
            checksums: CRC-32C of its chunks, the last one padded with zeros, [chunks].
            n_counts: N in each of its blocks of 1,024 bases, [chunks * chunk / 1024].
        """
        gap = contig.offset - self._end
        counts = {
            "crc32c": np.concatenate([np.full(gap // self.layout.chunk, self._zero), checksums]),
            "n_count": np.concatenate([np.zeros(gap // N_BLOCK), n_counts]),
        }
        for name, values in counts.items():
            self._append(f"{name}.part", values.astype(_PARTS[name]).tobytes())
        self._append(
            _JOURNAL, (json.dumps(contig_row(contig)) + "\n").encode("ascii")
        )  # last: it vouches for the others
        self.contigs.append(contig)
        self._end = self.layout.end(contig.offset, contig.length)

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write indexes and metadata and wait for the disk. The folder then is the assembly.

        Args:
            attributes: of the assembly's group; the contig table and its digests are added here.
        """
        self._leave_shard()
        self._close_logs()
        for shard, size in self._extents():
            with self._shard_path(shard).open("r+b") as file:
                file.truncate(size)
                file.seek(size)
                file.write(encode_index(size // self.layout.chunk, self.layout))
                file.flush()
                os.fsync(file.fileno())
        for pending in self._pending:
            pending.result()
        rows = [contig_row(contig) for contig in self.contigs]
        self._save("sequence/zarr.json", to_json(sequence_document(self._end, self.layout)))
        for name in _PARTS:
            values = self._part(name)
            self._save(f"{name}/zarr.json", to_json(plain_document(f"uint{values.itemsize * 8}", len(values))))
            self._save(f"{name}/c/0", encode_plain(values))
        digests = {"contigs_crc32c": contigs_checksum(rows), "fingerprint": contigs_fingerprint(self.contigs)}
        self._save("zarr.json", to_json(group_document({**attributes, **digests, "contigs": rows})))
        for name in (_JOURNAL, *(f"{name}.part" for name in _PARTS)):
            (self.folder / name).unlink()
        for folder in (self.folder / "sequence" / "c", self.folder):
            sync_folder(folder)

    def _extents(self) -> Iterator[tuple[int, int]]:
        """Each shard that holds bases, and how many bytes of it, index left out."""
        spans = (
            (shard, min(end, (shard + 1) * self.layout.shard) - shard * self.layout.shard)
            for contig in self.contigs
            if contig.length
            for end in (self.layout.end(contig.offset, contig.length),)
            for shard in range(contig.offset // self.layout.shard, -(-end // self.layout.shard))
        )
        for shard, group in groupby(spans, key=lambda span: span[0]):
            yield shard, max(size for _, size in group)

    def _leave_shard(self) -> None:
        if self._handle >= 0:
            self._pending.append(self._syncs.submit(_sync_and_close, self._handle))
            self._handle = self._shard = -1

    def _shard_path(self, shard: int) -> Path:
        return self.folder / "sequence" / "c" / str(shard)

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
        return np.fromfile(self.folder / f"{name}.part", _PARTS[name])

    def _save(self, path: str, data: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (self.folder / path).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _sync_and_close(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
