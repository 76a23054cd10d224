"""Export: the source's sequence byte for byte, read back by other people's programs; nothing half-written."""

import errno
import gzip
import io
import os
import struct
import sys

import numpy as np
import pytest
from Bio import SeqIO
from store_cases import flip_byte, random_bases, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines import twobit_writer
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.sources import open_source

# Runs of N and of lower case at starts, ends, over each other and over the borders of blocks; every length modulo 4.
MASKED = {
    "a": b"ACGTacgtNNNNnnnnACGTNnA",
    "b": b"N",
    "c": b"nnnn",
    "d": b"acgtACGTACGTACGTACGTACGTACGTACGTACGTACGTn",
    "e": b"TCAG" * 9 + b"T",
    "empty": b"",
    "f": b"aN" * 11,
}


@pytest.fixture
def genome():
    return {"chr1 the first, with a description": random_bases(10_001), "chr2": random_bases(60), "e": random_bases(0)}


@pytest.fixture
def assembly(tmp_path, genome):
    return ingest(write_fasta(tmp_path / "toy.fa", genome, 60), tmp_path / "s")


@pytest.fixture
def masked(tmp_path):
    contigs = [(name, "", np.frombuffer(text, np.uint8)) for name, text in MASKED.items()]
    return ingest_arrays(contigs, tmp_path / "masked", assembly="m")


def test_fasta_is_the_source_again(tmp_path, assembly):
    source = (tmp_path / "toy.fa").read_bytes()
    export(assembly, tmp_path / "out.fa")
    assert (tmp_path / "out.fa").read_bytes() == source
    export(assembly, tmp_path / "out.fa.gz")
    assert gzip.decompress((tmp_path / "out.fa.gz").read_bytes()) == source
    assert (tmp_path / "out.fa.gz").read_bytes()[12:16] == b"BC\x02\x00"  # bgzip, not plain gzip
    export(assembly, tmp_path / "OUT.FA.GZ")
    assert (tmp_path / "OUT.FA.GZ").read_bytes() == (tmp_path / "out.fa.gz").read_bytes()


@pytest.mark.parametrize("width", [0, 1, 7, 60, 61, 10_000, 10_001, 20_000])
def test_lines_are_as_wide_as_asked(tmp_path, assembly, genome, width):
    export(assembly, tmp_path / "out.fa", width=width)
    text = (tmp_path / "out.fa").read_bytes()
    lines, longest = text.split(b"\n"), width or 10_001
    first = lines[1 : lines.index(b">chr2")]
    assert b"".join(first) == next(iter(genome.values())).tobytes()
    assert all(len(line) == longest for line in first[:-1])
    assert 1 <= len(first[-1]) <= longest
    assert text.endswith(b">e\n")


def test_standard_output(tmp_path, assembly, monkeypatch):
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", type("Stdout", (), {"buffer": taken}))
    export(assembly, "-")
    assert taken.getvalue() == (tmp_path / "toy.fa").read_bytes()


@pytest.mark.parametrize("block", [1 << 22, 8, 3 * 4])
def test_2bit_is_read_back_by_others(tmp_path, masked, monkeypatch, block):
    import py2bit
    import twobitreader

    monkeypatch.setattr(twobit_writer, "_BLOCK", block)
    export(masked, tmp_path / "out.2bit")
    want = {name: text.decode() for name, text in MASKED.items()}
    with (tmp_path / "out.2bit").open("rb") as file:
        assert {record.id: str(record.seq) for record in SeqIO.parse(file, "twobit")} == want
    other = twobitreader.TwoBitFile(str(tmp_path / "out.2bit"))
    assert {name: str(other[name]) for name in want} == want
    del want["empty"]  # py2bit refuses contigs without bases
    theirs = py2bit.open(str(tmp_path / "out.2bit"), True)
    assert {name: theirs.sequence(name) for name in want} == {
        # py2bit gives N in upper case whatever the mask says
        name: text.replace("n", "N")
        for name, text in want.items()
    }
    ours = {contig.name: b"".join(b.tobytes() for b in contig.blocks()) for contig in _contigs(tmp_path / "out.2bit")}
    assert ours == MASKED


def _contigs(path):
    return open_source(path).contigs()


def test_2bit_above_32_bits_has_version_1(tmp_path, masked, monkeypatch):
    monkeypatch.setattr(type(masked), "sizes", property(lambda self: {"a": 2**33 + 1}))
    export(masked, tmp_path / "long.2bit")
    assert struct.unpack("<4I", (tmp_path / "long.2bit").read_bytes()[:16])[1] == 1
    ours = {contig.name: b"".join(b.tobytes() for b in contig.blocks()) for contig in _contigs(tmp_path / "long.2bit")}
    assert ours == MASKED


def test_what_2bit_cannot_hold(tmp_path):
    contigs = [("a", "", np.frombuffer(b"ACGRT", np.uint8)), ("b", "", random_bases(4))]
    with pytest.raises(InputError, match=r"contig 'a', base 4: 'R'.*export FASTA"):
        export(ingest_arrays(contigs, tmp_path / "s", assembly="iupac"), tmp_path / "out.2bit")
    contigs = [("ä" * 128, "", np.frombuffer(b"ACGT", np.uint8))]
    with pytest.raises(InputError, match="255 bytes"):
        export(ingest_arrays(contigs, tmp_path / "s", assembly="long"), tmp_path / "out.2bit")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


@pytest.mark.parametrize("name", ["out.fa", "out.fa.gz", "out.2bit"])
def test_damage_leaves_the_old_file(tmp_path, masked, name):
    out = tmp_path / name
    out.write_bytes(b"old")
    flip_byte(tmp_path / "masked" / "m" / "sequence" / "c" / "0", 3)
    with pytest.raises(InputError, match="contig 'a', bases 1 to 23: damaged"):
        export(masked, out)
    assert out.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masked", name]


def test_a_disk_that_is_full(tmp_path, assembly, monkeypatch):
    def full(one, other):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"out\.fa: cannot be written: No space left"):
        export(assembly, tmp_path / "out.fa")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_places_that_cannot_be_written(tmp_path, assembly):
    with pytest.raises(InputError, match="cannot be written"):
        export(assembly, tmp_path / "nowhere" / "out.fa")
    with pytest.raises(InputError, match="cannot be written"):
        export(assembly, tmp_path)
    with pytest.raises(InputError, match="line width -1"):
        export(assembly, tmp_path / "out.fa", width=-1)


def test_a_device_is_not_replaced(assembly):
    export(assembly, "/dev/null")
    assert not os.path.isfile("/dev/null")


def test_real_files_come_back(real_data, tmp_path):
    import pysam

    for file in ("human/hg38.chr2_1-2333275.fa.gz", "other/celegans_pieces.ce.fa.gz", "twobit/sacCer2.2bit"):
        assembly = ingest(real_data / file, tmp_path / "s")
        export(assembly, tmp_path / "out.fa.gz")
        with pysam.FastxFile(str(tmp_path / "out.fa.gz")) as records:
            for record, contig in zip(records, assembly.contigs, strict=True):
                assert (record.name, record.comment or "") == (contig.name, contig.description)
        again = ingest(tmp_path / "out.fa.gz", tmp_path / "t", assembly="again", overwrite=True)
        assert [contig.refget for contig in again.contigs] == [contig.refget for contig in assembly.contigs]
        for mine, theirs in zip(open_source(real_data / file).contigs(), again.contigs, strict=True):
            assert again[theirs.name].tobytes() == b"".join(block.tobytes() for block in mine.blocks())
