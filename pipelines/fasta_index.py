"""Whether htslib's index of a FASTA file says what is in the file: it drops names that come again, and may be old.

What stands between two contigs of an index is looked at, and nothing else: their headers, a read for each contig.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from dnamamba.errors import InputError

STALE = "its index is of another file; remove it, or make it anew (samtools faidx)"
REMEDY = "`dnamamba genome ingest` reads it or says what is wrong; give the store that it makes"

_MOST = 2**17  # bytes looked at between two contigs: what is dropped begins there
_BLOCK = 2**16  # bytes of a bgzip block, at most
_Text = Callable[[int, int], bytes]
"""Bytes of a file's text from a place on, so many or what there is."""


def check_index(path: str, index: Sequence[str], *, old: bool) -> None:
    """Look whether an index has every contig of a file, at its place.

    Args:
        path: FASTA, plain or bgzip.
        index: its `.fai`, and the `.gzi` of bgzip.
        old: the index was there before, and may be of another file.

    Raises:
        InputError: a name that comes again, a header without name, or an index that does not fit.

    Source: the manual pages faidx(5) and bgzip(1).
    """
    wrong = InputError(f"{path}: {STALE if old else f'cannot be indexed; {REMEDY}'}")
    seen: dict[bytes, int] = {}
    end = 0
    with open(path, "rb") as file:

        def plain(at: int, size: int) -> bytes:
            file.seek(at)
            return file.read(size)

        text = plain if len(index) == 1 else _unpacked(plain, index[1])
        try:
            for name, start, after in [*_entries(index[0]), (None, end + _MOST, 0)]:
                size = _MOST if name is None else start - end
                if size < 0 or end < 0:  # contigs that overlap, or lie before the file
                    raise wrong
                between = text(end, min(size, _MOST))
                last = _note_headers(path, between, seen, wrong)
                if name is not None and size <= _MOST and (last != name or not between.endswith(b"\n")):
                    raise wrong
                end = after
        except InputError:  # a ValueError too
            raise
        except zlib.error:
            raise InputError(f"{path}: is damaged, or {STALE}") from None
        except (ValueError, ArithmeticError, IndexError, OSError):  # rows or blocks that no index has
            raise wrong from None


def _entries(fai: str) -> Iterator[tuple[bytes | None, int, int]]:
    """Name of each contig, and where in the text its bases begin and end, in the order of the file."""
    rows = [line.split(b"\t") for line in Path(fai).read_bytes().splitlines()]
    for row in sorted(rows, key=lambda row: int(row[2])):
        length, start, bases, width = map(int, row[1:5])
        lines, rest = divmod(length - 1, bases) if length else (0, -1)
        yield row[0], start, start + lines * width + rest + 1


def _note_headers(path: str, between: bytes, seen: dict[bytes, int], wrong: InputError) -> bytes | None:
    """Add the names of the headers, which are all that may stand there; the last of them."""
    name = None
    for line in filter(bytes.strip, between.splitlines()):
        if not line.startswith(b">"):
            raise wrong
        number, name = len(seen) + 1, b"".join(line[1:].split(maxsplit=1)[:1])
        if not name:
            raise InputError(
                f"{path}: record {number:,}: the header has no name: '>' is followed by nothing; put a name there"
            )
        if name in seen:
            raise InputError(
                f"{path}: contig {name.decode(errors='replace')!r}: the name of record {number:,} is that of record "
                f"{seen[name]:,} too; rename one"
            )
        seen[name] = number
    return name


def _unpacked(packed: _Text, gzi: str) -> _Text:
    """The text of a bgzip file, by its index."""
    words = np.fromfile(gzi, "<u8")
    blocks = np.concatenate([np.zeros((1, 2), np.uint64), words[1 : 1 + 2 * int(words[0])].reshape(-1, 2)])
    places, begins = blocks.astype(np.int64).T  # in the file, in the text

    @lru_cache(maxsize=2)
    def block(number: int) -> bytes:
        return zlib.decompressobj(wbits=31).decompress(packed(int(places[number]), _BLOCK))

    def text(at: int, size: int) -> bytes:
        number = int(begins.searchsorted(at, "right")) - 1
        skip, found = at - int(begins[number]), b""
        while len(found) < skip + size and number < len(begins):
            found += block(number)
            number += 1
        return found[skip : skip + size]

    return text


def line_without_place(path: str, *, bgzip: bool) -> int | None:
    """The first line that keeps htslib from indexing a file, from 1: before a header, or after one that is shorter or
    longer than the first of its contig. None where there is none, or the file is damaged."""
    width, ended = 0, True
    try:
        with gzip.open(path) if bgzip else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.startswith(b">"):
                    width, ended = 0, False
                elif not line.strip():
                    ended = True
                elif ended or (width and len(line) > width):
                    return number
                else:
                    width, ended = width or len(line), len(line) < width
    except (OSError, EOFError, zlib.error):
        return None
    return None
