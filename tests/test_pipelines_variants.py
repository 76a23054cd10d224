"""Alleles: what differs of them, on either strand, and what cannot be scored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamamba.errors import InputError
from dnamamba.pipelines.variants import (
    Edit,
    allele_problem,
    check_apart,
    ref_matches,
    reverse_complement,
    strand_edit,
    trimmed,
)

DNA = st.text("ACGT", min_size=1, max_size=12)


@pytest.mark.parametrize(
    "ref, alt, edit",
    [
        ("A", "G", Edit(10, 11, "G")),
        ("CA", "CG", Edit(11, 12, "G")),
        ("CAT", "CGT", Edit(11, 12, "G")),
        ("C", "CTT", Edit(11, 11, "TT")),
        ("CTT", "C", Edit(11, 13, "")),
        ("CAAA", "CA", Edit(12, 14, "")),  # the last of the places that the record spans
        ("CA", "CAA", Edit(12, 12, "A")),
        ("ACGT", "AGCT", Edit(11, 13, "GC")),
        ("AT", "GCC", Edit(10, 12, "GCC")),
        ("cat", "CgT", Edit(11, 12, "G")),
    ],
)
def test_trimmed_by_hand(ref, alt, edit):
    assert trimmed(10, ref, alt) == edit


@given(DNA, DNA, DNA, DNA)
def test_an_edit_makes_the_same_haplotype_and_is_short(before, ref, alt, after):
    contig = before + ref + after
    for reverse in (False, True):
        edit = strand_edit(len(before), ref, alt, len(contig), reverse=reverse)
        strand = reverse_complement(contig) if reverse else contig
        haplotype = strand[: edit.start] + edit.alt + strand[edit.end :]
        assert (reverse_complement(haplotype) if reverse else haplotype) == before + alt + after
        replaced = strand[edit.start : edit.end]
        if replaced and edit.alt:
            assert replaced[0] != edit.alt[0]
            assert replaced[-1] != edit.alt[-1]


@given(DNA, DNA)
def test_strands_trim_alike_in_their_own_direction(ref, alt):
    ours = strand_edit(3, ref, alt, 50, reverse=True)
    assert ours == trimmed(50 - 3 - len(ref), reverse_complement(ref), reverse_complement(alt))


@pytest.mark.parametrize(
    "ref, alt, reason",
    [
        ("A", "<NON_REF>", "symbolic allele"),
        ("N", "<DEL>", "symbolic allele"),
        ("A", "*", "spanning deletion (*)"),
        ("A", ".", "reference allele only"),
        ("A", "a", "reference allele only"),
        ("A", "]chr2:321681]A", "breakend"),
        ("A", ".A", "breakend"),
        ("", "A", "missing allele"),
        ("A", "R", "allele has letters that are not A, C, G, T"),
        ("A", "A-", "allele has letters that are not A, C, G, T"),
        ("NACG", "N", None),
        ("AN", "GN", None),
        ("N", "A", None),
        ("ag", "T", None),
    ],
)
def test_reasons(ref, alt, reason):
    assert allele_problem(ref, alt) == reason


def test_ref_matches_whatever_its_case_and_ambiguity():
    assert ref_matches("acG", "ACg")
    assert ref_matches("A", "R")  # the specification's concrete base of an ambiguity code
    assert ref_matches("N", "M")
    assert not ref_matches("C", "R")
    assert not ref_matches("N", "A")
    assert not ref_matches("AC", "A")


def test_overlapping_edits_are_told():
    check_apart([Edit(3, 3, "T"), Edit(3, 4, "G"), Edit(4, 4, "A")])
    for edits in ([Edit(3, 6, ""), Edit(5, 6, "G")], [Edit(3, 3, "T"), Edit(3, 3, "A")]):
        with pytest.raises(InputError, match="must not overlap"):
            check_apart(edits)
