"""Held-out sequence that is also trained on is seen in the sequence, whatever its contig is called."""

import numpy as np
import pytest
from memory_genomes import MemoryGenome, random_dna

from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.leaks import K, _hashes, find_leaks
from dnamamba.pipelines.splits import SplitConfig, plan_splits


def _strand(sequence):
    return DNA.decode(DNA.reverse_complement(DNA.encode(sequence)))


def _split(contigs, **patterns):
    genome = MemoryGenome("g", contigs)
    return [genome], plan_splits([genome], SplitConfig(method="contig", **patterns))


def test_hashes_are_those_of_plain_kmers():
    tokens = DNA.encode(random_dna(200, letters=b"ACGTACGTACGTACGTACGTN"))
    plain = [tokens[i : i + K] for i in range(len(tokens) - K + 1) if (tokens[i : i + K] < 4).all()]
    assert _hashes(tokens).tolist() == [int(_hashes(kmer)[0]) for kmer in plain]
    assert [int(_hashes(DNA.reverse_complement(kmer))[0]) for kmer in plain] == _hashes(tokens).tolist()
    assert len({kmer.tobytes() for kmer in plain}) == len(set(_hashes(tokens).tolist()))
    assert len(_hashes(tokens[: K - 1])) == 0


def test_a_planted_leak_is_seen_under_another_name_strand_and_case():
    sequence = random_dna(100_000)
    copy = sequence.copy()
    changed = np.random.default_rng(1).random(100_000) < 0.012  # as far as human and chimpanzee are
    copy[changed] = random_dna(100_000, seed=2)[changed]
    contigs = {"x": sequence, "y": _strand(copy) + 32, "z": random_dna(100_000, seed=3)}
    worst, other = find_leaks(*_split(contigs, valid=("y",), test=("z",)))
    assert (worst.part, worst.region.contig, other.region.contig) == ("valid", "y", "z")
    assert worst.shared == pytest.approx(
        (1 - 0.75 * 0.012) ** K, abs=0.05
    )  # a changed base is another one 3 times of 4
    assert other.shared == 0
    assert worst.kmers == pytest.approx(100_000 / 64, rel=0.1)


def test_nothing_to_compare_is_no_leak():
    contigs = {"x": random_dna(1000), "n": np.full(1000, ord("N")), "tiny": random_dna(5)}
    assert [row.shared for row in find_leaks(*_split(contigs, valid=("n",), test=("tiny",)))] == [0, 0]


def test_blocks_that_are_read_apart_lose_no_kmer(monkeypatch):
    contigs = {"x": random_dna(50_000), "y": random_dna(50_000, seed=1)}
    whole = find_leaks(*_split(contigs, valid=("y",)))
    monkeypatch.setattr("dnamamba.pipelines.leaks._READ_AT_ONCE", 777)
    assert find_leaks(*_split(contigs, valid=("y",))) == whole


def test_real_orthologues_share_most(real_data):
    from dnamamba.pipelines.sources import open_source

    contigs = {}
    for species in ("human.ENm001.hg16", "chimp.ENm001.panTro1"):
        for contig in open_source(real_data / "nuclear" / f"{species}.fa.gz", names="full").contigs():
            contigs[contig.name] = np.concatenate(list(contig.blocks()))
    rows = find_leaks(*_split(contigs, valid=("human*",)))
    assert rows[0].shared > 0.5
