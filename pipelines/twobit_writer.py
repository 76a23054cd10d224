"""Write an assembly as 2bit: two bits a base, runs of N and runs of lower case beside them.

Source: UCSC, "Frequently Asked Questions: Data File Formats", .2bit; version 1 has 64-bit offsets.
"""

import struct
from collections.abc import Callable
from typing import IO

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.store import Assembly

_MAGIC = 0x1A412743
_OTHER = 4  # code of a letter that 2bit cannot hold
_BLOCK = 1 << 22
# Tables for bytes.translate, four times as fast as an array that is indexed. Under a run of N the bits are those of T.
_CODES = bytes([_OTHER]) * 256
for _code, _letters in enumerate((b"TtNn", b"Cc", b"Aa", b"Gg")):
    _CODES = bytes(_code if byte in _letters else old for byte, old in enumerate(_CODES))
_IS_N = bytes(byte in b"Nn" for byte in range(256))
_IS_LOWER = bytes(ord("a") <= byte <= ord("z") for byte in range(256))
# Times four codes in a little-endian word, this puts the first at bits 30 and 31, the next below it, and so on.
_GATHER = np.uint32(1 << 30 | 1 << 20 | 1 << 10 | 1)


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
    runs = _Runs(_IS_N), _Runs(_IS_LOWER)
    for block in assembly.blocks(name, _BLOCK):
        letters = block.tobytes()
        for kind in runs:
            kind.add(letters)
    for kind in runs:
        starts, ends = kind.borders()
        file.write(struct.pack("<I", len(starts)))
        file.write(starts.astype("<u4").tobytes() + (ends - starts).astype("<u4").tobytes())
    file.write(struct.pack("<I", 0))
    for number, block in enumerate(assembly.blocks(name, _BLOCK)):
        codes = np.frombuffer(block.tobytes().translate(_CODES) + bytes(-len(block) % 4), np.uint8)
        if codes.max(initial=0) == _OTHER:
            bad = int((codes == _OTHER).argmax())
            base, found = number * _BLOCK + bad + 1, chr(block[bad])
            raise InputError(f"contig {name!r}, base {base:,}: {found!r}: 2bit holds A C G T N only; export FASTA")
        file.write((codes.view("<u4") * _GATHER >> np.uint32(24)).astype(np.uint8).tobytes())


class _Runs:
    """First and last-plus-one base of each run of selected letters in a stream of blocks."""

    def __init__(self, selected: bytes) -> None:
        self._selected, self._inside, self._at = selected, False, 0
        self._edges: list[npt.NDArray[np.int64]] = []

    def add(self, letters: bytes) -> None:
        inner = np.frombuffer(letters.translate(self._selected), np.bool_)
        if bool(inner[0]) != self._inside:
            self._edges.append(np.array([self._at], np.int64))
        self._edges.append(np.flatnonzero(inner[1:] != inner[:-1]) + (self._at + 1))
        self._inside, self._at = bool(inner[-1]), self._at + len(letters)

    def borders(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of the runs so far: starts and ends."""
        last = np.array([self._at] if self._inside else [], np.int64)
        both = np.concatenate([np.empty(0, np.int64), *self._edges, last])
        return both[::2], both[1::2]
