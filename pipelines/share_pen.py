"""Writes the bases of one share of an assembly, in whatever process has been given it."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.packed_pieces import Pieces, PieceWriter
from dnamamba.pipelines.shares import Share
from dnamamba.pipelines.store_format import BASES_PER_BYTE, Contig, Layout, LayoutName, array_of

TOKEN = "token"  # file of an assembly in the making: only who knows what it holds may write there
Finished = tuple[Contig, npt.NDArray[Any], npt.NDArray[Any]]
"""A contig's row, its chunks' checksums and its counts of N."""


@dataclass(frozen=True)
class Written:
    """What a share adds to its assembly."""

    finished: list[Finished]
    """Of the contigs that start in the share, in order."""
    pieces: Pieces | None
    """Where the runs of its chunks are, in the packed layout."""


class SharePen:
    """Writes the bases of one share into its shards. Use it as a context manager: it ends when all is on the disk."""

    def __init__(self, folder: Path, layout: Layout, share: Share, token: str, name: LayoutName = "raw") -> None:
        self.layout = layout
        self._finished: list[Finished] = []
        self._folder, self._share, self._token = folder, share, token
        self._shards, self._bytes = folder / array_of(name) / "c", layout.in_bytes(name)
        self._packer = PieceWriter(folder, layout.chunk) if name == "packed" else None
        self._pieces: Pieces | None = None
        self._offset = 0
        self._shard, self._handle = -1, -1

    def __enter__(self) -> "SharePen":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._leave_shard(sync=kind is None)
        if self._packer is not None:
            self._pieces = self._packer.close()

    @property
    def written(self) -> "Written":
        """What is to be told of the share, after its end."""
        return Written(self._finished, self._pieces)

    def begin(self, offset: int) -> None:
        """The next contig has this offset."""
        self._offset = offset
        if self._packer is not None:
            self._packer.end()

    def place(self, length: int) -> int:
        """Where the contig lies."""
        return self._offset

    def write(self, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Put bases at an offset, uint8 [n]; those outside the share are another one's.

        Raises:
            InputError: nobody waits for this share any more, or this machine does not see the store.
        """
        low, high = self._share.first * self.layout.shard, self._share.last * self.layout.shard
        data = data[max(low - offset, 0) : max(high - offset, 0)]
        offset = max(offset, low)
        if len(data):
            self._check()
            if self._packer is not None:
                data, offset = self._packer.pack(offset, data), offset // BASES_PER_BYTE["packed"]
        view = data.data
        while len(view):
            shard, within = divmod(offset, self._bytes.shard)
            if shard != self._shard:
                self._leave_shard(sync=True)
                self._handle = os.open(self._shards / str(shard), os.O_RDWR | os.O_CREAT, 0o644)
                self._shard = shard
            done = os.pwrite(self._handle, view[: self._bytes.shard - within], within)
            offset, view = offset + done, view[done:]

    def add(self, contig: Contig, checksums: npt.NDArray[Any], n_counts: npt.NDArray[Any]) -> None:
        """Keep what is to be told of a finished contig."""
        self._finished.append((contig, checksums, n_counts))

    def _leave_shard(self, *, sync: bool) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            try:
                if sync:
                    os.fsync(handle)
            finally:
                os.close(handle)

    def _check(self) -> None:
        """A worker that was taken for dead must not write into what others have begun since."""
        try:
            token = (self._folder / TOKEN).read_text()
        except OSError:
            token = ""
        if token != self._token:
            raise InputError(
                f"{self._folder}: the worker on {socket.gethostname()} does not see the ingest that sent it;"
                " the store must lie where all workers see it"
            )
