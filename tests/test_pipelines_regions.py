"""Region syntax: the forms samtools reads, names with colons, and what is refused."""

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamamba.errors import InputError
from dnamamba.pipelines.regions import Region, parse_region

SIZES = {"chr1": 5000, "chr2": 10, "HLA-A*01:01:01:01": 300, "empty": 0}


@pytest.mark.parametrize(
    "text, want",
    [
        ("chr1", Region("chr1", 0, 5000)),
        ("chr1:1,001-2,000", Region("chr1", 1000, 2000)),
        ("chr1:1001-2000", Region("chr1", 1000, 2000)),
        ("chr1:1-1", Region("chr1", 0, 1)),
        ("chr1:5000-5000", Region("chr1", 4999, 5000)),
        ("chr1:4001", Region("chr1", 4000, 5000)),
        ("chr1:4001-", Region("chr1", 4000, 5000)),
        ("chr1:-5", Region("chr1", 0, 5)),
        ("HLA-A*01:01:01:01", Region("HLA-A*01:01:01:01", 0, 300)),
        ("HLA-A*01:01:01:01:2-3", Region("HLA-A*01:01:01:01", 1, 3)),
        ("{chr1}", Region("chr1", 0, 5000)),
        ("{HLA-A*01:01:01:01}:2-3", Region("HLA-A*01:01:01:01", 1, 3)),
        ("empty", Region("empty", 0, 0)),
    ],
)
def test_reads_what_samtools_reads(text, want):
    assert parse_region(text, SIZES) == want
    assert len(parse_region(text, SIZES)) == want.end - want.start


@pytest.mark.parametrize(
    "text, message",
    [
        ("chr3", r"region 'chr3': want contig:start-end, the contig in this genome; is 'chr[12]' meant\?"),
        ("chrx:1-2", r"is 'chr[12]' meant\?"),
        ("nothing like it", r"the contig in this genome$"),
        ("", r"the contig in this genome$"),
        ("chr1:0-5", r"region 'chr1:0-5': want 1 <= start <= end <= 5,000"),
        ("chr1:6-5", r"want 1 <= start <= end <= 5,000"),
        ("chr1:1-5001", r"want 1 <= start <= end <= 5,000"),
        ("empty:1-1", r"want 1 <= start <= end <= 0"),
        ("chr1:", r"a start or an end after the colon"),
        ("chr1:-", r"a start or an end after the colon"),
        ("chr1:1,00-200", r"'1,00' is no position"),
        ("chr1:,-5", r"',' is no position"),
        ("chr1:1-5x", r"the contig in this genome"),
        ("chr1:1--5", r"the contig in this genome"),
        ("chr1:" + "9" * 5000, r"is no position"),
        ("chr1:1-٣", r"want contig:start-end"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        parse_region(text, SIZES)


def test_a_name_that_is_also_a_region_must_be_settled_with_braces():
    sizes = {"a": 100, "a:1-10": 50}
    with pytest.raises(
        InputError, match=r"is a contig and also a region of contig 'a'; write \{a:1-10\} or \{a\}:1-10"
    ):
        parse_region("a:1-10", sizes)
    assert parse_region("{a:1-10}", sizes) == Region("a:1-10", 0, 50)
    assert parse_region("{a}:1-10", sizes) == Region("a", 0, 10)


@given(st.sampled_from(["chr1", "HLA-A*01:01:01:01"]), st.integers(0, 299), st.integers(1, 300))
def test_written_and_read_back(contig, start, length):
    region = Region(contig, start, min(start + length, 300))
    assert parse_region(str(region), SIZES) == region


def test_the_same_bases_as_pysam(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">chr1\n" + "ACGTTGCANN" * 30 + "\n")
    pysam.faidx(str(path))
    with pysam.FastaFile(str(path)) as fasta:
        whole = fasta.fetch("chr1")
        for text in ("chr1", "chr1:5-9", "chr1:1-300", "chr1:17-17"):
            region = parse_region(text, {"chr1": 300})
            assert whole[region.start : region.end] == fasta.fetch(region=text)
