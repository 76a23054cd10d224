"""A toy genome, as a server has it and as it comes from there into a store."""

import gzip

from fetch_cases import QUICK
from store_cases import random_bases, write_fasta

from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.remote_source import ingest_source

GENOME = {f"chr{i}": random_bases(400_000 * i % 700_001, i) for i in range(1, 6)}


def genome_texts(folder):
    """The genome as plain text, gzip and bgzip."""
    plain = write_fasta(folder / "toy.fa", GENOME).read_bytes()
    with open(folder / "toy.fa.bgz", "wb") as file, BgzipWriter(file) as writer:
        writer.write(plain)
    return {"plain": plain, "gzip": gzip.compress(plain, 1), "bgzip": (folder / "toy.fa.bgz").read_bytes()}


def take(source, store, **options):
    """Ingest; gives back the assembly and the notes."""
    notes = []
    made = ingest_source(source, store, settings=QUICK, note=notes.append, **options)
    return made, notes


def what(made):
    source = made.attributes["source"]
    return source["name"], source["size"], source["sha256"]
