"""Write an assembly as 2bit: two bits a base, runs of N and runs of lower case beside them.

Source: UCSC, "Frequently Asked Questions: Data File Formats", .2bit; version 1 has 64-bit offsets.
"""

import struct
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.store import Assembly

_MAGIC = 0x1A412743
_OTHER = 4  # code of a letter that 2bit cannot hold
_BLOCK = 1 << 22
_CODES = np.full(256, _OTHER, np.uint8)
for _code, _letters in enumerate((b"TtNn", b"Cc", b"Aa", b"Gg")):  # under a run of N the bits are those of T
    _CODES[list(_letters)] = _code
_IS_N = np.isin(np.arange(256), list(b"Nn"))
_IS_LOWER = np.isin(np.arange(256), list(range(ord("a"), ord("z") + 1)))


def write_twobit(assembly: Assembly, file: IO[bytes], progress: Callable[[str, int, int | None], None] | None) -> None:
    """Write all contigs, little-endian; version 1 where a 32-bit offset would not reach. Descriptions are lost.

    Args:
        assembly: opened.
        file: empty, can seek.
        progress: called with the contig's name, the bases done so far, and the bases in all.

    Raises:
        InputError: a letter other than A C G T N, a name above 255 bytes, a contig of 2**32 bases or more.
    """
    names = [contig.name.encode() for contig in assembly.contigs]
    for contig, name in zip(assembly.contigs, names, strict=True):
        if len(name) > 255 or contig.length >= 2**32:
            raise InputError(f"contig {contig.name!r}: 2bit holds names of 255 bytes and 2**32 - 1 bases; export FASTA")
    total = sum(assembly.sizes.values())
    version = int(total > 2**33)  # a quarter of the bases and the runs: well below 2**32 bytes until here
    word = "<Q" if version else "<I"
    at = 16 + sum(1 + len(name) + struct.calcsize(word) for name in names)
    file.seek(at)
    offsets, done = [], 0
    for contig in assembly.contigs:
        offsets.append(file.tell())
        _record(assembly, contig.name, contig.length, file)
        done += contig.length
        if progress:
            progress(contig.name, done, total)
    file.seek(0)
    file.write(struct.pack("<4I", _MAGIC, version, len(names), 0))
    for name, offset in zip(names, offsets, strict=True):
        file.write(bytes([len(name)]) + name + struct.pack(word, offset))


def _record(assembly: Assembly, name: str, length: int, file: IO[bytes]) -> None:
    file.write(struct.pack("<I", length))
    for selected in (_IS_N, _IS_LOWER):
        starts, ends = _runs(assembly.blocks(name, _BLOCK), selected)
        file.write(struct.pack("<I", len(starts)))
        file.write(starts.astype("<u4").tobytes() + (ends - starts).astype("<u4").tobytes())
    file.write(struct.pack("<I", 0))
    for number, block in enumerate(assembly.blocks(name, _BLOCK)):
        codes = _CODES[block]
        bad = np.flatnonzero(codes == _OTHER)
        if len(bad):
            base = number * _BLOCK + int(bad[0]) + 1
            found = chr(block[bad[0]])
            raise InputError(f"contig {name!r}, base {base:,}: {found!r}: 2bit holds A C G T N only; export FASTA")
        quads = np.append(codes, np.zeros(-len(codes) % 4, np.uint8)).reshape(-1, 4)
        file.write((quads[:, 0] << 6 | quads[:, 1] << 4 | quads[:, 2] << 2 | quads[:, 3]).tobytes())


def _runs(
    blocks: Iterator[npt.NDArray[np.uint8]], selected: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last-plus-one base of each run of selected letters in a stream."""
    edges: list[npt.NDArray[np.int64]] = []
    inside, at = False, 0
    for block in blocks:
        inner = selected[block]
        changes = np.flatnonzero(np.diff(inner, prepend=inside)) + at
        edges.append(changes.astype(np.int64))
        inside, at = bool(inner[-1]), at + len(block)
    both = np.concatenate([np.empty(0, np.int64), *edges, np.array([at] if inside else [], np.int64)])
    return both[::2], both[1::2]
