"""The genome store's format: names, sizes, metadata documents, the contig table and the shard index (docs/store.md).

Everything here is pure: bytes and documents in, bytes and documents out. Other modules touch the files.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.digests import crc32c, fingerprint

FORMAT = "dnamamba-genome-store"
VERSION = 1
LayoutName = Literal["raw", "packed"]
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)
BASES_PER_BYTE = {"raw": 1, "packed": 4}  # of the array that holds the bases
SMALL = {"crc32c": "<u4", "n_count": "<u2"}  # arrays of every layout, each in one chunk
RUNS = {"case": "<u2", "other": "<u2", "runs": "<u8"}  # and those of `packed` alone
COLUMNS = {"other": 3, "runs": 2}  # of those that have two axes
ASIDE = ".ingest"  # folder of the store where half-made assemblies lie, unseen by readers
N_BLOCK = 1024  # bases that one entry of n_count covers
CHUNK_BITS = range(10, 17)  # a chunk holds 2**10 .. 2**16 bases
SHARD_BITS = 26  # a shard holds at most 2**26 bases
WASTE = 1.25  # a chunk is made smaller until padding costs at most a quarter
ABSENT = np.uint64(2**64 - 1)  # in a shard index: this chunk is not stored, it holds the fill value 0

_ASSEMBLY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Contig:
    """One row of the contig table. Offset and length in bases; `n_bases` and `lower` count N and lower-case letters."""

    name: str
    offset: int
    length: int
    refget: str
    md5: str
    description: str = ""
    n_bases: int = 0
    lower: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Bases in a chunk and in a shard, both powers of two."""

    chunk: int
    shard: int

    def place(self, end: int, length: int) -> int:
        """Where a contig of `length` bases goes when the one before it ends at `end`: a chunk border, or a shard border
        when it is longer than a shard."""
        return _up(end, self.shard if length > self.shard else self.chunk)

    def end(self, offset: int, length: int) -> int:
        """The chunk border behind a contig."""
        return offset + _up(length, self.chunk)

    def in_bytes(self, name: LayoutName) -> "Layout":
        """The same sizes in bytes, as the array that holds the bases has them."""
        return Layout(self.chunk // BASES_PER_BYTE[name], self.shard // BASES_PER_BYTE[name])


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def choose_layout(lengths: Sequence[int], *, complete: bool) -> Layout:
    """Choose the sizes of chunk and shard.

    Args:
        lengths: of the contigs, in bases; of the first ones when `complete` is False.
        complete: whether these are all the contigs. If not, the shard has its largest size.

    Returns:
        The largest chunk whose padding costs at most a quarter of these bases (the smallest when none does), and the
        smallest shard that holds them all, 2**26 at most.
    """
    bases = sum(lengths)
    sizes = [1 << bits for bits in CHUNK_BITS]
    fitting = [size for size in sizes if sum(_up(length, size) for length in lengths) <= WASTE * bases]
    chunk = max(fitting, default=sizes[0])
    if not complete:
        return Layout(chunk, 1 << SHARD_BITS)
    padded = sum(_up(length, chunk) for length in lengths)
    return Layout(chunk, min(1 << SHARD_BITS, max(chunk, 1 << max(padded - 1, 0).bit_length())))


def array_of(name: LayoutName) -> str:
    """The array that holds the bases."""
    return "sequence" if name == "raw" else "packed"


def check_layout_name(name: str) -> LayoutName:
    """Return the name when it is that of a layout.

    Raises:
        InputError: it is none.
    """
    for known in LAYOUTS:
        if name == known:
            return known
    raise InputError(f"layout {name!r}: want {' or '.join(LAYOUTS)}")


def check_assembly_name(name: str) -> str:
    """Return the name when it may stand as a folder of the store.

    Raises:
        InputError: it is empty, too long, starts with a dot, or holds anything but letters, digits and . _ + -
    """
    if not _ASSEMBLY.fullmatch(name) or name == "zarr.json":
        raise InputError(
            f"assembly name {name!r}: want 1 to 128 letters, digits and . _ + -, the first a letter or digit"
            " (give one with --assembly)"
        )
    return name


def to_json(document: Any) -> bytes:
    """One spelling of a document: sorted keys, ASCII, so that the same content has the same bytes."""
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def group_document(attributes: dict[str, Any]) -> dict[str, Any]:
    """The zarr.json of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def sequence_document(size: int, layout: Layout) -> dict[str, Any]:
    """The zarr.json of `sequence` or `packed`: uint8 [size], sharded, the chunks of a shard plain bytes one after the
    other. `layout` is in bytes."""
    codecs = [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [layout.chunk],
                "codecs": [{"name": "bytes"}],
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                "index_location": "end",
            },
        }
    ]
    return _array_document("uint8", [size], [layout.shard], codecs)


def plain_document(data_type: str, length: int, columns: int | None = None) -> dict[str, Any]:
    """The zarr.json of a small array, [length] or [length, columns], in one chunk: little-endian numbers and their
    CRC-32C."""
    codecs: list[dict[str, Any]] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "crc32c"},
    ]
    more = [] if columns is None else [columns]
    return _array_document(data_type, [length, *more], [max(length, 1), *more], codecs)


def _array_document(
    data_type: str, shape: list[int], chunk_shape: list[int], codecs: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
        "storage_transformers": [],
    }


def encode_plain(values: npt.NDArray[Any]) -> bytes:
    """The one chunk of a small array: little-endian numbers, then their CRC-32C."""
    data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return data + crc32c(data).to_bytes(4, "little")


def decode_plain(data: bytes, dtype: str, length: int, where: str) -> npt.NDArray[Any]:
    """Read what `encode_plain` wrote.

    Raises:
        InputError: another size, or the checksum differs.
    """
    want = length * np.dtype(dtype).itemsize
    if len(data) != want + 4 or crc32c(data[:want]) != int.from_bytes(data[want:], "little"):
        raise InputError(f"{where}: damaged ({len(data):,} bytes, {want + 4:,} wanted, with their checksum)")
    return np.frombuffer(data, dtype, length)


def encode_index(chunks_used: int, layout: Layout) -> bytes:
    """The index of a shard whose first `chunks_used` chunks lie one after the other, with its CRC-32C."""
    index = np.full((layout.shard // layout.chunk, 2), ABSENT, "<u8")
    index[:chunks_used, 0] = np.arange(chunks_used, dtype=np.uint64) * np.uint64(layout.chunk)
    index[:chunks_used, 1] = layout.chunk
    data = index.tobytes()
    return data + crc32c(data).to_bytes(4, "little")


def index_size(layout: Layout) -> int:
    """Bytes of a shard's index with its checksum."""
    return layout.shard // layout.chunk * 16 + 4


def decode_index(data: bytes, layout: Layout, data_size: int, where: str) -> npt.NDArray[np.int64]:
    """Read a shard's index.

    Args:
        data: the last `index_size(layout)` bytes of the shard's file.
        data_size: bytes of the file before them.
        where: the file, for the message.

    Returns:
        Where each chunk starts in the file, int64 [chunks in a shard]; -1 where it is not stored (all zeros).

    Raises:
        InputError: the checksum differs, or a chunk lies outside the file.
    """
    body = data[:-4]
    if len(data) != index_size(layout) or crc32c(body) != int.from_bytes(data[-4:], "little"):
        raise InputError(f"{where}: the shard's index is damaged; ingest this assembly again")
    index = np.frombuffer(body, "<u8").reshape(-1, 2)
    stored = index[:, 0] != ABSENT
    last = np.uint64(max(data_size - layout.chunk, 0))
    if np.any(index[stored, 1] != layout.chunk) or np.any(index[stored, 0] > last) or (data_size == 0 and stored.any()):
        raise InputError(f"{where}: the shard's index points outside its file; ingest this assembly again")
    return np.where(stored, index[:, 0], ABSENT).astype(np.uint64).view(np.int64)


def contigs_checksum(rows: Iterable[dict[str, Any]]) -> int:
    """CRC-32C of the contig table in its one spelling (compact JSON), so that a flipped offset cannot pass unseen."""
    return crc32c(json.dumps(list(rows), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii"))


def contigs_fingerprint(contigs: Iterable[Contig]) -> str:
    """The assembly's fingerprint: digest of its contigs' refget identifiers, whatever their names and order."""
    return fingerprint(contig.refget for contig in contigs)
