"""Sequences of no class, against which the flag for unlike sequences is measured."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.species.fasta_genome import parse_labelled, read_genome

Tokens = NDArray[np.uint8]


def shuffle_dinucleotides(tokens: Tokens, rng: np.random.Generator) -> Tokens:
    """A random sequence with the same dinucleotides, as often each, and the same first letter.

    Args:
        tokens: uint8 [n].
        rng: of the shuffle.

    Source: Altschul and Erickson, Molecular Biology and Evolution 2 (1985): a random Eulerian path, the last edges of
    which form a tree towards the last letter.
    """
    if len(tokens) < 3:
        return tokens.copy()
    last = int(tokens[-1])
    follow = {int(a): tokens[1:][tokens[:-1] == a].copy() for a in np.unique(tokens[:-1])}
    while True:
        ends = {a: int(rng.integers(len(edges))) for a, edges in follow.items() if a != last}
        if all(_reaches(a, last, {b: int(follow[b][i]) for b, i in ends.items()}) for a in ends):
            break
    for a, edges in follow.items():
        if a in ends:  # the tree's edge is the one taken last
            edges[ends[a]], edges[-1] = edges[-1], edges[ends[a]]
            edges[:-1] = rng.permutation(edges[:-1])
        else:
            follow[a] = rng.permutation(edges)
    used = dict.fromkeys(follow, 0)
    out = np.empty_like(tokens)
    here = out[0] = int(tokens[0])
    for i in range(1, len(tokens)):
        edges = follow[here]
        used[here] += 1
        here = int(edges[used[here] - 1])
        out[i] = here
    return out


def _reaches(start: int, goal: int, following: dict[int, int]) -> bool:
    seen = set()
    while start != goal:
        if start in seen or start not in following:
            return False
        seen.add(start)
        start = following[start]
    return True


def shuffled(tokens: Tokens, seed: int) -> Tokens:
    """Every window shuffled by dinucleotides, [n, L]."""
    rng = np.random.default_rng([seed, 5])
    return np.stack([shuffle_dinucleotides(row, rng) for row in tokens])


def random_bases(windows: int, length: int, seed: int) -> Tokens:
    """A, C, G and T, equally likely, [windows, length]."""
    return np.random.default_rng([seed, 6]).integers(0, 4, (windows, length)).astype(np.uint8)


class UnlikeFiles:
    """The files that the configuration names, each read once."""

    def __init__(self, files: Sequence[str], alphabet: Alphabet) -> None:
        """
        Raises:
            InputError: no NAME=FILE, or as `read_genome`.
        """
        self._tokens: dict[str, list[Tokens]] = {}
        for text in files:
            name, path = parse_labelled(text, "measure.unlike")
            if name in self._tokens:
                raise InputError(f"measure.unlike: {name!r} is there twice")
            genome = read_genome(path, name)
            self._tokens[name] = [alphabet.encode(bases) for bases in genome.contigs.values()]

    def windows(self, length: int, most: int) -> dict[str, Tokens]:
        """Up to `most` windows of each file that holds one of that length, evenly spread, [n, length]."""
        found = {}
        for name, contigs in self._tokens.items():
            tiles = [row for one in contigs for row in one[: len(one) // length * length].reshape(-1, length)]
            if tiles:
                chosen = np.linspace(0, len(tiles) - 1, min(most, len(tiles))).astype(int)
                found[name] = np.stack([tiles[i] for i in chosen])
        return found
