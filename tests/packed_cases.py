"""Genomes that look like chromosomes, and a store that has one in both layouts."""

import numpy as np
from store_cases import random_bases

from dnamamba.pipelines.ingest import ingest_arrays

CHUNK = 1024
CONTIGS = {"chr1": 30_000, "chr2": 1_024, "empty": 0, "chr3": 9_000, "tiny": 3, "4": 16_384}


def genome_like(length, seed=0):
    """Long runs of case and of N with a few IUPAC codes, uint8 [length]: what a chromosome looks like."""
    random = np.random.default_rng(seed)
    bases = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, length)]
    for letters, size, count in (("N", 900, length // 9_000), ("RYKMSWBDHV", 1, length // 3_000)):
        for start in random.integers(0, max(length, 1), count):
            bases[start : start + random.integers(1, size + 1)] = ord(random.choice(list(letters)))
    for start in random.integers(0, max(length, 1), length // 600):
        bases[start : start + random.integers(1, 500)] |= 0x20
    return bases


def mixed_genome():
    """Contigs that look like chromosomes and contigs of random letters in turn, by name."""
    kinds = (genome_like, random_bases)
    return {name: kinds[seed % 2](length, seed) for seed, (name, length) in enumerate(CONTIGS.items())}


def ingest_both(genome, store):
    """The genome in both layouts, as the assemblies "raw" and "packed"."""
    for layout in ("raw", "packed"):
        contigs = [(name, f"the {name}", bases) for name, bases in genome.items()]
        ingest_arrays(contigs, store, assembly=layout, layout=layout)
    return store


def as_url(store):
    import fsspec

    memory = fsspec.filesystem("memory")
    if memory.exists("/packed.zarr"):
        memory.rm("/packed.zarr", recursive=True)
    memory.put(str(store), "/packed.zarr", recursive=True)
    return "memory://packed.zarr"
