"""Small genomes for the tests of the store: sources on disk, damage, and layouts small enough to have many shards."""

import os
from pathlib import Path

import numpy as np
import pytest

from dnamamba.pipelines.verify import verify

LETTERS = np.frombuffer(b"ACGTacgtNnRYKM", np.uint8)


def random_bases(length: int, seed: int = 0) -> np.ndarray:
    """Letters of both cases with N and a few IUPAC codes, uint8 [length]."""
    return LETTERS[np.random.default_rng(seed).integers(0, len(LETTERS), length)]


def write_fasta(path: Path, contigs: dict[str, np.ndarray], width: int = 70) -> Path:
    """A FASTA file; names may hold a description after a blank."""
    with path.open("wb") as file:
        for name, bases in contigs.items():
            text = bases.tobytes()
            lines = [text[i : i + width] for i in range(0, len(text), width)]
            file.write(f">{name}\n".encode() + b"".join(line + b"\n" for line in lines))
    return path


def small_shards(monkeypatch: pytest.MonkeyPatch, shard_bits: int = 13, chunk_bits: int = 10) -> None:
    """Shards of 8 KiB: a few thousand bases go the way of a chromosome, in many blocks, with nothing known before."""
    from dnamamba.pipelines import ingest_source, store_format, store_intake

    monkeypatch.setattr(store_format, "SHARD_BITS", shard_bits)
    monkeypatch.setattr(store_format, "CHUNK_BITS", range(chunk_bits, chunk_bits + 1))
    monkeypatch.setattr(store_intake, "BLOCK", 1 << (chunk_bits + 1))
    monkeypatch.setattr(store_intake, "SMALL", 0)
    monkeypatch.setattr(ingest_source, "PEEK", 1 << chunk_bits)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # hundreds of tiny files: what a power cut does is not tested


def flip_byte(path: Path, at: int) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        where = file.tell()
        byte = file.read(1)[0]
        file.seek(where)
        file.write(bytes([byte ^ 0x20]))


def assert_genome(assembly, genome):
    """The assembly is what was written, and its digests say so."""
    assert list(assembly.sizes) == list(genome)
    for name, bases in genome.items():
        assert np.array_equal(assembly[name], bases), name
    assert verify(assembly) == []


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, to compare."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
