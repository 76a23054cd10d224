"""Any file of sequences gives its records, in bounded memory; what is none is refused in one line."""

import gzip
import io
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twobit_writer import twobit_bytes

from dnamamba.errors import InputError
from dnamamba.pipelines import compression
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.sequence_files import RandomAccess, open_sequences

FASTQ = "@r1 first read\nACGTN\n+\n!!@@+\n@r2\nacg\n+r2\n@+@\n"
FASTQ_RECORDS = [("r1", "first read", b"ACGTN"), ("r2", "", b"acg")]


def _records(path, **options):
    return [
        (one.name, one.description, b"".join(block.tobytes() for block in one.blocks()))
        for one in open_sequences(path, **options).contigs()
    ]


@pytest.fixture
def write(tmp_path):
    def write(data, name="in.txt"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


ACCEPTED = {
    "FASTQ": (FASTQ, FASTQ_RECORDS),
    "CR LF": (FASTQ.replace("\n", "\r\n"), FASTQ_RECORDS),
    "no final newline": (FASTQ[:-1], FASTQ_RECORDS),
    "letters on several lines": ("@a\nAC\nGT\nA\n+\n@@\n@@@\n@b\nC\n+\n+\n", [("a", "", b"ACGTA"), ("b", "", b"C")]),
    "blank lines between records": ("\n@a\nAC\n+\n!!\n\n\n@b\nC\n+\n!\n\n", [("a", "", b"AC"), ("b", "", b"C")]),
    "a read without bases": ("@a\n\n+\n\n@b\nA\n+\n!\n@c\n\n+\n", [("a", "", b""), ("b", "", b"A"), ("c", "", b"")]),
    "a tab after the name": ("@a\tx y\nA\n+\n!\n", [("a", "x y", b"A")]),
    "names that come again": ("@a\nA\n+\n!\n@a\nC\n+\n!\n", [("a", "", b"A"), ("a", "", b"C")]),
    "FASTA": (">a b\nAC\nGT\n>a\nA\n", [("a", "b", b"ACGT"), ("a", "", b"A")]),
}


@pytest.mark.parametrize("chunk", [1, 3, 2**20])
@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case, chunk, write, monkeypatch):
    text, want = ACCEPTED[case]
    monkeypatch.setattr(compression, "CHUNK", chunk)
    assert _records(write(text)) == want
    assert _records(write(gzip.compress(text.encode()), "in.fa")) == want  # the name says nothing


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(FASTQ.encode())))
    assert _records("-") == FASTQ_RECORDS


def test_fastq_agrees_with_pysam(write):
    rng = np.random.default_rng(0)
    text = ""
    for number in range(300):
        length = int(rng.integers(1, 400))
        letters = "".join(rng.choice(list("ACGTN"), length))
        quality = "".join(chr(33 + q) for q in rng.integers(0, 60, length))
        width = int(rng.integers(1, length + 1)) if number % 3 == 0 else length
        wrap = [[part[i : i + width] for i in range(0, length, width)] for part in (letters, quality)]
        text += f"@r{number} x y\n" + "\n".join(wrap[0]) + "\n+\n" + "\n".join(wrap[1]) + "\n"
    path = write(text)
    with pysam.FastxFile(str(path)) as theirs:
        want = [(one.name, one.comment, one.sequence.encode()) for one in theirs]
    assert _records(path) == want


REFUSED = {
    "empty": ("", "is empty; a FASTA, FASTQ or 2bit file or a genome store is wanted"),
    "empty gzip": (gzip.compress(b""), "holds nothing but an empty gzip member"),
    "blank": ("\n \n", "holds no sequence"),
    "no header": ("ACGT\n", "the first line starts with 'ACGT'; FASTA starts with"),
    "binary": (bytes(range(256)), "the first line starts with the bytes 00 01"),
    "BAM": (b"BAM\x01xxxx", "holds a BAM file; convert it with samtools fasta"),
    "SAM": ("@HD\tVN:1.6\n", "holds a SAM file"),
    "protein": (">a\nACGT\n>p\nMKTAYIAKQRQISFVKSHFSRQLEERL\n", "contig 'p': base .* looks like protein"),
    "digits": (">a\nAC1\n", "contig 'a': base 3: found '1', not a DNA letter"),
    "FASTQ cut in its letters": ("@a\nAC\n+\n!!\n@b\nACG", r"record 2 'b': the file ends before its line of '\+'"),
    "FASTQ cut in its qualities": (
        "@a\nACG\n+\n!",
        "record 1 'a': the file ends before 2 of its qualities: it is trunc",
    ),
    "FASTQ cut after its header": ("@a\n", "record 1 'a': the file ends before its letters"),
    "too many qualities": ("@a\nACG\n+\n!!!!\n", "record 1 'a': 3 letters and 4 qualities; want as many"),
    "no FASTQ header": ("@a\nA\n+\n!\nb\nA\n+\n!\n", "record 2: line 5 starts with 'b'; the header of a FASTQ record"),
    "FASTA after FASTQ": ("@a\nA\n+\n!\n>b\nA\n", "record 2: line 5 starts with '>b'"),
    "gap in FASTQ": ("@a\nA-\n+\n!!\n", "record 1 'a': base 2: found '-', an alignment gap; --gaps drop"),
    "RNA in FASTQ": ("@a\nAU\n+\n!!\n", "base 2: found 'U', an RNA letter; --rna"),
    "cut gzip": (gzip.compress(FASTQ.encode() * 99)[:-30], "the gzip data end at byte .* truncated"),
    "gzip that is none": (b"\x1f\x8b\x08\x00rubbish" * 9, "damaged|truncated"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_that_names_the_file(case, write):
    data, message = REFUSED[case]
    path = write(data)
    with pytest.raises(InputError, match=message) as refusal:
        _records(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(
    st.one_of(st.binary(max_size=60), st.text("@+>ACGTN!\n\r ;-1", max_size=60).map(str.encode)),
    st.sampled_from([b"", b"@", b"@r\nAC\n+\n!!\n", b">a\nAC\n"]),
)
def test_whatever_comes_is_read_or_refused_in_one_line(data, start):
    stream, refusal = SimpleNamespace(buffer=io.BytesIO(start + data)), "standard input: "
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stream)
        try:
            for name, _, letters in _records("-"):
                assert "\n" not in name
                assert not letters.translate(None, b"ACGTNRYSWKMBDHVacgtnryswkmbdhv")
        except InputError as error:
            refusal = str(error)
    assert "\n" not in refusal
    assert refusal.startswith("standard input: ")


def test_a_folder_or_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="no genome store here"):
        open_sequences(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_sequences(tmp_path / "none.fa")


def test_what_stands_before_an_error_is_given(write):
    records = open_sequences(write("@a\nAC\n+\n!!\n@b\nA!\n+\n!!\n")).contigs()
    assert next(records).name == "a"
    with pytest.raises(InputError, match="record 2 'b': base 2"):
        next(records)


@pytest.mark.parametrize("form", ["fasta", "fastq"])
def test_unknown_letters_are_counted_or_refused(form, write):
    letters = "ACXGT?*NRA" * 3
    text = f">a\n{letters}\n>b\nAC\n" if form == "fasta" else f"@a\n{letters}\n+\n{letters}\n@b\nAC\n+\n!!\n"
    path, counts = write(text), []
    for one in open_sequences(path).contigs():
        content = b"".join(block.tobytes() for block in one.blocks())
        counts.append((content, one.unknown))
    assert counts == [(b"ACNGTNNNRA" * 3, 9), (b"AC", 0)]
    with pytest.raises(InputError, match="base 3: found 'X', not a DNA letter; --unknown N"):
        _records(path, unknown="error")


def test_gaps_and_rna(write):
    assert _records(write(">a\nA-C..G\n"), gaps="drop") == [("a", "", b"ACG")]
    assert _records(write("@a\nAUu\n+\n!!!\n"), rna=True) == [("a", "", b"ATt")]


def test_twobit_and_store(tmp_path, write):
    fasta = write(">a\nACGTNNacgt\n>b x\nCCC\n", "two.fa")
    want = [("a", b"ACGTNNacgt"), ("b", b"CCC")]
    ingest(fasta, tmp_path / "s.zarr", assembly="one")
    twobit = tmp_path / "x.fa"
    twobit.write_bytes(twobit_bytes(want))
    for path in (twobit, tmp_path / "s.zarr"):
        contigs = list(open_sequences(path).contigs())
        assert [(one.name, one.length, one.unknown) for one in contigs] == [("a", 10, 0), ("b", 3, 0)]
        assert [b"".join(block.tobytes() for block in one.blocks()) for one in contigs] == [one for _, one in want]
        assert isinstance(contigs[0], RandomAccess)
        assert contigs[0].read(2, 7).tobytes() == b"GTNNa"
    ingest(fasta, tmp_path / "s.zarr", assembly="other")
    names = [one.name for one in open_sequences(tmp_path / "s.zarr").contigs()]
    assert names == ["one:a", "one:b", "other:a", "other:b"]


def test_twobit_from_a_pipe_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\x43\x27\x41\x1a" + bytes(12))))
    with pytest.raises(InputError, match="standard input: holds 2bit data, which cannot be read from a pipe"):
        open_sequences("-")


@pytest.mark.parametrize("form", ["one contig", "many reads"])
def test_memory_is_bounded(form, write):
    size = 30_000_000
    if form == "one contig":
        path = write(b">a\n" + (b"ACGTACGTAC" * 6 + b"\n") * (size // 60))
    else:
        path = write((b"@r\n" + b"ACGTACGTAC" * 15 + b"\n+\n" + b"I" * 150 + b"\n") * (size // 300))
    tracemalloc.start()
    bases = sum(len(block) for one in open_sequences(path).contigs() for block in one.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bases == (size if form == "one contig" else size // 2)
    assert peak < 12_000_000


def test_the_aligned_apes_without_their_gaps(real_data):
    path = real_data / "nuclear" / "great_apes.noncoding_aligned.fa"
    with pytest.raises(InputError, match="contig 'Homo_sapiens': base 1: found '-', an alignment gap; --gaps drop"):
        _records(path)
    with pysam.FastxFile(str(path)) as theirs:
        aligned = {one.name: one.sequence for one in theirs}
    found = {name: letters.decode() for name, _, letters in _records(path, gaps="drop")}
    assert found == {name: letters.replace("-", "") for name, letters in aligned.items()}
    assert sum(map(len, aligned.values())) - sum(map(len, found.values())) == 15_586


def test_names_that_come_again_in_real_files(real_data):
    assert len(_records(real_data / "nuclear" / "chimp.ENm001.panTro1.fa.gz")) == 2
    chromosomes = _records(real_data / "fasta_edge" / "picard.duplicate_sequence_names.fasta")
    assert [name for name, _, _ in chromosomes[:2]] == ["chr1", "chr1"]
    for one in open_sequences(real_data / "fasta_edge" / "gatk.problematicFASTA.fasta").contigs():
        assert sum(len(block) for block in one.blocks()) == 100_000
        assert one.unknown == 1
