"""FASTA: any layout gives the same records, bounded memory, and one clear sentence for what is no FASTA."""

import gzip
import io
import itertools
import os
import re
import sys
import threading
import time
import tracemalloc
from types import SimpleNamespace

import pytest
from fasta_cases import read, writer

from dnamamba.errors import InputError
from dnamamba.pipelines import compression
from dnamamba.pipelines.fasta import MAX_HEADER
from dnamamba.pipelines.sources import open_source

PROTEIN = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"


@pytest.fixture
def write(tmp_path):
    return writer(tmp_path)


ACCEPTED = {
    "plain": (">a\nACGT\n", [("a", "", b"ACGT")]),
    "case and IUPAC are kept": (">a\nacgtnNRYSWKMBDHV\n", [("a", "", b"acgtnNRYSWKMBDHV")]),
    "description": (">a  b c \nA\n", [("a", "b c", b"A")]),
    "tab after the name": (">a\tb c\nA\n", [("a", "b c", b"A")]),
    "CR LF": (">a b\r\nAC\r\nGT\r\n>c\r\nA\r\n", [("a", "b", b"ACGT"), ("c", "", b"A")]),
    "lone CR": (">a b\rAC\rGT\r>c\rA\r", [("a", "b", b"ACGT"), ("c", "", b"A")]),
    "mixed line ends": (">a\r\nAC\nGT\rA\n\r\n>c\rA", [("a", "", b"ACGTA"), ("c", "", b"A")]),
    "blank lines": ("\n\n>a\n\nAC\n\n\nGT\n\n>b\nA\n\n", [("a", "", b"ACGT"), ("b", "", b"A")]),
    "trailing and inner blanks": (">a\n AC G\tT \n A\n", [("a", "", b"ACGTA")]),
    "no final newline": (">a\nAC", [("a", "", b"AC")]),
    "comments": (";one\n>a\n;two > three\nAC\n;\nGT\n;end", [("a", "", b"ACGT")]),
    "blank before the name": ("> a x\nAC\n", [("a", "x", b"AC")]),
    "contigs without bases": (">a\n>b\nA\n>c\n\n>d", [("a", "", b""), ("b", "", b"A"), ("c", "", b""), ("d", "", b"")]),
    "uneven lines": (">a\nA\nCGTA\nCC\n", [("a", "", b"ACGTACC")]),
    "byte order mark": ("\ufeff>a\nA\n", [("a", "", b"A")]),
    "greater-than in a header": (">a >b ;c\nA\n", [("a", ">b ;c", b"A")]),
    "odd names": (">HLA-A*01:01|x;y\nA\n>é\nC\n", [("HLA-A*01:01|x;y", "", b"A"), ("é", "", b"C")]),
    "names that differ in case": (">a\nA\n>A\nC\n", [("a", "", b"A"), ("A", "", b"C")]),
}


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 2**20])
@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case, chunk, write, monkeypatch):
    text, want = ACCEPTED[case]
    if case == "byte order mark" and chunk < 3:
        pytest.skip("a byte order mark needs a chunk of three bytes")
    monkeypatch.setattr(compression, "CHUNK", chunk)
    assert read(write(text)) == want
    assert read(write(gzip.compress(text.encode()), "in.2bit")) == want  # the name says nothing


REFUSED = {
    "empty": ("", r"in.fa: is empty; a FASTA or 2bit file is wanted$"),
    "blank": (" \n\n", r"in.fa: holds no sequence"),
    "comments only": (";a\n;b\n", r"in.fa: holds no sequence"),
    "no header": ("ACGT\n", r"in.fa: the first line starts with 'ACGT'; FASTA starts with '>'.*put '>name'"),
    "text first": ("\n hello\n>a\nA\n", r"the first line starts with 'hello'"),
    "binary": ("\x7fELF\x02\x01", r"the first line starts with the bytes 7f 45 4c 46 02 01"),
    "blank before >": (" >a\nA\n", r"the first line starts with '>a'"),
    "no name": (">\nA\n", r"in.fa: record 1: the header has no name: '>' is followed by nothing"),
    "blank name": (">a\nA\n>  \t\nA\n", r"in.fa: record 2: the header has no name"),
    "duplicate": (">a\nA\n>b\nA\n>a\nA\n", r"contig 'a': the name of record 3 is that of record 1 too; rename one$"),
    "first words": (">a x\nA\n>a y\nA\n", r"contig 'a': the name of record 2 is that of record 1 too; --names full"),
    "control character": (">a\x07b\nA\n", r"record 1: the name holds control characters: the bytes 61 07 62"),
    "Latin-1 header": (b">caf\xe9\nA\n", r"record 1: the header is not UTF-8: 'caf'; convert the file"),
    "gap": (">a\nACG\nT-A\n", r"contig 'a': base 5: found '-', an alignment gap; --gaps drop leaves gaps out$"),
    "dot": (">a\nACG\n>b\nA.\n", r"contig 'b': base 2: found '\.', an alignment gap"),
    "X": (">a\nAC\n GTx\n", r"contig 'a': base 5: found 'x', not a DNA letter; --unknown N reads it as N$"),
    "star": (">a\nACGT*\n", r"contig 'a': base 5: found '\*', not a DNA letter; --unknown N"),
    "U": (">a\nACGu\n", r"contig 'a': base 4: found 'u', an RNA letter; --rna reads U as T$"),
    "digit": (">a\n1 ACGT\n", r"contig 'a': base 1: found '1', not a DNA letter; correct or remove it$"),
    "NUL": (">a\nAC\0", r"contig 'a': base 3: found byte 0x00, not a DNA letter; correct"),
    "not ASCII": (b">a\nAC\xc3\xa9", r"contig 'a': base 3: found byte 0xc3"),
    "header inside a line": (
        ">a\nAC>b\nA\n",
        r"contig 'a': base 3: found '>' inside a line; a header's '>' is the first",
    ),
    "semicolon inside a line": (">a\nAC;x\n", r"contig 'a': base 3: found ';', not a DNA letter; correct"),
    "protein": (f">p\n{PROTEIN}\n", r"contig 'p': base 6: found 'I'; this looks like protein, and a DNA"),
    "FASTQ": ("@r\nACGT\n+\nIIII\n", r"in.fa: holds FASTQ; convert it to FASTA"),
    "bzip2": (b"BZh91AY&SY", r"holds bzip2 data; decompress with bunzip2 first"),
    "xz": (b"\xfd7zXZ\x00\x00", r"holds xz data; decompress with unxz first"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00", r"holds zstd data; decompress with zstd -d first"),
    "zip": (b"PK\x03\x04\x00", r"holds a zip archive; unzip it first"),
    "tar": (b"a.fa".ljust(257, b"\0") + b"ustar\x0000", r"holds a tar archive"),
    "HTML": ("<!DOCTYPE html><title>404</title>", r"holds HTML or XML; the download may have failed"),
    "VCF": ("##fileformat=VCFv4.2\n", r"holds a VCF file"),
    "UTF-16": (">a\nA\n".encode("utf-16"), r"holds UTF-16 text; save it as plain text"),
    "gzip in gzip": (gzip.compress(gzip.compress(b">a\nA\n")), r"holds gzip data; decompress with gunzip first"),
    "2bit in gzip": (
        gzip.compress(bytes.fromhex("4327411a") + bytes(12)),
        r"holds 2bit data; give the 2bit file itself",
    ),
    "empty in gzip": (gzip.compress(b""), r"in.fa: is empty"),
    "BAM": (gzip.compress(b"BAM\x01"), r"holds a BAM file; convert it with samtools fasta"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, write):
    text, message = REFUSED[case]
    path = write(text)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(path + ": ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("case", [case for case, (_, message) in REFUSED.items() if "base" in message])
def test_positions_do_not_depend_on_chunks(case, chunk, write, monkeypatch):
    text, message = REFUSED[case]
    monkeypatch.setattr(compression, "CHUNK", chunk)
    # What looks like protein needs some text to look at; the place does not.
    with pytest.raises(InputError, match=re.match(r".*?base \d+: found [^,;]*", message.replace(r"\.", "."))[0]):
        read(write(text))


def test_gaps_unknown_and_rna_on_demand(write):
    path = write(">a\nAC-G.x*\n?Uu\n")
    assert read(path, gaps="drop", unknown="N", rna=True) == [("a", "", b"ACGnNNTt")]
    with pytest.raises(InputError, match=r"base 6: found 'x'"):  # counted as the file has them, gaps too
        read(path, gaps="drop")
    with pytest.raises(InputError, match=r"base 3: found '-', an alignment gap"):
        read(path, unknown="N", rna=True)
    with pytest.raises(InputError, match=r"base 9: found 'U', an RNA letter"):
        read(path, unknown="N", gaps="drop")


def test_dropped_gaps_count_in_positions_over_chunks(write, monkeypatch):
    monkeypatch.setattr(compression, "CHUNK", 1)
    with pytest.raises(InputError, match=r"base 6: found 'x'"):
        read(write(">a\nAC-G.x\n"), gaps="drop")


def test_protein_is_refused_also_when_unknown_letters_become_n(write):
    with pytest.raises(InputError, match=r"contig 'p': base 6: found 'I'; this looks like protein"):
        read(write(f">p\n{PROTEIN}\n"), unknown="N")
    assert read(write(f">p\n{'X' * 50}ACGT\n"), unknown="N")[0][2] == b"N" * 50 + b"ACGT"  # a masked read


def test_full_names(write):
    path = write(">a x\nA\n>a y z\nC\n")
    assert read(path, names="full") == [("a x", "", b"A"), ("a y z", "", b"C")]
    with pytest.raises(InputError, match=r"contig 'a x': the name of record 2 is that of record 1 too; rename one"):
        read(write(">a x\nA\n>a x\nA\n"), names="full")


def test_wrong_options_are_named(write):
    path = write(">a\nA\n")
    for option in ("names", "gaps", "unknown"):
        with pytest.raises(ValueError, match=f"{option} must be .*, got \"?'no'\"?"):
            open_source(path, **{option: "no"})


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_header_without_end_is_not_read_whole(gzipped, write):
    header = b">" + b"x" * (50 * MAX_HEADER)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"record 1: the header line is longer than 65,536 bytes: '>xxx.*'\.\.\."):
            read(write(gzip.compress(header) if gzipped else header))
        assert tracemalloc.get_traced_memory()[1] < 2 * len(header) + 2**22
    finally:
        tracemalloc.stop()


class _Endless(io.RawIOBase):
    """A header and then one line that never ends, up to a limit."""

    def __init__(self, head: bytes, letter: bytes, size: int) -> None:
        self._parts = itertools.chain([head], itertools.repeat((letter * 65_536)[:65_536], size // 65_536))
        self.given = 0

    def read1(self, size: int) -> bytes:
        part = next(self._parts, b"")
        self.given += len(part)
        return part


def test_memory_is_bounded_on_one_line_of_a_quarter_gigabase(monkeypatch):
    stream = _Endless(b">a\n", b"ACGT", 2**28)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    tracemalloc.start()
    try:
        for contig in open_source("-").contigs():
            assert sum(len(block) for block in contig.blocks()) == 2**28
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_gigabyte_of_header_is_refused_after_its_start(monkeypatch):
    stream = _Endless(b">", b"x", 2**30)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    with pytest.raises(InputError, match=r"^standard input: record 1: the header line is longer than 65,536 bytes"):
        read("-")
    assert stream.given < 2**20


def test_contigs_that_are_left_are_still_checked(write):
    contigs = open_source(write(">a\nACGT\n>b\nA!\n>c\nA\n")).contigs()
    assert [next(contigs).name, next(contigs).name] == ["a", "b"]
    with pytest.raises(InputError, match=r"contig 'b': base 2: found '!'"):
        next(contigs)


def test_blocks_are_read_once_and_in_order(write):
    contigs = open_source(write(">a\nACGT\n>b\nA\n")).contigs()
    first = next(contigs)
    list(first.blocks())
    with pytest.raises(RuntimeError, match="read blocks"):
        first.blocks()
    second = next(contigs)
    list(contigs)
    with pytest.raises(RuntimeError, match="a FASTA stream has passed it"):
        second.blocks()


@pytest.mark.timeout(20)
def test_a_file_is_read_twice_a_pipe_once(write, tmp_path, monkeypatch):
    source = open_source(write(">a\nACGT\n"))
    assert source.format == "fasta"
    assert [c.name for c in source.contigs()] == [c.name for c in source.contigs()] == ["a"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b">a\nACGT\n")))
    source = open_source("-")
    assert [c.length for c in source.contigs()] == [None]
    with pytest.raises(InputError, match="standard input: is a pipe and can be read only once"):
        list(source.contigs())
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    thread = threading.Thread(target=fifo.write_bytes, args=(gzip.compress(b">a\nACGT\n"),))
    thread.start()
    assert read(fifo) == [("a", "", b"ACGT")]
    thread.join()


def test_files_that_cannot_be_opened(tmp_path, write, monkeypatch):
    with pytest.raises(InputError, match=r"none\.fa: no such file$"):
        open_source(tmp_path / "none.fa")
    with pytest.raises(InputError, match=r": is a folder; give a FASTA or 2bit file$"):
        open_source(tmp_path)
    path = write(">a\nA\n")

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(InputError, match=r"in\.fa: cannot be opened: Permission denied$"):
        open_source(path)


def test_an_error_of_the_disk_is_one_line(monkeypatch):
    class Failing(_Endless):
        def read1(self, size):
            if self.given:
                raise OSError(5, "Input/output error")
            return super().read1(size)

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Failing(b">a\n" + b"A" * 1000, b"", 0)))
    with pytest.raises(InputError, match=r"^standard input: reading failed after byte 1,003: Input/output error$"):
        read("-")


@pytest.mark.parametrize("lines", [";\n" * 100_000, ";\r" * 100_000, "".join(f"A\n>{i}\n" for i in range(60_000))])
def test_many_short_lines_do_not_take_quadratic_time(lines, write, monkeypatch):
    # Under a second; a minute with a search to the end of the chunk for each line.
    monkeypatch.setattr(compression, "CHUNK", 2**26)
    path = write(">a\n" + lines + "A" * 2**25)
    start = time.monotonic()
    read(path)
    assert time.monotonic() - start < 20


def test_a_long_name_is_not_repeated_in_full(write):
    with pytest.raises(InputError, match=r"contig 'x{40}'\.\.\.: base 1: found '!'") as caught:
        read(write(b">" + b"x" * 60_000 + b"\n!\n"))
    assert len(str(caught.value)) < 500
