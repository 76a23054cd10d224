"""Genomes in memory with the face of a store's assembly, for tests of splits, windows and loaders."""

import hashlib

import numpy as np

from dnamamba.errors import InputError


class MemoryGenome:
    """An assembly whose contigs are arrays."""

    def __init__(self, name, contigs):
        self.name = name
        self.attributes = {}
        self.contigs = {contig: np.asarray(sequence, dtype=np.uint8) for contig, sequence in contigs.items()}

    @property
    def sizes(self):
        return {contig: len(sequence) for contig, sequence in self.contigs.items()}

    @property
    def fingerprint(self):
        return hashlib.sha256(b"".join(s.tobytes() for s in self.contigs.values())).hexdigest()

    def __getitem__(self, key):
        contig, where = key
        assert 0 <= where.start <= where.stop <= len(self.contigs[contig]), f"{key}: outside the contig"
        return self.contigs[contig][where]

    def resolve(self, name):
        if name not in self.contigs:
            raise InputError(f"{self.name}: no contig {name!r}")
        return name

    def n_count(self, contig):
        unknown = np.isin(self.contigs[contig], [ord("N"), ord("n")])
        return np.pad(unknown, (0, -len(unknown) % 1024)).reshape(-1, 1024).sum(axis=1).astype(np.uint16)


def random_dna(length, seed=0, letters=b"ACGT"):
    """Random bases as uint8, [length]."""
    return np.frombuffer(letters, np.uint8)[np.random.default_rng(seed).integers(0, len(letters), length)]


def random_genome(name, lengths, seed=0):
    """A genome of random contigs: lengths by contig name."""
    return MemoryGenome(name, {c: random_dna(n, seed + 1000 * i) for i, (c, n) in enumerate(lengths.items())})
