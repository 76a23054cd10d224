"""Ingest: what comes out is what went in, however the blocks fall, and nothing half-made is ever seen."""

import errno
import gzip
import json
import multiprocessing
import os
import shutil
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_cases import assert_genome, files_of, random_bases, small_shards, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.ingest_source import default_assembly
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_intake import count_n, even_blocks
from dnamamba.pipelines.store_lock import assembly_lock

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def genome():
    return {f"chr{i}": random_bases(3_000 * i % 20_011, i) for i in range(1, 13)}


@pytest.fixture
def fasta(tmp_path, genome):
    return write_fasta(tmp_path / "toy.fa", genome)


names = st.lists(st.text("abcXYZ019|#._-:", min_size=1, max_size=8), min_size=1, max_size=6, unique=True)
sequences = st.lists(st.binary(max_size=60), min_size=1, max_size=6)


@given(names=names, parts=sequences, copies=st.integers(1, 200), width=st.integers(1, 90), jobs=st.integers(1, 4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path, monkeypatch, names, parts, copies, width, jobs):
    """Source -> store -> FASTA and 2bit, over many shards: the bytes of the source each time."""
    letters = np.frombuffer(b"ACGTacgtNn", np.uint8)
    genome = {
        name: letters[np.frombuffer(parts[i % len(parts)] * copies, np.uint8) % 10] for i, name in enumerate(names)
    }
    if not sum(map(len, genome.values())):
        return
    with monkeypatch.context() as patch:
        small_shards(patch)
        folder = tmp_path / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        source = write_fasta(folder / "toy.fa", genome, width)
        first = ingest(source, folder / "s", jobs=jobs)
        assert_genome(first, genome)
        for out, again in (("a.fa", "a"), ("b.fa.gz", "b"), ("c.2bit", "c")):
            export(first, folder / out, width=width)
            assert_genome(ingest(folder / out, folder / "s", jobs=1), genome)
            assert open_store(folder / "s")[again].fingerprint == first.fingerprint
        assert (folder / "a.fa").read_bytes() == source.read_bytes()


def test_attributes_say_where_it_came_from(tmp_path, fasta, genome):
    import hashlib

    assembly = ingest(fasta, tmp_path / "s", provenance={"who": "me"}, simulated=True)
    source = assembly.attributes["source"]
    assert (source["name"], source["format"], source["size"]) == ("toy.fa", "fasta", fasta.stat().st_size)
    assert source["sha256"] == hashlib.sha256(fasta.read_bytes()).hexdigest()
    assert assembly.attributes["simulated"] is True
    assert assembly.attributes["provenance"] == {"who": "me"}
    lower = sum(int(((bases & 0x20) != 0).sum()) for bases in genome.values())
    assert assembly.attributes["lower_bases"] == lower


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("streamed", [False, True])
def test_same_source_same_bytes(tmp_path, fasta, monkeypatch, jobs, streamed):
    """Whatever the threads, for a source that is read ahead wholly and for one that is not."""
    if streamed:
        small_shards(monkeypatch)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    ingest(fasta, tmp_path / "one")
    ingest(fasta, tmp_path / "two", jobs=jobs)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    document = json.loads((tmp_path / "one" / "toy" / "zarr.json").read_text())
    assert document["attributes"]["created"] == "2023-11-14T22:13:20Z"


def test_time_is_all_that_differs(tmp_path, fasta, monkeypatch):
    for name, epoch in (("one", "1"), ("two", "2")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        ingest(fasta, tmp_path / name)
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert [name for name in one if one[name] != two[name]] == ["toy/zarr.json"]
    differing = zip(one["toy/zarr.json"].splitlines(), two["toy/zarr.json"].splitlines(), strict=True)
    assert [a.split(b":")[0].strip() for a, b in differing if a != b] == [b'"created"']


@pytest.mark.parametrize("jobs", [1, 3])
def test_nothing_is_left_behind(tmp_path, fasta, jobs):
    store = tmp_path / "s"
    ingest(fasta, store, jobs=jobs)
    ingest(fasta, store, jobs=jobs, overwrite=True)
    assert sorted(path.name for path in store.iterdir()) == ["toy", "zarr.json"]
    assert sorted(path.name for path in (store / "toy").iterdir()) == ["crc32c", "n_count", "sequence", "zarr.json"]


def test_an_assembly_that_is_there_stays(tmp_path, fasta):
    ingest(fasta, tmp_path / "s")
    before = files_of(tmp_path / "s")
    with pytest.raises(InputError, match=r"assembly 'toy' is there already; --overwrite"):
        ingest(fasta, tmp_path / "s")
    bad = tmp_path / "bad" / "toy.fa"
    bad.parent.mkdir()
    bad.write_text(">a\nACGT\n>b\nAC!T\n")
    with pytest.raises(InputError, match="'b': base 3"):
        ingest(bad, tmp_path / "s", overwrite=True)
    assert files_of(tmp_path / "s") == before
    other = ingest_arrays([("x", "", random_bases(10))], tmp_path / "s", assembly="toy", overwrite=True)
    assert other.sizes == {"x": 10}


def test_without_an_exchange_of_folders_overwriting_takes_two_renames(tmp_path, fasta, monkeypatch, genome):
    from dnamamba.pipelines import store_lock

    monkeypatch.setattr(store_lock, "_exchange", lambda one, other: False)
    store = tmp_path / "s"
    ingest(fasta, store)
    assert_genome(ingest(fasta, store, overwrite=True), genome)
    # A kill between the two renames: the next writer brings the old one back.
    with assembly_lock(store, "toy") as place:
        os.rename(place.final, place.folder / "old")
        place.new.mkdir()  # so that the folder stays, as after a kill
    assert open_store(store).assemblies == []
    with pytest.raises(InputError, match="is there already"):
        ingest(fasta, store)
    assert_genome(open_store(store)["toy"], genome)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"ACGT\n", "'>'"),
        (b">a\nACGT\n>a\nACGT\n", "'a'"),
        (b">p\nMEEPQSDPSVEPPLSQETFSDLWKLLPENN\n", "'p': base"),
        (gzip.compress(b">a\n" + b"ACGTTGCA" * 5_000)[:-30], "truncated"),
        (b">a\n>b\n", "no bases|no sequence"),
        (b"\x1a\x41\x27\x43" + bytes(8) + b"\xff" * 40, "2bit"),
    ],
    ids=["empty", "no header", "two of a name", "protein", "cut gzip", "no bases", "lying 2bit"],
)
def test_a_bad_source_leaves_nothing(tmp_path, content, message):
    source = tmp_path / "bad.fa"
    source.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        ingest(source, tmp_path / "s")
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        ingest(tmp_path / "nothing.fa", tmp_path / "s")
    with pytest.raises(InputError, match="is a folder"):
        ingest(tmp_path, tmp_path / "s", assembly="x")
    assert not (tmp_path / "s").exists()


def test_places_that_are_no_store(tmp_path, fasta):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="holds other things"):
        ingest(fasta, tmp_path / "full")
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(InputError, match="not a genome store"):
        ingest(fasta, tmp_path / "group")
    with pytest.raises(InputError, match="cannot be written"):
        ingest(fasta, fasta / "s")
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["thesis.txt"]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "-x", "zarr.json", "ä", "x" * 200, "a\n"])
def test_assembly_names(tmp_path, fasta, name):
    with pytest.raises(InputError, match="assembly name"):
        ingest(fasta, tmp_path / "s", assembly=name)
    assert not (tmp_path / "s").exists()


def test_default_assembly_names():
    assert default_assembly("/a/b/hg38.fa.gz") == "hg38"
    assert default_assembly("hg38.2bit") == "hg38"
    assert default_assembly("GCF_1.2_x.FNA.bgz") == "GCF_1.2_x"
    assert default_assembly("odd.txt") == "odd.txt"


def test_names_that_arrays_may_not_have(tmp_path):
    for name in ("", "a\x1b[2J", "\udc80"):
        with pytest.raises(InputError, match="not printable"):
            ingest_arrays([(name, "", random_bases(9))], tmp_path / "s", assembly="x")
    with pytest.raises(InputError, match="holds a line end"):
        ingest_arrays([("a", "b\n>c", random_bases(9))], tmp_path / "s", assembly="x")
    with pytest.raises(InputError, match="two contigs are named 'a'"):
        ingest_arrays([("a", "", random_bases(9))] * 2, tmp_path / "s", assembly="x")
    with pytest.raises(InputError, match="base 3: '-' is no IUPAC letter"):
        ingest_arrays([("a", "", np.frombuffer(b"AC-T", np.uint8))], tmp_path / "s", assembly="x")
    with pytest.raises(InputError, match="want uint8"):
        ingest_arrays([("a", "", np.zeros(4))], tmp_path / "s", assembly="x")
    with pytest.raises(InputError, match="JSON"):
        ingest_arrays([("a", "", random_bases(9))], tmp_path / "s", assembly="x", provenance={"a": object()})
    contigs = [("a", "", random_bases(9)), ("b", "", random_bases(9))]
    with pytest.raises(InputError, match="alias 'b' of contig 'a' is the name of another"):
        ingest_arrays(contigs, tmp_path / "s", assembly="x", aliases={"b": "a"})
    assert not (tmp_path / "s").exists()


def test_patterns_choose_contigs(tmp_path, fasta):
    some = ingest(fasta, tmp_path / "s", include=["chr1*", "chr2"], exclude=["*2"])
    assert list(some.sizes) == ["chr1", "chr10", "chr11"]
    with pytest.raises(InputError, match=r"no contig is left by --include CHR\* --exclude x; its names are chr1, chr2"):
        ingest(fasta, tmp_path / "s", assembly="none", include=["CHR*"], exclude=["x"])
    assert open_store(tmp_path / "s").assemblies == ["toy"]


def test_a_pipe(tmp_path, genome, monkeypatch):
    source = write_fasta(tmp_path / "toy.fa", genome)
    with source.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": file}))
        with pytest.raises(InputError, match="--assembly"):
            ingest("-", tmp_path / "s")
        with pytest.raises(InputError, match="without --resume"):
            ingest("-", tmp_path / "s", assembly="piped", resume=True)
        assembly = ingest("-", tmp_path / "s", assembly="piped")
    assert_genome(assembly, genome)
    assert assembly.attributes["source"]["sha256"] is None


def test_a_source_that_changes_meanwhile(tmp_path, fasta):
    def touch(contig, done, total):
        os.utime(fasta, ns=(1, 1))

    with pytest.raises(InputError, match="changed while it was read"):
        ingest(fasta, tmp_path / "s", progress=touch)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk(tmp_path, fasta, monkeypatch, number, jobs):
    small_shards(monkeypatch)
    calls = []

    def full(*args):
        calls.append(args)
        if len(calls) > 5:
            raise OSError(number, os.strerror(number))
        return real(*args)

    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)
    words = "cannot be written" if number == errno.EIO else "no space left"
    with pytest.raises(InputError, match=words):
        ingest(fasta, tmp_path / "s", jobs=jobs)
    assert not (tmp_path / "s").exists()


def test_even_blocks_and_counts():
    text = random_bases(10_000_000)
    cuts = [0, 1, 5, 4_194_304, 4_194_305, 9_000_000, 9_000_000, 10_000_000]
    pieces = [text[a:b] for a, b in pairwise(cuts)]
    blocks = list(even_blocks(pieces, 1_024))
    assert [bases for _, bases in blocks] == [4_194_304, 4_194_304, 1_611_392]
    assert all(len(block) % 1_024 == 0 for block, _ in blocks)
    assert np.array_equal(np.concatenate([block[:bases] for block, bases in blocks]), text)
    for block, bases in blocks:
        assert not block[bases:].any()
        assert np.array_equal(count_n(block), np.isin(block, list(b"Nn")).reshape(-1, 1_024).sum(1))
    assert count_n(np.full(2_048, ord("n"), np.uint8)).tolist() == [1_024, 1_024]


def test_real_files(real_data, tmp_path, genome):
    """Soft mask, N runs, duplicate first words, 10,000 contigs: every base as Biopython reads it."""
    from Bio import SeqIO

    store = tmp_path / "s"
    for file in ("human/hg38.chr2_1-2333275.fa.gz", "nuclear/human.ENm001.hg16.fa.gz", "mito/human.fa"):
        assembly = ingest(real_data / file, store)
        with gzip.open(real_data / file, "rt") if file.endswith(".gz") else (real_data / file).open() as text:
            theirs = {record.id: str(record.seq) for record in SeqIO.parse(text, "fasta")}
        assert {name: assembly[name].tobytes().decode() for name in assembly.sizes} == theirs
    chimp = real_data / "nuclear/chimp.ENm001.panTro1.fa.gz"
    with pytest.raises(InputError, match="--names full"):
        ingest(chimp, store)
    assert len(ingest(chimp, store, names="full").contigs) == 2
    for file in ("twobit/sacCer2.2bit", "twobit/gmod/out2.2bit"):
        assembly = ingest(real_data / file, store)
        with (real_data / file).open("rb") as binary:
            for record in SeqIO.parse(binary, "twobit"):
                assert assembly[record.id].tobytes() == bytes(record.seq)
    assert len(assembly.contigs) == 10_000
