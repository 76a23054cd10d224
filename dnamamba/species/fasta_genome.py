"""Labelled files as genomes in memory, with the face of a store's assembly."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.fasta import SharedFirstWord
from dnamamba.pipelines.sources import open_source
from dnamamba.stretches import N_BLOCK

Bases = NDArray[np.uint8]


class FastaGenome:
    """Contigs held in memory, upper case: what a store's assembly is to splits and windows."""

    def __init__(self, name: str, contigs: Mapping[str, Bases], descriptions: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.contigs = dict(contigs)
        self.descriptions = dict(descriptions or {})
        """Contig -> the rest of its header."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        return {}

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(bases) for name, bases in self.contigs.items()}

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, bases in self.contigs.items():
            digest.update(f"{name}\0{len(bases)}\0".encode())
            digest.update(bases.tobytes())
        return digest.hexdigest()

    def __getitem__(self, key: tuple[str, slice]) -> Bases:
        contig, where = key
        return self.contigs[contig][where]

    def n_count(self, contig: str) -> NDArray[np.uint16]:
        """N in each block of 1,024 bases."""
        unknown = self.contigs[contig] == ord("N")
        padded = np.pad(unknown, (0, -len(unknown) % N_BLOCK)).reshape(-1, N_BLOCK)
        counts: NDArray[np.uint16] = padded.sum(axis=1).astype(np.uint16)
        return counts

    def resolve(self, name: str) -> str:
        if name not in self.contigs:
            raise InputError(f"{self.name}: no contig {name!r}")
        return name


def parse_labelled(text: str, key: str = "fasta") -> tuple[str, str]:
    """Read `CLASS=FILE`.

    Raises:
        InputError: one of the two is missing.
    """
    label, equals, path = text.partition("=")
    if not (label and equals and path):
        raise InputError(f"{key}: {text!r}: want CLASS=FILE")
    return label, path


def read_genome(path: str, name: str, *, gaps: Literal["error", "drop"] = "error") -> FastaGenome:
    """Read a FASTA or 2bit file whole.

    Args:
        path: of the file.
        name: of the genome.
        gaps: alignment gaps are an error, or left out.

    Raises:
        InputError: as `open_source`; protein and other letters that are no nucleotides; a file without a base.
    """
    contigs: dict[str, Bases] = {}
    descriptions: dict[str, str] = {}
    upper = DNA.letters[:-1]  # all letters but the start token's sign
    fold = np.zeros(256, np.uint8)
    for letter in upper.tolist():
        fold[[letter, ord(chr(letter).lower())]] = letter
    try:
        found = _contigs(path, gaps, "first-word")
    except SharedFirstWord:
        found = _contigs(path, gaps, "full")
    for contig, description, bases in found:
        if len(bases):
            contigs[contig], descriptions[contig] = fold[bases], description
    if not contigs:
        raise InputError(f"{path}: holds no base")
    return FastaGenome(name, contigs, descriptions)


def _contigs(path: str, gaps: Literal["error", "drop"], names: Any) -> list[tuple[str, str, Bases]]:
    source = open_source(path, gaps=gaps, names=names)
    empty = np.empty(0, np.uint8)
    return [(c.name, c.description, np.concatenate([empty, *c.blocks()])) for c in source.contigs()]
