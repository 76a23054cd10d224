"""Kinds of contigs, told by their names and by the titles of records."""

import pytest

from dnamamba.pipelines.contig_kinds import contig_kind, other_spelling

KINDS = {
    "autosome": "chr1 1 22 chr2A 2B 2a chr3L 4R chrI chrIV XVI chr1_hap1_hsa1 chr4_pat_hsa17x5 chr11_mat_hsa9"
    " chr1_MATERNAL chr5_PATERNAL",
    "sex": "chrX Y chrW Z chrX_hap1_hsaX chrY_pat_hsaY chrX_MATERNAL",
    "mitochondrion": "chrM MT M chrMT MtDNA mitochondrion",
    "unplaced": "chrUn_GL000220v1 chr1_KI270706v1_random GL000194.1 KI270711.1 JH720453.1 NW_026946709.1 scaffold_12"
    " JARIFH020000026.1 AABR07022258.1 chr18_hap1_hsa16_random_utig4-1074 chr1522_pat_hsa1421_random_utig4-95",
    "alt": "chr6_GL000250v2_alt chr1_KN196472v1_fix chr6_apd_hap1 chr17_ctg5_hap1 CHR_HSCHR6_MHC_APD_CTG1 HG2334_PATCH"
    " CHR_HG1342_HG2282_PATCH HLA:HLA00001 HLA-A*01:01:01:01",
    None: "toy chrEBV NC_000001.11 sequence chr0 chr1234 chr chromium chr1x phiX",
}
TITLES = [
    ("NC_000001.11", "Homo sapiens chromosome 1, GRCh38.p14 Primary Assembly", "autosome"),
    ("CP068255.2", "Homo sapiens isolate CHM13 chromosome X", "sex"),
    ("CM054434.2", "Pan troglodytes isolate AG18354 chromosome 1, whole genome shotgun sequence", "autosome"),
    ("NC_012920.1", "Homo sapiens mitochondrion, complete genome", "mitochondrion"),
    ("NT_187361.1", "Homo sapiens chromosome 1 unlocalized genomic scaffold, GRCh38.p14 Primary Assembly", "unplaced"),
    (
        "NT_187516.1",
        "Homo sapiens chromosome 1 genomic scaffold, GRCh38.p14 alternate locus group ALT_REF_LOCI_1",
        "alt",
    ),
    ("NW_009646195.1", "Homo sapiens chromosome 1 genomic patch of type FIX, GRCh38.p14 PATCHES", "alt"),
    ("KI270762.1", "Homo sapiens chromosome 1 genomic contig, GRCh38 reference assembly alternate locus group", "alt"),
    ("chr1_like", "chromosome X", None),  # a title counts beside an accession only
    ("U00096.3", "Escherichia coli str. K-12 substr. MG1655, complete genome", None),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_kinds_by_name(kind):
    assert {name: contig_kind(name) for name in KINDS[kind].split()} == dict.fromkeys(KINDS[kind].split(), kind)


@pytest.mark.parametrize(("name", "title", "kind"), TITLES)
def test_kinds_by_the_title_of_a_record(name, title, kind):
    assert contig_kind(name, title) == kind


def test_the_other_spelling():
    assert [other_spelling(name) for name in ("1", "chr1", "chr", "M", "chrM", "MT", "chrMT")] == [
        "chr1", "1", None, None, None, None, None,
    ]  # fmt: skip
