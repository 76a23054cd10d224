"""Variant files: records and bytes as pysam sees them, whatever the packing; one line about what is wrong."""

import gzip
import io
import sys
from itertools import islice, pairwise

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamamba.errors import InputError
from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.regions import Region
from dnamamba.pipelines.variant_choice import VariantChoice, choose_regions, merge, wanted_records
from dnamamba.pipelines.variant_files import VariantFile

HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=1000>\n##contig=<length=50,ID=chr2>\n"
    '##INFO=<ID=AF,Number=A,Type=Float,Description="x, with ID=no">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\n"
)
RECORDS = (
    "chr1\t10\trs1\tA\tG,T\t.\tPASS\tAF=0.5,0.1\tGT\t0|1\n"
    "chr2\t3\t.\tAC\tA\t30\t.\t.\tGT\t1/1\n"
    "chr1\t7\t.\tA\t.\t.\t.\t.\tGT\t.\n"
    "chr1\t9\t.\tA\t<DEL>,*\t.\t.\t.\tGT\t.\n"
)
ALLELES = [("chr1", 10, "rs1", "A", ("G", "T")), ("chr2", 3, ".", "AC", ("A",)), ("chr1", 7, ".", "A", ())]


def _read(path):
    with VariantFile(path) as file:
        return [(r.chrom, r.pos, r.id, r.ref, r.alts) for r in file.records()]


def _packed(text: str, kind: str) -> bytes:
    data = text.encode()
    if kind == "gzip":
        return gzip.compress(data[:300]) + gzip.compress(data[300:])
    if kind == "bgzip":
        file = io.BytesIO()
        with BgzipWriter(file) as packed:
            packed.write(data)
        return file.getvalue()
    return data.replace(b"\n", b"\r\n") if kind == "crlf" else data


@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzip", "crlf"])
@pytest.mark.parametrize("stdin", [False, True])
def test_every_packing_under_any_name(tmp_path, monkeypatch, kind, stdin):
    path = tmp_path / "named.txt"
    path.write_bytes(_packed(HEADER + RECORDS, kind))
    if stdin:
        with open(path, "rb") as handle:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(handle))
            assert _read("-")[:3] == ALLELES
            return
    assert _read(path)[:3] == ALLELES
    with VariantFile(path) as file:
        assert (file.samples, file.form) == (["S1"], "vcf")
        lines = "\n".join([line.decode() for line in file.header] + [r.line.decode() for r in file.records()]) + "\n"
    assert lines == HEADER + RECORDS


@pytest.mark.parametrize("stdin", [False, True])
def test_bcf(tmp_path, monkeypatch, stdin):
    (tmp_path / "x.vcf").write_text(HEADER + RECORDS)
    with (
        pysam.VariantFile(str(tmp_path / "x.vcf")) as source,
        pysam.VariantFile(str(tmp_path / "x.bcf"), "wb", header=source.header) as out,
    ):
        for record in islice(source, 3):  # pysam writes a <DEL> that it cannot read
            out.write(record)
    path = tmp_path / "x.bcf"
    if stdin:
        with open(path, "rb") as handle:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(handle))
            assert _read("-")[:3] == ALLELES
    else:
        assert _read(path)[:3] == ALLELES
        data = path.read_bytes()
        path.write_bytes(data[: len(data) - 60])
        with pytest.raises(InputError, match=r"x\.bcf, after record \d+: "):
            _read(path)


def test_a_table():
    assert _table("chrom\tpos\tid\tref\talt\nchr1\t10\trs1\tA\tG,T\nchr2\t3\t\tAC\tA\n") == ALLELES[:2]
    assert _table("#ALT\tREF\tscore\tpos\tchrom\nG,T\tA\t1\t10\tchr1\n") == [("chr1", 10, ".", "A", ("G", "T"))]


def _table(text):
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        with VariantFile(file.name) as table:
            assert table.form == "tsv"
            assert table.header == []
        return _read(file.name)


WRONG = {
    "": "is empty; want a VCF, BCF or TSV",
    "hello\tworld\n": "begins with 'hello.*want VCF",
    ">chr1\nACGT\n": "begins with '>chr1'",
    "%PDF-1.4": "is a PDF; want VCF",
    "##fileformat=VCFv4.2\n": "the header has no #CHROM line",
    "##fileformat=VCFv4.2\nchr1\t1\t.\tA\tC\n": "the header has no #CHROM line",
    "##fileformat=VCFv4.2\n#CHROM\tPOS\tREF\n": "want the columns #CHROM POS ID REF",
    HEADER + "chr1\t10\trs1\tA\tG\t.\t.\t.\tGT\t0\nchr1\t11\trs1\tA\n": "record 2: 4 columns where the header has 10",
    HEADER + "chr1\t-1\trs1\tA\tG\t.\t.\t.\tGT\t0\n": "record 1: want a position .* got '-1'",
    HEADER + "chr1\t" + "9" * 30 + "\trs1\tA\tG\t.\t.\t.\tGT\t0\n": "record 1: want a position",
    HEADER + "chr1\t1\trs1\t\tG\t.\t.\t.\tGT\t0\n": "record 1: ref is empty",
    HEADER + "chr1\t1\trs1\tA\tG,\t.\t.\t.\tGT\t0\n": "record 1: an ALT allele is empty in 'G,'",
    "chrom\tpos\tref\talt\nchr1\t1\tA\n": "record 1: 3 columns where the header has 4",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_one_line(tmp_path, text):
    path = tmp_path / "bad.vcf"
    path.write_text(text)
    with pytest.raises(InputError, match=WRONG[text]) as caught:
        _read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["gzip", "bgzip"])
def test_cut_anywhere_is_never_taken_for_whole(tmp_path, kind):
    path, whole = tmp_path / "cut.vcf.gz", _packed(HEADER + RECORDS * 50, kind)
    for end in range(1, len(whole), 37):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"cut\.vcf\.gz"):
            _read(path)


@given(st.binary(max_size=200))
def test_any_bytes_after_a_header_are_records_or_an_input_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "x.vcf"
    path.write_bytes(HEADER.encode() + data)
    try:
        records = _read(path)
    except InputError:
        return
    assert len(records) <= data.count(b"\n") + 1


def test_real_files_as_pysam_reads_them(real_data):
    paths = [path for path in sorted((real_data / "vcf").glob("*.vcf*")) if path.suffix != ".tbi"]
    assert paths
    for path in paths:
        verbosity = pysam.set_verbosity(0)
        with pysam.VariantFile(str(path)) as file:
            theirs = [(r.chrom, r.pos, r.id or ".", r.ref, r.alts or ()) for r in file]
        pysam.set_verbosity(verbosity)
        assert _read(path) == theirs, path.name


# Which records are wanted

SIZES = {"chr1": 1000, "chr2": 50, "chrUn_1": 9}


def _resolve(name):
    return name if name in SIZES else f"chr{name}" if f"chr{name}" in SIZES else None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=6))
def test_choice_is_the_plain_one(pairs):
    regions = [Region("chr1", start, start + length) for start, length in pairs]
    choice = VariantChoice(_resolve, regions, ())
    for pos in range(45):
        assert choice("1", pos) == any(r.start <= pos - 1 < r.end for r in regions)
    assert all(a[1] < b[0] for i in merge(regions).values() for a, b in pairwise(i))


@given(st.lists(st.tuples(st.sampled_from(["chr1", "chr2"]), st.integers(0, 60), st.integers(1, 30)), max_size=5))
def test_an_index_gives_what_reading_through_gives(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("indexed") / "x.vcf.gz"
    rows = [f"{name}\t{pos}\tr\u00e9\t{'ACGTA' * 3}\tA\t.\t.\t.\tGT\t0\n" for name in "12" for pos in range(1, 80, 3)]
    with path.open("wb") as file, BgzipWriter(file) as packed:
        packed.write((HEADER + "".join(rows)).encode())
    choice = VariantChoice(_resolve, [Region(name, a, a + b) for name, a, b in pairs], ("chrUn*",))
    with VariantFile(path) as file:
        assert file.index() is None
        through = [(r.chrom, r.pos, r.line) for r in wanted_records(file, choice)]
    assert len(through) == sum(choice(name, pos) for name in "12" for pos in range(1, 80, 3))
    pysam.tabix_index(str(path), preset="vcf", force=True)
    with VariantFile(path) as file:
        assert file.index() == ["1", "2"]
        assert [(r.chrom, r.pos, r.line) for r in wanted_records(file, choice)] == through
    (path.parent / "x.vcf.gz.tbi").write_bytes(b"no index")
    with VariantFile(path) as file, pytest.raises(InputError, match=r"x\.vcf\.gz\.tbi: .* cannot be read by it"):
        list(wanted_records(file, choice))


def test_regions_bed_and_excluded_contigs(tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("# c\ntrack x\n2\t0\t10\tname\n")
    regions = choose_regions(["1:11-20"], str(bed), SIZES, _resolve)
    assert regions == [Region("chr1", 10, 20), Region("chr2", 0, 10)]
    assert choose_regions([], None, SIZES, _resolve) is None
    choice = VariantChoice(_resolve, regions, ("chr2",))
    assert [choice(c, p) for c, p in (("chr1", 10), ("chr1", 11), ("1", 20), ("1", 21), ("2", 5), ("z", 1))] == [
        False, True, True, False, False, False,
    ]  # fmt: skip
    everything = VariantChoice(_resolve, None, ("chrUn*", "@sex"))
    assert [everything(c, 1) for c in ("z", "1", "chrUn_1", "chrX")] == [True, True, False, False]
    with pytest.raises(InputError, match="--exclude @foo: no such class"):
        VariantChoice(_resolve, None, ("@foo",))
    for text, match in (
        ("9\t0\t1\n", "no contig '9'"),
        ("1\t5\t5\n", "start < end"),
        ("1\tx\t5\n", "want contig, start"),
    ):
        bed.write_text(text)
        with pytest.raises(InputError, match=f"r.bed, line 1: .*{match}"):
            choose_regions([], str(bed), SIZES, _resolve)
