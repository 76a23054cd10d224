"""Runs of a packed assembly on their way from the process that packs to the one that keeps the journal: files aside.

Whoever packs a share does not know the case of the base before it, nor how many runs lie there. It packs each contig as
if upper case came before; where that was wrong, one border at the piece's very start comes or goes when it is taken in.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from dnamamba.pipelines.packed import Bases
from dnamamba.pipelines.packed_writer import LOGS, RunsWriter

PIECES = "pieces"  # folder of an assembly in the making


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring chunks of one contig, as far as one process packed them."""

    first: int
    """Number of the first chunk in the assembly."""
    chunks: int
    borders: int
    """Entries in `case`."""
    runs: int
    """Entries in `other`."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a share, in order, and the name of the files that hold their runs."""

    name: str
    each: tuple[Piece, ...]


class PieceWriter:
    """Packs the contigs of a share, one after the other; their runs go into files of this attempt alone."""

    def __init__(self, folder: Path, chunk: int) -> None:
        """
        Args:
            folder: where the assembly is made.
            chunk: bases.
        """
        self._folder, self._chunk = folder / PIECES, chunk
        self._name = secrets.token_hex(16)  # another worker may do the same share at the same time
        self._logs: dict[str, FileIO] = {}
        self._runs = RunsWriter(self._append, chunk)
        self._first, self._chunks = -1, 0
        self._pieces: list[Piece] = []

    def pack(self, offset: int, data: Bases) -> Bases:
        """Take bases of the contig at `offset`, a multiple of the chunk; else as `RunsWriter.pack`."""
        if self._first < 0:
            self._first = offset // self._chunk
        codes = self._runs.pack(data)
        self._chunks += -(-len(data) // self._chunk)
        return codes

    def end(self) -> None:
        """What comes next belongs to another contig."""
        if self._first >= 0:
            self._runs.finish_contig()
            self._pieces.append(Piece(self._first, self._chunks, self._runs.borders, self._runs.runs))
        self._runs = RunsWriter(self._append, self._chunk)
        self._first, self._chunks = -1, 0

    def close(self) -> Pieces:
        """All pieces; their files are closed."""
        self.end()
        for log in self._logs.values():
            log.close()
        return Pieces(self._name, tuple(self._pieces))

    def _append(self, name: str, data: bytes) -> None:
        if name not in self._logs:
            self._logs[name] = _path(self._folder, self._name, name).open("ab", buffering=0)
        view = memoryview(data)
        while view:
            view = view[self._logs[name].write(view) :]


class PieceReader:
    """Gives the pieces of shares to a `RunsWriter`, in order. Shares are added in order too."""

    def __init__(self, folder: Path) -> None:
        """Make the folder for them, empty, in that of the assembly."""
        self._folder = folder / PIECES
        clear_pieces(folder)
        self._folder.mkdir()
        self._waiting: list[tuple[str, Piece, dict[str, int]]] = []

    def add(self, pieces: Pieces) -> None:
        """The next share's."""
        at = dict.fromkeys(LOGS, 0)
        for piece in pieces.each:
            self._waiting.append((pieces.name, piece, dict(at)))
            at["case"] += 2 * piece.borders
            at["other"] += 6 * piece.runs
            at["runs"] += 16 * piece.chunks

    def give(self, writer: RunsWriter, start: int, end: int) -> None:
        """Hand over the pieces before chunk `end`; the writer's next chunk is `start`, of no finished contig."""
        while self._waiting and self._waiting[0][1].first < end:
            name, piece, at = self._waiting.pop(0)
            writer.fill(piece.first - start)
            with _path(self._folder, name, "runs").open("rb") as file:
                file.seek(at["runs"])
                rows = np.frombuffer(file.read(16 * piece.chunks), "<u8").astype(np.int64).reshape(-1, 2)
            logs = (_path(self._folder, name, log) for log in ("case", "other"))
            with next(logs).open("rb") as case, next(logs).open("rb") as other:
                case.seek(at["case"])
                other.seek(at["other"])
                writer.take(np.diff(rows, axis=0, prepend=0), case, other)
            if not self._waiting or self._waiting[0][0] != name:
                for log in LOGS:
                    os.unlink(_path(self._folder, name, log))


def clear_pieces(folder: Path) -> None:
    """Remove what is there of pieces in an assembly's folder."""
    shutil.rmtree(folder / PIECES, ignore_errors=True)


def _path(folder: Path, name: str, log: str) -> Path:
    return folder / f"{name}.{log}"
