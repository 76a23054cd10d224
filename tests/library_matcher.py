"""An exact matcher of the simulator's young repeats: the reader of the simulator's species bound."""

import numpy as np

from dnamamba.pipelines.simulate.bound import expected_elements
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.library import Library
from dnamamba.pipelines.simulate.tree import CLADES

K = 24  # so long that chance does not make one in a genome
ENOUGH = 3  # diagnostic bases in one place, and more than half of those that lie between the first and the last
FALSE_ALARM = 1e-3  # how far the matcher trusts itself: chance that it sees a clade that is not there
CODES = np.zeros(256, np.int64)
CODES[[ord(c) for c in "CGTcgt"]] = [1, 2, 3, 1, 2, 3]


def kmers(bases):
    """Integer of the K-mer that starts at each base, int64."""
    out = np.zeros(len(bases) - K + 1, np.int64)
    for j in range(K):
        out = out * 4 + bases[j : len(bases) - K + 1 + j]
    return out


class LibraryMatcher:
    """Knows the whole library; finds elements of each clade's young subfamilies by K-mers that no other entry has."""

    def __init__(self, library: Library):
        young = [(name, clade) for name in library.names if (clade := name.split(".")[1]) in CLADES]
        table = {}  # K-mer -> entry, strand, first base in the entry, or None where several entries have it
        for name in library.names:
            consensus = library.entry(name).astype(np.int64)
            for strand, bases in enumerate((consensus, 3 - consensus[::-1])):
                for at, word in enumerate(kmers(bases).tolist()):
                    table[word] = (name, strand, at) if word not in table else None
        names = [name for name, _ in young]
        rows = [(w, names.index(v[0]), *v[1:]) for w, v in table.items() if v is not None and v[0] in names]
        self.words, self.entry, self.strand, self.at = np.array(sorted(rows), np.int64).T
        self.clade = [list(CLADES).index(clade) for _, clade in young]
        self.lengths = [len(library.entry(name)) for name in names]
        self.diagnostic = []
        for name in names:
            family = name.split(".")[0]
            parent = [n for n in library.names if n.startswith(family + ".") and n.split(".")[1].isdigit()][-1]
            self.diagnostic.append(np.flatnonzero(library.entry(name) != library.entry(parent)))

    def hits(self, letters):
        """Every K-mer of ASCII letters that only one young entry has: its place and its row, both [H]."""
        words = kmers(CODES[letters])
        row = np.minimum(np.searchsorted(self.words, words), len(self.words) - 1)
        place = np.flatnonzero(self.words[row] == words)
        return place, row[place]

    def clades_seen(self, place, row):
        """Clades with an element among the hits of one window, bool [clades]."""
        key = self.entry[row] * 2 + self.strand[row]
        diagonal = place - self.at[row]
        order = np.lexsort((diagonal, key))
        breaks = np.flatnonzero((np.diff(key[order]) != 0) | (np.diff(diagonal[order]) > 30)) + 1
        seen = np.zeros(len(CLADES), bool)
        for group in np.split(order, breaks):
            if len(group):
                entry, reverse = divmod(int(key[group[0]]), 2)
                covered = np.unique(self.at[row[group]][:, None] + np.arange(K))
                if reverse:
                    covered = self.lengths[entry] - 1 - covered
                found = self.diagnostic[entry][np.isin(self.diagnostic[entry], covered)]
                if len(found) >= ENOUGH:
                    # An old copy may mutate into a few diagnostic bases, but it lacks most of those between them.
                    between = (self.diagnostic[entry] >= found[0]) & (self.diagnostic[entry] <= found[-1])
                    seen[self.clade[entry]] |= len(found) > 0.5 * between.sum()
        return seen


def matcher_accuracy(config: SimulateConfig, matcher: LibraryMatcher, sequences, length: int) -> float:
    """Accuracy of the likeliest species given the clades seen, over all windows of `length`; ties count by their share.

    Args:
        sequences: [contigs][5 species] ASCII letters.
    """
    shown = np.array([1 - np.exp(-expected_elements(config, clade, length)) for clade in CLADES])
    belongs = np.array(list(CLADES.values())) >> np.arange(5)[:, None] & 1  # [5, clades]
    chance = np.where(belongs, shown, FALSE_ALARM)
    right = []
    for contig in sequences:
        for species, letters in enumerate(contig):
            place, row = matcher.hits(letters)
            for start in range(0, len(letters) - length + 1, length):
                low, high = np.searchsorted(place, (start, start + length - K + 1))
                seen = matcher.clades_seen(place[low:high], row[low:high])
                likely = np.where(seen, chance, 1 - chance).prod(axis=1)
                best = likely > likely.max() * (1 - 1e-9)
                right.append(best[species] / best.sum())
    return float(np.mean(right))
