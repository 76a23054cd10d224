"""Order without state: keyed hashes, keyed permutations and weighted choice, each a closed form of an index.

Nothing here remembers anything, so a run resumed at index i goes on as if it had never stopped.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
FEISTEL_ROUNDS = 6
# Resolution of weights. An index below 2^39 times this fits 63 bits.
WEIGHT_BITS = 23
MAX_INDEX = 1 << 39


def mix(x: UInt64) -> UInt64:
    """Scramble 64-bit words, element by element; a bijection.

    Source: the finaliser of SplitMix64, Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def key_of(*parts: int) -> int:
    """One 64-bit key from several integers; the order and the number of parts matter."""
    key = _GOLDEN * (len(parts) + 1) & _MASK
    for part in parts:
        word = np.array([(key ^ (part & _MASK)) + _GOLDEN & _MASK], dtype=np.uint64)
        key = int(mix(word)[0])
    return key


def hash_indices(indices: Int64, key: int) -> UInt64:
    """A 64-bit hash of each index under `key`. Any shape; no two indices of one key share a hash."""
    return mix((indices.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN) ^ np.uint64(key & _MASK))


def hash_pairs(first: Int64, second: Int64, key: int) -> UInt64:
    """A 64-bit hash of each pair (first, second) under `key`. Shapes broadcast."""
    return mix(hash_indices(first, key) ^ hash_indices(second, key ^ _GOLDEN))


def coin(indices: Int64, key: int) -> NDArray[np.bool_]:
    """A fair coin for each index, a pure function of (index, key)."""
    return (hash_indices(indices, key) >> np.uint64(63)).astype(np.bool_)


def below(hashes: UInt64, limits: Int64) -> Int64:
    """Map each hash to [0, limit). Limits below 2^32 (longer ones are reached in steps of limit / 2^32)."""
    return ((hashes >> np.uint64(32)).astype(np.float64) * (limits / 2.0**32)).astype(np.int64)


_ROUND_CONSTANTS = tuple(key_of(number) for number in range(FEISTEL_ROUNDS))


def permute(indices: Int64, sizes: Int64, keys: UInt64, bound: int) -> Int64:
    """Where a keyed permutation of range(size) sends each index, in constant memory.

    Args:
        indices: each in [0, size), any shape.
        sizes: of the permuted range, one an index, at most `bound`.
        keys: one an index; each key (and each bound) gives its own permutation.
        bound: fixed for a whole stream, so that the result does not depend on which indices are asked for together.

    Source: a balanced Feistel network on the next even power of two with cycle walking,
    Black and Rogaway, Ciphers with Arbitrary Finite Domains (2002).
    """
    half = max(1, (max(bound - 1, 1).bit_length() + 1) // 2)  # bits of either half: the domain is 4^half < 4 * bound
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    result = indices.astype(np.uint64)
    todo = np.ones(indices.shape, dtype=np.bool_)
    while todo.any():  # cycle walking: about four turns at most on average, and it always ends
        left, right, key = result[todo] >> shift, result[todo] & mask, keys[todo]
        for constant in _ROUND_CONSTANTS:
            left, right = right, left ^ (mix(right ^ key ^ np.uint64(constant)) & mask)
        result[todo] = (left << shift) | right
        todo &= result >= sizes.astype(np.uint64)
    return result.astype(np.int64)


def choose(indices: Int64, weights: Sequence[float], key: int) -> tuple[Int64, Int64]:
    """Deal a stream of samples out to sources by weight, evenly spread.

    Sample i belongs to exactly one source, and source s's samples are numbered 0, 1, 2 ... without gaps as i grows.
    After any number of samples a source has had its share to within the number of sources.

    Args:
        indices: global sample numbers, below 2^39.
        weights: one positive number a source.
        key: moves where in the stream a source's turns fall.

    Returns:
        The source of each sample, and the sample's number within that source.

    Source: Bresenham's line (1965), taken source by source on what the sources before it left.
    """
    if indices.size and int(indices.max()) >= MAX_INDEX:
        raise IndexError(f"sample number {int(indices.max())} is past 2^39")
    source = np.full(indices.shape, len(weights) - 1, dtype=np.int64)
    number = indices.astype(np.int64)
    open_ = np.ones(indices.shape, dtype=np.bool_)
    for s in range(len(weights) - 1):
        share = max(1, round(weights[s] / sum(weights[s:]) * (1 << WEIGHT_BITS)))
        phase = key_of(key, s) >> (64 - WEIGHT_BITS)
        before = (number * share + phase) >> WEIGHT_BITS
        mine = open_ & (((number + 1) * share + phase) >> WEIGHT_BITS > before)
        source[mine] = s
        number = np.where(open_, np.where(mine, before, number - before), number)
        open_ &= ~mine
    return source, number
