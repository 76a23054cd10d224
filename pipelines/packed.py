"""Two bits a base, and runs of what these cannot say: case, N, IUPAC codes, padding. The format is in docs/store.md.

A chunk is what stands between two multiples of `chunk` in an assembly's span. Positions in the runs count from the
start of their chunk and fit 16 bits. Everything here is pure: arrays in, arrays out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bases = npt.NDArray[np.uint8]

CODES = b"ACTG"  # the two bits of a base: bits 1 and 2 of its ASCII code, so that packing needs no table
PER_BYTE = 4  # bases; the first one in the lowest bits
PACK = 1 << 18  # bases packed at a time: they stay in the cache from pass to pass
_CASE = np.uint8(0x20)  # the bit of a lower-case letter
_SHORT = 64  # bases; longer runs are filled one by one, shorter ones all at once
_PER_WORD = 8  # bases that 16 bits hold, and bytes that a uint64 holds

_EIGHT = np.arange(_PER_WORD)
# 16 bits -> 8 letters, 512 KiB: one look-up for eight bases. Made from bytes, so that no byte order is assumed.
_LETTERS = np.frombuffer(CODES, np.uint8)[(np.arange(1 << 16)[:, None] >> (2 * _EIGHT)) & 3].view(np.uint64).ravel()
_LOWER = np.full(_PER_WORD, _CASE).view(np.uint64)[0]  # eight lower-case bits
# The case of eight bases when it changes before base i, for each i.
_LOWER_FROM = np.where(_EIGHT[:, None] <= _EIGHT, _CASE, 0).astype(np.uint8).view(np.uint64).ravel()


class DamagedRuns(Exception):
    """What no packing gives. The caller says which chunk it is."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Whole chunks, packed. `runs` says for each chunk how many entries of `case` and of `other` are its own."""

    codes: Bases
    """Two bits a base, [bases / 4]; A (0) where the letter is none of ACGT."""
    case: npt.NDArray[np.uint16]
    """Where the case changes, [borders]: before this base of its chunk."""
    other: npt.NDArray[np.uint16]
    """First base, last base, and letter (upper case; 0 is padding) of each run of one letter, [runs, 3]."""
    runs: npt.NDArray[np.int64]
    """[chunks, 2]."""
    lower: bool
    """Whether the last base is lower case."""


def pack(block: Bases, chunk: int, *, lower: bool) -> Packed:
    """Pack whole chunks.

    Args:
        block: letters of either case, or zeros, uint8 [chunks * chunk].
        chunk: bases, a power of two from 2**10 to 2**16.
        lower: whether the base before these is lower case.
    """
    parts = []
    for start in range(0, len(block), max(PACK, chunk)):
        parts.append(_pack(block[start : start + max(PACK, chunk)], chunk, lower))
        lower = parts[-1].lower
    return Packed(
        np.concatenate([np.empty(0, np.uint8), *(part.codes for part in parts)]),
        np.concatenate([np.empty(0, np.uint16), *(part.case for part in parts)]),
        np.concatenate([np.empty((0, 3), np.uint16), *(part.other for part in parts)]),
        np.concatenate([np.empty((0, 2), np.int64), *(part.runs for part in parts)]),
        lower,
    )


def _pack(block: Bases, chunk: int, lower: bool) -> Packed:
    chunks = len(block) // chunk
    cases = block & _CASE
    borders = np.flatnonzero(_changes(cases, int(_CASE) if lower else 0))
    upper = block ^ cases
    codes = _codes(upper)
    strange = unpack_codes(codes) != upper
    other = np.empty((0, 3), np.int64)
    if strange.any():
        codes = _codes(np.where(strange, np.uint8(CODES[0]), upper))
        letters = np.where(strange, upper.astype(np.int16), -1)
        changes = _changes(letters, -1)
        changes[::chunk] = True  # no run crosses a chunk's border
        starts = np.flatnonzero(changes)
        lasts = np.append(starts[1:], len(block)) - 1
        kept = letters[starts] >= 0
        starts, lasts = starts[kept], lasts[kept]
        other = np.stack([starts, lasts, letters[starts]], axis=1)
    runs = [np.bincount(places // chunk, minlength=chunks) for places in (borders, other[:, 0])]
    other[:, :2] %= chunk
    return Packed(
        codes,
        (borders % chunk).astype(np.uint16),
        other.astype(np.uint16),
        np.stack(runs, axis=1).astype(np.int64),
        bool(cases[-1]),
    )


def _changes(values: npt.NDArray[Any], before: int) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before it."""
    changes = np.empty(len(values), np.bool_)
    changes[0] = values[0] != before
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _codes(upper: Bases) -> Bases:
    """Two bits a base of upper-case letters, the first base in the lowest bits; what other letters give is rubbish."""
    fours = ((upper >> 1) & 3).view("<u4")
    fours |= fours >> 6
    fours |= fours >> 12
    return fours.astype(np.uint8)  # the low byte of each


def unpack_codes(codes: Bases) -> Bases:
    """The letters of packed codes, uint8 [len * 4]. The length is even."""
    letters: Bases = _LETTERS.take(codes.view("<u2")).view(np.uint8)
    return letters


def unpack(
    codes: Bases,
    case: npt.NDArray[np.uint16],
    other: npt.NDArray[np.uint16],
    runs: npt.NDArray[np.int64],
    chunk: int,
    *,
    start: int,
    lower: bool,
    strict: bool = False,
) -> Bases:
    """The letters of a window that starts in the first of some neighbouring chunks and ends in the last.

    Args:
        codes: of the window alone, [bases / 4].
        case, other, runs: of these chunks, as in `Packed`.
        chunk: bases.
        start: where in its chunk the window starts; a multiple of 8, as its length.
        lower: whether the base before the first chunk is lower case.
        strict: refuse codes under other letters that are not 0.

    Returns:
        A new array, uint8 [bases].

    Raises:
        DamagedRuns: runs that no packing gives. Not all of them are noticed: the checksum of the chunk tells.
    """
    bases = unpack_codes(codes)
    try:
        if len(other):
            _put_letters(bases, other, _spread(other[:, 0], runs[:, 1], chunk, start), strict)
        if len(case) or lower:
            _put_case(bases, _spread(case, runs[:, 0], chunk, start), lower)
    except (ValueError, IndexError):  # numpy's: negative counts, places outside the array
        raise DamagedRuns("its runs are damaged") from None
    return bases


def _spread(
    places: npt.NDArray[np.uint16], counts: npt.NDArray[np.int64], chunk: int, start: int
) -> npt.NDArray[np.int64]:
    """Places in their chunks as places in a window."""
    if len(counts) == 1:
        return places.astype(np.int64) - start
    return places.astype(np.int64) + np.repeat(np.arange(len(counts)) * chunk - start, counts)


def _put_letters(bases: Bases, other: npt.NDArray[np.uint16], firsts: npt.NDArray[np.int64], strict: bool) -> None:
    ends = firsts + (other[:, 1].astype(np.int64) - other[:, 0] + 1)
    firsts, ends = np.clip(firsts, 0, len(bases)), np.clip(ends, 0, len(bases))
    if np.any(firsts[1:] < ends[:-1]):  # what overlaps could be spread over any amount of memory
        raise DamagedRuns("its runs are damaged")
    letters, sizes = other[:, 2].astype(np.uint8), ends - firsts
    short = (sizes > 0) & (sizes < _SHORT)
    spread = np.repeat(firsts[short] - np.cumsum(sizes[short]) + sizes[short], sizes[short])
    places = spread + np.arange(len(spread))
    long = [(slice(a, b), letter) for a, b, letter in _rows(firsts, ends, letters, sizes >= _SHORT)]
    if strict and (np.any(bases[places] != CODES[0]) or any(np.any(bases[run] != CODES[0]) for run, _ in long)):
        raise DamagedRuns("bits under other letters are not 0")
    bases[places] = np.repeat(letters[short], sizes[short])
    for run, letter in long:
        bases[run] = letter


def _rows(
    firsts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], letters: Bases, which: npt.NDArray[np.bool_]
) -> "zip[tuple[int, int, int]]":
    return zip(firsts[which].tolist(), ends[which].tolist(), letters[which].tolist(), strict=True)


def _put_case(bases: Bases, borders: npt.NDArray[np.int64], lower: bool) -> None:
    """Set the case bits, eight bases at a time: whole words by how many borders lie before them, then the borders'
    own words."""
    before, within = np.searchsorted(borders, (0, len(bases))).tolist()
    borders = borders[before:within]
    words, eights = borders >> 3, bases.view(np.uint64)
    edges = np.empty(len(words) + 2, np.int64)
    edges[0], edges[-1] = 0, len(eights)
    np.add(words, 1, out=edges[1:-1])
    states = np.zeros(len(words) + 1, np.uint64)
    states[(before + lower + 1) & 1 :: 2] = _LOWER
    masks = np.repeat(states, edges[1:] - edges[:-1])
    np.bitwise_xor.at(masks, words, _LOWER_FROM[borders & 7])
    np.bitwise_or(eights, masks, out=eights)
