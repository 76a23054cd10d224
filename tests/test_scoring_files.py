"""Scored files: every record kept in its order, declared fields, indexes; killed and gone on with; tables."""

import gzip
import io
import json
import multiprocessing
import os
import signal
import sys
import tracemalloc
from contextlib import suppress
from itertools import islice

import pyarrow.parquet as pq
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_scorer import ABOUT, REFERENCE, score_many, stub_score

from dnamamba import __version__
from dnamamba.errors import InputError
from dnamamba.pipelines.regions import Region
from dnamamba.pipelines.variant_choice import VariantChoice
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.files import score_file, score_table
from dnamamba.scoring.journal import Journal
from dnamamba.scoring.outputs import COLUMNS, output_format
from dnamamba.scoring.vcf_output import INFO_FIELDS, skip_code

FORK = multiprocessing.get_context("fork")
HEADER = (
    "##fileformat=VCFv4.2\n##source=caller\n##contig=<ID=1,length=10000>\n"
    '##INFO=<ID=AF,Number=A,Type=Float,Description="f">\n##INFO=<ID=DB,Number=0,Type=Flag,Description="d">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)
RECORDS = [
    "1\t10\trs1\tA\tG,T\t.\tPASS\tAF=0.00419329,1e-9;DB",
    "1\t20\t.\tAC\tA\t30.50\t.\t.",
    "1\t30\t.\tA\t.\t.\t.\tDB",
    "1\t40\tx;y\tA\t<DEL>,*,C\t.\tq10;s50\tAF=.,.,.",
    "2\t7\t.\tA\t]1:1234]C\t.\t.\t.",
    "weird\t9\t.\tA\tC\t.\t.\t.",
]


@pytest.fixture
def vcf(tmp_path):
    path = tmp_path / "in.vcf"
    path.write_text(HEADER + "".join(f"{line}\n" for line in RECORDS))
    return path


def _score(source, out, scorer=score_many, **options):
    return score_file(scorer, REFERENCE, source, str(out), about=ABOUT, **options)


def _without_ours(line):
    columns = line.split("\t")
    columns[7] = ";".join(x for x in columns[7].split(";") if not x.startswith("DNM_")) or "."
    return "\t".join(columns)


def test_every_record_is_kept_and_nothing_of_it_changes(vcf, tmp_path):
    counts = _score(vcf, tmp_path / "out.vcf")
    lines = (tmp_path / "out.vcf").read_text().splitlines()
    assert [_without_ours(line) for line in lines if line[0] != "#"] == RECORDS
    kept = [line for line in lines if line[0] == "#" and "DNM_" not in line and "dnamamba" not in line]
    assert kept == HEADER.splitlines()
    assert lines[0].startswith("##fileformat")
    assert sum(line.startswith("##source=dnamamba ") for line in lines) == 1
    assert (counts.records, counts.alleles, counts.scored) == (6, 9, 4)
    assert counts.skipped == {
        "reference allele only": 1,
        "symbolic allele": 1,
        "spanning deletion (*)": 1,
        "breakend": 1,
        "unknown contig": 1,
    }


def test_the_values_as_pysam_reads_them(vcf, tmp_path):
    _score(vcf, tmp_path / "out.vcf.gz")
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        for field in INFO_FIELDS:
            declared = file.header.info[field.name]
            assert (str(declared.number), declared.type) == (field.number, field.kind)
            assert "nats" in field.meaning or field.name in ("DNM_UPSTREAM", "DNM_QUANTILE", "DNM_SKIP")
        records = list(file)
    assert [r.pos for r in records] == [10, 20, 30, 40, 7, 9]
    wanted = [stub_score(Variant("1", 10, "rs1", "A", alt)) for alt in "GT"]
    for field in INFO_FIELDS:
        values = [getattr(score, field.attribute) for score in wanted]
        if values != [None, None]:
            assert records[0].info[field.name] == pytest.approx(values, rel=1e-5)
    assert "DNM_SKIP" not in records[0].info
    assert "DNM_QUANTILE" not in records[0].info
    assert records[2].info["DNM_SKIP"] == ("reference_allele_only",)
    assert records[3].info["DNM_SKIP"] == ("symbolic_allele", "spanning_deletion", ".")
    assert records[3].info["DNM_SCORE"][:2] == (None, None)
    assert skip_code("allele has letters that are not A, C, G, T") == "allele_has_letters_that_are_not_A_C_G_T"


def test_bgzip_and_index_or_no_index_when_unsorted(tmp_path):
    path, out = tmp_path / "in.vcf", tmp_path / "out.vcf.gz"
    lines = [f"1\t{pos}\t.\tA\tC\t.\t.\t." for pos in range(1, 3000)]
    path.write_text(HEADER + "\n".join(lines) + "\n")
    assert _score(path, out).sorted
    with pysam.TabixFile(str(out)) as file:
        assert [row.split("\t")[1] for row in file.fetch("1", 99, 102)] == ["100", "101", "102"]
    path.write_text(HEADER + "\n".join(lines[::-1]) + "\n")
    assert not _score(path, out).sorted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.vcf", "out.vcf.gz", "out.vcf.gz.metadata.json"]
    path.write_text(HEADER + "1\t99999999999999\t.\tA\tC\t.\t.\t.\n")
    assert not _score(path, out).sorted  # beyond what an index holds
    assert out.exists()
    split = [lines[0], lines[0].replace("1", "2", 1), lines[1]]
    path.write_text(HEADER + "\n".join(split) + "\n")
    assert not _score(path, out).sorted
    far = f"1\t{2**29 + 5}\t.\tA\tC\t.\t.\t."
    path.write_text(HEADER + lines[0] + "\n" + far + "\n")
    _score(path, out)
    assert (tmp_path / "out.vcf.gz.csi").exists()
    with pysam.TabixFile(str(out), index=str(out) + ".csi") as file:
        assert len(list(file.fetch("1", 2**29))) == 1


def test_scored_again_the_fields_are_replaced(vcf, tmp_path):
    _score(vcf, tmp_path / "once.vcf")
    _score(tmp_path / "once.vcf", tmp_path / "twice.vcf")
    assert (tmp_path / "once.vcf").read_text() == (tmp_path / "twice.vcf").read_text()


@pytest.mark.parametrize("name", ["t.tsv", "t.jsonl", "t.parquet"])
def test_tables_are_keyed_by_variant(vcf, tmp_path, name):
    _score(vcf, tmp_path / name)
    if name == "t.parquet":
        rows = pq.read_table(tmp_path / name).to_pylist()
    elif name == "t.jsonl":
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    else:
        head, *lines = (tmp_path / name).read_text().splitlines()
        rows = [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert list(rows[0]) == list(COLUMNS)
    key = [(row["chrom"], int(row["pos"]), row["id"], row["ref"], row["alt"]) for row in rows]
    assert key[:4] == [
        ("1", 10, "rs1", "A", "G"),
        ("1", 10, "rs1", "A", "T"),
        ("1", 20, ".", "AC", "A"),
        ("1", 30, ".", "A", "."),
    ]
    assert [row["skipped"] for row in rows][3:5] == ["reference allele only", "symbolic allele"]
    assert float(rows[0]["score"]) == pytest.approx(stub_score(Variant("1", 10, "rs1", "A", "G")).score, abs=1e-5)


def test_a_table_of_variants_in_and_a_vcf_out(tmp_path):
    (tmp_path / "in.tsv").write_text("chrom\tpos\tid\tref\talt\n1\t10\trs1\tA\tG,T\n2\t3\t.\tAC\tA\n")
    _score(tmp_path / "in.tsv", tmp_path / "out.vcf.gz")
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert list(file.header.contigs)[:2] == ["chr1", "chr2"]
        assert [(r.pos, r.alts) for r in file] == [(10, ("G", "T")), (3, ("A",))]


def test_the_vcf_of_a_table_is_a_valid_one(tmp_path, capfd):
    table = "chrom\tpos\tid\tref\talt\n1\t10\tmy  own\tA\tG\nchr1\t12\trs1;rs2\tA\tG\n1\t13\t \tA\tG\n"
    (tmp_path / "in.tsv").write_text(table)
    _score(tmp_path / "in.tsv", tmp_path / "out.vcf.gz")
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [(r.chrom, r.id) for r in file.fetch("chr1")] == [
            ("chr1", "my_own"),
            ("chr1", "rs1;rs2"),
            ("chr1", None),
        ]
    assert "not defined in the header" not in capfd.readouterr().err
    _score(tmp_path / "in.tsv", tmp_path / "out.tsv")
    kept = [line.split("\t")[:3] for line in (tmp_path / "out.tsv").read_text().splitlines()[1:3]]
    assert kept == [["1", "10", "my  own"], ["chr1", "12", "rs1;rs2"]]  # a table keeps what it was given


def test_standard_input_to_standard_output(vcf, monkeypatch, capfdbinary):
    with open(vcf, "rb") as handle:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(handle))
        monkeypatch.setattr(sys, "stdout", os.fdopen(1, "w", closefd=False))
        _score("-", "-")
        sys.stdout.flush()
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert [_without_ours(line) for line in lines if line[0] != "#"] == RECORDS


def test_chosen_records_alone(vcf, tmp_path):
    choice = VariantChoice(REFERENCE.resolve, [Region("chr1", 10, 35)], ())
    assert _score(vcf, tmp_path / "out.vcf", choice=choice).records == 2


def test_same_command_same_bytes_and_metadata(vcf, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _score(vcf, tmp_path / name / "o.vcf.gz")
    for name in ("o.vcf.gz", "o.vcf.gz.metadata.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    data = json.loads((tmp_path / "a" / "o.vcf.gz.metadata.json").read_text())
    assert data["model"] == ABOUT["model"]
    assert data["counts"]["scored"] == 4
    assert len(data["variants"]["sha256"]) == 64


def test_foreign_contigs_are_an_error_that_names_both_sides(tmp_path, monkeypatch):
    path = tmp_path / "in.vcf"
    path.write_text(HEADER + "7\t1\t.\tA\tC\t.\t.\t.\n")
    message = "none of its contigs is in the genome: the file has 7; the genome has chr1, chr2"
    with pytest.raises(InputError, match=message):
        _score(path, tmp_path / "out.vcf")
    with open(path, "rb") as handle:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(handle))
        with pytest.raises(InputError, match=message):
            _score("-", tmp_path / "out.vcf")
    with pytest.raises(InputError, match=message):  # and not an empty file
        _score(path, tmp_path / "out.vcf", choice=VariantChoice(REFERENCE.resolve, [Region("chr1", 0, 9)], ()))
    assert not (tmp_path / "out.vcf").exists()


def test_damage_shows_before_the_first_score(tmp_path):
    path = tmp_path / "in.vcf.gz"
    path.write_bytes(gzip.compress((HEADER + "1\t1\t.\tA\tC\t.\t.\t.\n" * 1000).encode())[:-20])
    with pytest.raises(InputError, match=r"in\.vcf\.gz, after record .*truncated"):
        _score(path, tmp_path / "out.vcf", lambda variants: pytest.fail("scored"))
    assert [p.name for p in tmp_path.iterdir()] == ["in.vcf.gz"]


def test_the_input_is_never_the_output(vcf):
    before = vcf.read_bytes()
    with pytest.raises(InputError, match="is what is read; write to another file"):
        _score(vcf, vcf)
    assert vcf.read_bytes() == before


def test_names_of_outputs():
    assert output_format("-", None, "vcf") == "vcf"
    assert output_format("-", None, "tsv") == "tsv"
    assert output_format("a.VCF.gz", None, "tsv") == "vcf"
    assert output_format("a.txt", "parquet", "vcf") == "parquet"
    for name in ("a.tsv.gz", "a.bcf", "a", "a.foo"):
        with pytest.raises(InputError, match=r"want a name that ends in \.vcf, \.vcf\.gz, "):
            output_format(name, None, "vcf")


def test_an_interrupt_says_how_to_go_on(vcf, tmp_path):
    def interrupted(variants):
        yield from islice(score_many(variants), 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"out\.vcf: what is scored is kept; --resume goes on"):
        _score(vcf, tmp_path / "out.vcf", interrupted)
    assert _score(vcf, tmp_path / "out.vcf", resume=True).resumed == 2


def test_frames(vcf):
    table = score_table(score_many, REFERENCE, vcf)
    assert table.column_names == list(COLUMNS)
    assert table.num_rows == 9
    frame = table.to_pandas()
    assert frame.score.isna().sum() == 5
    assert score_table(score_many, REFERENCE, vcf, choice=VariantChoice(REFERENCE.resolve, [], ())).num_rows == 0


def test_text_that_is_no_utf8_is_kept_in_a_vcf_and_replaced_in_tables(tmp_path):
    path = tmp_path / "in.vcf"
    path.write_bytes(HEADER.encode() + b"1\t5\tr\xe9s\tA\tC\t.\t.\tX=\xff\n")
    _score(path, tmp_path / "out.vcf")
    assert b"\tr\xe9s\tA\tC\t.\t.\tX=\xff;DNM_SCORE" in (tmp_path / "out.vcf").read_bytes()
    for name in ("t.tsv", "t.jsonl", "t.parquet"):
        _score(path, tmp_path / name)
    assert pq.read_table(tmp_path / "t.parquet")["id"].to_pylist() == ["r\ufffds"]


def test_memory_does_not_depend_on_the_number_of_variants(tmp_path):
    def peak(count):
        path = tmp_path / "in.vcf"
        with path.open("w") as file:
            file.write(HEADER)
            file.writelines(f"1\t{i}\t.\tA\tC\t.\t.\t.\n" for i in range(1, count))
        tracemalloc.start()
        _score(path, tmp_path / "out.vcf")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(500)  # what is loaded once
    few, many = peak(500), peak(3500)
    assert many < few + 900_000, "a piece of the file and of the journal, not its records"


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_is_scored_or_an_input_error(tmp_path_factory, data):
    text = bytearray((HEADER + "".join(f"{line}\n" for line in RECORDS)).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.mktemp("damaged") / "in.vcf"
    path.write_bytes(text)
    with suppress(InputError):
        _score(path, path.with_suffix(".out.vcf"))


# Killed and gone on with


@pytest.fixture
def long_vcf(tmp_path):
    path = tmp_path / "in.vcf"
    path.write_text(HEADER + "".join(f"1\t{i}\t.\tA\tC,G\t.\t.\t.\n" for i in range(1, 400)))
    return path


def _killed(path, out, after, **options):
    def work():
        _score(path, out, lambda variants: score_many(variants, die_after=after), **options)

    child = FORK.Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["out.vcf.gz", "out.parquet"])
def test_killed_and_resumed_without_scoring_again(long_vcf, tmp_path, name):
    _score(long_vcf, tmp_path / f"whole.{name}")
    out = tmp_path / name
    for after in (8, 2, 333):
        _killed(long_vcf, out, after, resume=after != 8)
        assert not out.exists()
    with pytest.raises(InputError, match="an unfinished run stands beside it; --resume goes on"):
        _score(long_vcf, out)
    asked = []

    def counted(variants):
        return score_many(asked.append(v) or v for v in variants)

    counts = _score(long_vcf, out, counted, resume=True)
    assert counts.alleles == 798
    assert counts.resumed > 300
    assert len(asked) == 798 - counts.resumed
    assert out.read_bytes() == (tmp_path / f"whole.{name}").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_journal_of_something_else_is_refused(long_vcf, tmp_path):
    out = tmp_path / "out.vcf"
    _killed(long_vcf, out, 100)
    with pytest.raises(InputError, match=r"was begun with options {'context': 1024}, now it is {'context': 8}"):
        score_file(score_many, REFERENCE, long_vcf, str(out), about={**ABOUT, "options": {"context": 8}}, resume=True)
    text = long_vcf.read_text()
    long_vcf.write_text(text.replace("1\t20\t", "1\t21\t"))
    with pytest.raises(InputError, match=r"not those of the unfinished run \(allele 39 differs\)"):
        _score(long_vcf, out, resume=True)
    long_vcf.write_text(text[: text.index("1\t20\t")])
    with pytest.raises(InputError, match="not those of the unfinished run"):
        _score(long_vcf, out, resume=True)


def test_a_torn_or_changed_journal_counts_to_its_last_whole_line(long_vcf, tmp_path):
    out, kept = tmp_path / "out.vcf", tmp_path / ".out.vcf.journal"
    _killed(long_vcf, out, 100)
    whole = kept.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 1 + 98  # the head, and the 14 whole windows of 7 that came before the one that was cut
    for damaged, count in (
        (whole[:-5], len(lines) - 2),
        (b"".join(lines[:51]) + lines[51].replace(b"1", b"2") + b"".join(lines[52:]), 50),
        (whole + b"\0" * 4096, len(lines) - 1),
    ):
        kept.write_bytes(damaged)
        with Journal(out, {"dnamamba": __version__, **ABOUT}, resume=True) as found:
            assert found.count == count
        assert not kept.exists()
    kept.write_bytes(whole)
    with Journal(out, {"dnamamba": __version__, **ABOUT}, resume=True, window=30) as found:
        assert found.count == 90  # whole windows alone
    kept.write_bytes(lines[0][:10])  # killed before its first line was whole
    assert _score(long_vcf, out).resumed == 0


def test_two_processes_do_not_write_one_output(long_vcf, tmp_path):
    out = tmp_path / "out.vcf"
    with Journal(out, {}, resume=False), pytest.raises(InputError, match="another process is writing it"):
        _score(long_vcf, out)
