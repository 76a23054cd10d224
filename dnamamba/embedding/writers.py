"""Embeddings to a file, as they come: Parquet, a row a sequence, or Zarr, one matrix."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from dnamamba.embedding.embedder import Floats, Part
from dnamamba.errors import InputError
from dnamamba.files import beside, opened_whole, sync

FORMAT = "dnamamba-embeddings"
_CHUNK_FLOATS = 2**22  # of a Zarr chunk, and of a Parquet row group: 16 MiB


class EmbeddingWriter(Protocol):
    """A context manager; what it writes is there whole or not at all."""

    def write(self, part: Part) -> None: ...

    def abandon(self) -> None:
        """Forget the parts of a sequence whose last part will not come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


def open_writer(out: str, width: int, *, every_base: bool, attributes: dict[str, Any]) -> EmbeddingWriter:
    """The writer that a file's name asks for.

    Args:
        out: ends in .parquet or .zarr.
        width: of a vector.
        every_base: the vectors are of bases, not of sequences.
        attributes: plain data about how the vectors were made, kept in the file.

    Raises:
        InputError: another name, Parquet for vectors of bases, or a place that is taken.
    """
    suffix = Path(out).suffix.lower()
    if "://" in out or suffix not in (".parquet", ".zarr"):
        raise InputError(f"{out}: want a local name that ends in .parquet or .zarr")
    if suffix == ".parquet":
        if every_base:
            raise InputError(f"{out}: vectors of every base go to Zarr: give a name that ends in .zarr")
        return ParquetEmbeddings(out, width, attributes)
    return ZarrEmbeddings(Path(out), width, every_base, attributes)


class ParquetEmbeddings:
    """Columns name, start, length, file, embedding (a fixed-size list of float32)."""

    def __init__(self, out: str, width: int, attributes: dict[str, Any]) -> None:
        self._out, self._width, self._attributes = out, width, attributes
        self._stack = ExitStack()
        self._parts: list[Part] = []

    def __enter__(self) -> Self:
        import pyarrow as pa
        import pyarrow.parquet as pq

        vector = pa.list_(pa.float32(), self._width)
        kinds = {
            "name": pa.string(),
            "start": pa.int64(),
            "length": pa.int64(),
            "file": pa.string(),
            "embedding": vector,
        }
        said = {"format": FORMAT, **{key: str(value) for key, value in self._attributes.items()}}
        self._schema = pa.schema(list(kinds.items()), metadata=said)
        file = self._stack.enter_context(opened_whole(self._out))
        self._parquet = self._stack.enter_context(pq.ParquetWriter(file, self._schema, compression="zstd"))
        return self

    def write(self, part: Part) -> None:
        """Add a sequence."""
        self._parts.append(part)
        if len(self._parts) * self._width >= _CHUNK_FLOATS:
            self._flush()

    def abandon(self) -> None:
        """As `EmbeddingWriter.abandon`: a row comes whole."""

    def _flush(self) -> None:
        import pyarrow as pa

        parts, self._parts = self._parts, []
        values = pa.array(np.concatenate([part.values for part in parts]).ravel(), pa.float32())
        columns = [
            pa.array([part.name for part in parts]),
            pa.array([part.start for part in parts], pa.int64()),
            pa.array([part.length for part in parts], pa.int64()),
            pa.array([part.source for part in parts]),
            pa.FixedSizeListArray.from_arrays(values, self._width),
        ]
        self._parquet.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None and self._parts:
            self._flush()
        self._stack.__exit__(kind, error, tb)


class ZarrEmbeddings:
    """A Zarr v3 group, readable with nothing but zarr.

    `embedding` float32 [rows, d_model]; `start` and `length` int64 [n]; `row` int64 [n + 1], where the rows of each
    sequence begin (a row each when pooled, a row a base with pool "none"); `name` uint8, all names end to end, UTF-8,
    and `name_end` int64 [n]. How the vectors were made stands in the attributes.
    """

    def __init__(self, path: Path, width: int, every_base: bool, attributes: dict[str, Any]) -> None:
        """
        Raises:
            InputError: something is there already.
        """
        if path.exists():
            raise InputError(f"{path}: is there already; remove it or choose another name")
        self._path, self._width = path, width
        self._aside = beside(path)
        self._attributes = {"format": FORMAT, "format_version": 1, "every_base": every_base, **attributes}
        self._values: list[Floats] = []
        self._held = self._rows = 0
        self._names: list[bytes] = []
        self._starts: list[int] = []
        self._lengths: list[int] = []
        self._borders = [0]

    def __enter__(self) -> Self:
        import zarr

        self._group = zarr.create_group(self._aside, attributes=self._attributes, zarr_format=3)
        chunk = max(1, _CHUNK_FLOATS // self._width)
        self._chunk = chunk
        self._array = self._group.create_array(
            "embedding", shape=(0, self._width), chunks=(chunk, self._width), dtype="float32", compressors=None
        )
        return self

    def write(self, part: Part) -> None:
        """Add a sequence, or some of its bases."""
        self._values.append(part.values)
        self._held += len(part.values)
        if part.last:
            self._names.append(part.name.encode())
            self._starts.append(part.start)
            self._lengths.append(part.length)
            self._borders.append(self._rows + self._held)
        if self._held >= self._chunk:
            self._flush(self._held // self._chunk * self._chunk)

    def abandon(self) -> None:
        """As `EmbeddingWriter.abandon`."""
        whole = self._borders[-1]
        if whole < self._rows:
            self._array.resize((whole, self._width))
            self._rows, self._values, self._held = whole, [], 0
        else:
            held = np.concatenate([*self._values, np.empty((0, self._width), np.float32)])[: whole - self._rows]
            self._values, self._held = [held], len(held)

    def _flush(self, rows: int) -> None:
        """Write the first `rows` of what is held: whole chunks, each once."""
        held = np.concatenate(self._values)
        self._values, self._held = [held[rows:]], len(held) - rows
        self._array.resize((self._rows + rows, self._width))
        self._array[self._rows :] = held[:rows]
        self._rows += rows

    def _finish(self) -> None:
        if self._held:
            self._flush(self._held)
        text = b"".join(self._names)
        ends = np.cumsum([len(name) for name in self._names], dtype=np.int64)
        for name, values in (
            ("name", np.frombuffer(text, np.uint8)),
            ("name_end", ends),
            ("start", np.array(self._starts, np.int64)),
            ("length", np.array(self._lengths, np.int64)),
            ("row", np.array(self._borders, np.int64)),
        ):
            array = self._group.create_array(
                name, shape=values.shape, chunks=(max(1, min(len(values), 2**20)),), dtype=values.dtype
            )
            array[:] = values

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
                os.rename(self._aside, self._path)
                sync(self._path.parent)
        finally:
            shutil.rmtree(self._aside, ignore_errors=True)
