"""Haplotype blocks of phased files against a plain reading of the rules, and their scores against the scorer's own."""

from itertools import groupby, pairwise

import pytest
from stub_scorer import ABOUT, REFERENCE, score_many

from dnamamba.errors import InputError
from dnamamba.pipelines.variant_files import VariantRecord
from dnamamba.scoring.phased import OVERLAP, UNPHASED, Blocks, Genotype, genotypes
from dnamamba.scoring.phased_files import score_phased
from dnamamba.scoring.types import HaplotypeScore

HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS2\n"


class StubScorer:
    horizon = 50

    def __init__(self):
        self.asked = []

    score_many = staticmethod(score_many)

    def score_haplotypes(self, haplotypes):
        for haplotype in haplotypes:
            self.asked.append([(v.pos, v.alt) for v in haplotype])
            yield HaplotypeScore(tuple(haplotype), float(len(haplotype)), 0.5, 0.5, 1.0, 1.0, 9, 50)


def _line(pos, ref, alt, *samples, keys="GT", chrom="1"):
    return "\t".join((chrom, str(pos), ".", ref, alt, ".", ".", ".", keys, *samples))


def _rows(tmp_path, *lines, **options):
    (tmp_path / "in.vcf").write_text(HEAD + "".join(f"{line}\n" for line in lines))
    scorer = StubScorer()
    counts = score_phased(scorer, REFERENCE, tmp_path / "in.vcf", str(tmp_path / "o.tsv"), about=ABOUT, **options)
    head, *rows = [line.split("\t") for line in (tmp_path / "o.tsv").read_text().splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows], counts, scorer


def _blocks(rows):
    return sorted((row["sample"], row["haplotype"], row["variants"]) for row in rows)


def test_alleles_of_one_haplotype_that_are_near_are_one_block(tmp_path):
    rows, counts, scorer = _rows(
        tmp_path,
        _line(100, "A", "C", "0|1", "1|1"),
        _line(150, "AG", "A,AT", "2|1", "0|0"),
        _line(201, "T", "G", "0|1", "1|0"),  # 50 bases behind base 151, the end of AG
        _line(252, "T", "G", "0|1", "0|0"),  # 51 bases behind 201: its end is 201, and 202..251 lie between
        _line(400, "T", "G", "0|1", "./."),
        _line(10, "T", "G", "1|0", "0|0", chrom="chr2"),
    )
    assert _blocks(rows) == [
        ("S1", "1", "10:T>G"),
        ("S1", "1", "150:AG>AT"),
        ("S1", "2", "100:A>C,150:AG>A,201:T>G,252:T>G"),
        ("S1", "2", "400:T>G"),
        ("S2", "1", "100:A>C"),
        ("S2", "1", "201:T>G"),
        ("S2", "2", "100:A>C"),
    ]
    assert scorer.asked == [[(100, "C"), (150, "A"), (201, "G"), (252, "G")]]
    joint = next(row for row in rows if row["alleles"] == "4")
    assert (joint["start"], joint["end"], joint["score"], joint["chrom"]) == ("100", "252", "4", "1")
    alone = sum(s.score for s in score_many([_variant(row) for row in ("100:A>C", "150:AG>A", "201:T>G", "252:T>G")]))
    assert float(joint["alone"]) == pytest.approx(alone, abs=1e-4)
    single = next(row for row in rows if row["variants"] == "400:T>G")
    assert single["score"] == single["alone"]
    assert counts.blocks == 7
    assert not counts.left_out


def _variant(text):
    from dnamamba.pipelines.variants import Variant

    pos, alleles = text.split(":")
    return Variant("1", int(pos), ".", *alleles.split(">"))


def test_a_gap_longer_than_the_horizon_parts(tmp_path):
    lines = [_line(100, "AAA", "C", "0|1", "0|0"), _line(153, "T", "G", "0|1", "0|0")]  # 102 is the last; 50 between
    assert _blocks(_rows(tmp_path, *lines)[0]) == [("S1", "2", "100:AAA>C,153:T>G")]
    lines[1] = _line(154, "T", "G", "0|1", "0|0")
    assert len(_rows(tmp_path, *lines)[0]) == 2


def test_phase_sets_part_blocks_and_settled_genotypes_do_not(tmp_path):
    rows, counts, _ = _rows(
        tmp_path,
        _line(100, "A", "C", "0|1:7", "1:.", keys="GT:PS"),
        _line(110, "A", "C", "1/1:.", "1", keys="GT:PS"),
        _line(120, "A", "C", "0|1:7", "0", keys="GT:PS"),
        _line(130, "A", "C", "0|1:8", "1", keys="GT:PS"),
    )
    assert _blocks(rows) == [
        ("S1", "1", "110:A>C"),
        ("S1", "2", "100:A>C,110:A>C,120:A>C"),
        ("S1", "2", "130:A>C"),
        ("S2", "1", "100:A>C,110:A>C,130:A>C"),
    ]
    assert {row["phase_set"] for row in rows} == {"7", "8", "."}
    assert not counts.left_out


def test_unphased_unscorable_and_overlapping_alleles_are_counted(tmp_path):
    rows, counts, _ = _rows(
        tmp_path,
        _line(100, "A", "C,G", "0/1", "1/2"),
        _line(110, "AGT", "A", "1|0", "0|0"),
        _line(111, "G", "C", "1|0", "0|1"),
        _line(112, "T", "<DEL>", "1|0", "0|0"),
        _line(120, "A", "*,T", "1|2", "0|0"),
        _line(130, "A", "G", ".|1", "."),
    )
    assert _blocks(rows) == [
        ("S1", ".", "100:A>C"),
        ("S1", "1", "110:AGT>A"),
        ("S1", "2", "120:A>T,130:A>G"),
        ("S2", ".", "100:A>C"),
        ("S2", ".", "100:A>G"),
        ("S2", "2", "111:G>C"),
    ]
    assert counts.left_out == {UNPHASED: 3, OVERLAP: 1, "symbolic allele": 1, "spanning deletion (*)": 1}


def test_an_indel_and_a_substitution_at_its_anchor_do_not_overlap(tmp_path):
    lines = [_line(100, "AG", "A", "0|1", "0|0"), _line(100, "A", "C", "0|1", "0|0")]
    assert _blocks(_rows(tmp_path, *lines)[0]) == [("S1", "2", "100:AG>A,100:A>C")]


def test_equal_blocks_are_scored_once(tmp_path):
    lines = [_line(pos, "A", "C", "1|1", "1|0") for pos in (100, 120)]
    rows, _, scorer = _rows(tmp_path, *lines)
    assert len(rows) == 3
    assert len(scorer.asked) == 1


def test_genotypes_as_the_specification_writes_them():
    texts = {
        "0|1": ((0, 1), True), "0/1": ((0, 1), False), "1": ((1,), True), ".": ((None,), True),
        "./.": ((None, None), False), "0|1|2": ((0, 1, 2), True), "0|1/1": ((0, 1, 1), False),
        "|0|1": ((0, 1), True), "/0/1": ((0, 1), False),
    }  # fmt: skip
    record = VariantRecord(1, "1", 1, ".", "A", ("C",), _line(1, "A", "C", *texts, keys="DP:GT").encode())
    record = VariantRecord(1, "1", 1, ".", "A", ("C",), record.line.replace(b"DP:GT", b"GT:DP"))
    found = list(genotypes(record))
    assert found == [Genotype(alleles, phased, ".") for alleles, phased in texts.values()]
    without = VariantRecord(1, "1", 1, ".", "A", ("C",), _line(1, "A", "C", "3", "4", keys="DP").encode())
    assert list(genotypes(without)) == [None, None]


def test_no_samples_is_an_error(tmp_path):
    (tmp_path / "in.tsv").write_text("chrom\tpos\tref\talt\n1\t1\tA\tC\n")
    with pytest.raises(InputError, match="--phased wants genotypes"):
        score_phased(StubScorer(), REFERENCE, tmp_path / "in.tsv", "-", about=ABOUT)
    assert list(Blocks([], 5, lambda _: 1).finish()) == []


def test_a_real_phased_file_against_a_plain_reading(real_data, tmp_path):
    """Every carried allele is in just one block of its haplotype, and blocks part where the rules say."""
    from dnamamba.pipelines.variant_files import VariantFile

    path = real_data / "vcf" / "b37.BRCA1.1000G.vcf.gz"
    carried, blocks = [], []
    with VariantFile(path) as file:
        cutter = Blocks(file.samples, 200, lambda _: 81_189)
        scores = ((r, [_scored(r, alt) for alt in r.alleles]) for r in file.records())
        for record, results in scores:
            for sample, genotype in zip(file.samples, genotypes(record), strict=True):
                for haplotype, allele in enumerate(genotype.alleles, 1):
                    if allele and results[allele - 1].skipped is None:
                        carried.append((sample, str(haplotype), record.pos, record.alts[allele - 1]))
            blocks += cutter.add(record, results)
        blocks += cutter.finish()
    placed = [(b.sample, b.haplotype, v.pos, v.alt) for b in blocks for v in b.variants]
    assert len(placed) == len(carried) - cutter.left_out[OVERLAP]
    assert set(placed) <= set(carried)
    assert len(carried) > 100
    key = lambda b: (b.sample, b.haplotype)  # noqa: E731
    for _, same in groupby(sorted(blocks, key=key), key):
        ordered = sorted(same, key=lambda b: b.variants[0].pos)
        for before, after in pairwise(ordered):
            assert after.variants[0].pos - 1 - before.end > 200


def _scored(record, alt):
    from stub_scorer import stub_score

    from dnamamba.pipelines.variants import Variant

    return stub_score(Variant("chr1", record.pos, record.id, record.ref, alt))
