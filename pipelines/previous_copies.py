"""How far upstream the bases before a position stood last: the distance to the previous copy of the same 24-mer.

The 24 bases are those that stand right before the position, not the position itself: a reader knows them before it
reads on, so that no class of positions is chosen by what is to be predicted.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.words import hashed, words

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint64]

WORD = 24
"""Bases of a word. A genome of 3 G bases holds a given one 1e-5 times by chance."""
NEVER, UNKNOWN = -1, -2
"""In place of a distance: no copy upstream; fewer than 24 bases before the position, or one that is not A, C, G, T."""

_AT_ONCE = 1 << 20
_TABLE_BITS = 24


def previous_copy_distances(
    read: Callable[[int, int], Bytes], positions: Ints, word: int = WORD, at_once: int = _AT_ONCE
) -> Ints:
    """For each position the distance to the last place upstream after the same `word` bases, on the same strand.

    Walks the sequence twice up to the last position. Memory: a few numbers for each position and each of the `at_once`
    bases that are read at a time, whatever the sequence's length.

    Args:
        read: bases [start, end) of the sequence as letters, uint8; called with 0 <= start <= end.
        positions: 0-based, growing.
        word: bases of a word, at most 31.
        at_once: bases of a read.

    Returns:
        Distances in bases, above 0, or NEVER or UNKNOWN; int64 [positions].
    """
    found = np.full(len(positions), UNKNOWN, np.int64)
    if not len(positions):
        return found
    end = int(positions[-1]) + 1
    asked = np.zeros(len(positions), np.uint64)
    known = np.zeros(len(positions), bool)
    for start in range(0, end, at_once):
        mine = slice(*np.searchsorted(positions, [start, start + at_once]))
        if mine.start < mine.stop:
            codes, whole = _words_before(read, start, min(end, start + at_once), word)
            asked[mine], known[mine] = codes[positions[mine] - start], whole[positions[mine] - start]
    asked_words = np.unique(asked[known])
    wanted = np.zeros(1 << _TABLE_BITS, bool)  # most bases are seen off by one look at this table
    wanted[hashed(asked_words, _TABLE_BITS)] = True
    last = np.full(len(asked_words), -1, np.int64)  # where each word stood last
    for start in range(0, end, at_once):
        codes, whole = _words_before(read, start, min(end, start + at_once), word)
        at = np.flatnonzero(whole & wanted[hashed(codes, _TABLE_BITS)])
        number = np.searchsorted(asked_words, codes[at])
        exact = number < len(asked_words)
        exact[exact] = asked_words[number[exact]] == codes[at][exact]
        at, number = at[exact] + start, number[exact]
        before = _before(at, number, last)
        mine = slice(*np.searchsorted(positions, [start, start + at_once]))
        ask = np.flatnonzero(known[mine]) + mine.start
        row = np.searchsorted(at, positions[ask])
        found[ask] = np.where(before[row] < 0, NEVER, positions[ask] - before[row])
    return found


def _before(at: Ints, number: Ints, last: Ints) -> Ints:
    """Where the word of each place in `at` stood before; `last` is brought up to date."""
    before = np.empty(len(at), np.int64)
    if not len(at):
        return before
    order = np.argsort(number, kind="stable")
    word, place = number[order], at[order]
    first = np.append(True, word[1:] != word[:-1])
    before[order] = np.where(first, last[word], np.append(-1, place[:-1]))
    final = np.append(first[1:], True)
    last[word[final]] = place[final]
    return before


def _words_before(
    read: Callable[[int, int], Bytes], start: int, end: int, word: int
) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """The word before each place in [start, end) as a number of 2 bits a base, and whether all of it is A, C, G, T."""
    first = max(0, start - word)
    tokens = np.take(DNA.table, read(first, max(first, end - 1)))
    missing = word - (start - first)
    tokens = np.append(np.full(missing, DNA.n, np.uint8), tokens)  # nothing stands before the sequence
    codes, whole = words(tokens, word)
    return codes[: end - start], whole
