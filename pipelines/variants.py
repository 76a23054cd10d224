"""Variants as VCF writes them: which alleles can be scored, what of them differs, how the other strand reads them."""

from dataclasses import dataclass
from itertools import pairwise

from dnamamba.errors import InputError

UNKNOWN_CONTIG = "unknown contig"
OUTSIDE = "past the end of the contig"
MISMATCH = "REF does not match"
REFERENCE_ONLY = "reference allele only"
MISSING = "missing allele"
SPANNING = "spanning deletion (*)"
SYMBOLIC = "symbolic allele"
BREAKEND = "breakend"
ODD_LETTERS = "allele has letters that are not A, C, G, T"
AMBIGUOUS = "reference is not A, C, G or T here"
SKIPS = (
    UNKNOWN_CONTIG, OUTSIDE, MISMATCH, REFERENCE_ONLY, MISSING, SPANNING, SYMBOLIC, BREAKEND, ODD_LETTERS, AMBIGUOUS
)  # fmt: skip
"""Every reason for which an allele gets no score."""

_COMPLEMENT = bytes.maketrans(b"ACGTNRYSWKMBDHV", b"TGCANYRSWMKVHDB")
_STANDS_FOR = {
    "N": "ACGT", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC", "B": "CGT", "D": "AGT", "H": "ACT",
    "V": "ACG",
}  # fmt: skip
_BASES = frozenset("ACGT")
_DNA = _BASES | frozenset(_STANDS_FOR)


@dataclass(frozen=True, slots=True)
class Variant:
    """One alternate allele of a VCF record. A record with several has one `Variant` for each."""

    chrom: str
    """Contig, under any name that the reference resolves."""
    pos: int
    """First base of `ref`, 1-based as in VCF."""
    id: str
    ref: str
    alt: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Reference bases [start, end) of a strand replaced by `alt`; 0-based, upper case."""

    start: int
    end: int
    alt: str


def allele_problem(ref: str, alt: str) -> str | None:
    """Why an allele cannot be scored whatever the reference says, one of `SKIPS`; None when it can be.

    Source: the VCF 4.3 specification, 1.6.1 (fields REF and ALT) and 5.4 (breakends).
    """
    if not ref or not alt:
        return MISSING
    if alt == ".":
        return REFERENCE_ONLY
    if alt == "*":
        return SPANNING
    if "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return BREAKEND
    if alt.startswith("<"):
        return SYMBOLIC
    ref, alt = ref.upper(), alt.upper()
    if not set(alt + ref) <= _DNA:
        return ODD_LETTERS
    if ref == alt:
        return REFERENCE_ONLY
    if set(alt) <= _BASES:
        return None
    # An N that both alleles begin or end with is none of the allele's own.
    own = (trimmed(0, ref, alt).alt, trimmed(0, ref[::-1], alt[::-1]).alt)
    return None if all(set(letters) <= _BASES for letters in own) else ODD_LETTERS


def ref_matches(ref: str, bases: str) -> bool:
    """Whether REF is what the reference has. Case is ignored; an ambiguous base matches each letter it stands for.

    (The VCF specification reduces ambiguity codes to one concrete base.)
    """
    ref, bases = ref.upper(), bases.upper()
    if ref == bases:
        return True
    return len(ref) == len(bases) and all(
        a == b or a in _STANDS_FOR.get(b, "") or (a == "N" and b in _STANDS_FOR)
        for a, b in zip(ref, bases, strict=True)
    )


def trimmed(start: int, ref: str, alt: str) -> Edit:
    """The part of two alleles that differs when they are read from left to right: common letters at the start are taken
    off first, then those at the end.

    In a repeat an insertion or deletion has several places. Reading meets the difference at the last of those that the
    record spans, and it is there that an allele begins.

    Args:
        start: first base of `ref`, 0-based.
    """
    ref, alt = ref.upper(), alt.upper()
    if len(ref) == len(alt) == 1:  # most variants
        return Edit(start, start + 1, alt) if ref != alt else Edit(start + 1, start + 1, "")
    both = min(len(ref), len(alt))
    head = next((i for i in range(both) if ref[i] != alt[i]), both)
    tail = next((i for i in range(both - head) if ref[-1 - i] != alt[-1 - i]), both - head)
    return Edit(start + head, start + len(ref) - tail, alt[head : len(alt) - tail])


def reverse_complement(sequence: str) -> str:
    """The other strand, read in its own direction, upper case."""
    return sequence.upper().encode().translate(_COMPLEMENT)[::-1].decode()


def strand_edit(start: int, ref: str, alt: str, length: int, *, reverse: bool) -> Edit:
    """A variant as one strand reads it: in that strand's own coordinates, trimmed in its own direction.

    Args:
        start: first base of `ref` on the forward strand, 0-based.
        length: of the contig, in bases.
    """
    if not reverse:
        return trimmed(start, ref, alt)
    return trimmed(length - start - len(ref), reverse_complement(ref), reverse_complement(alt))


def check_apart(edits: list[Edit]) -> None:
    """
    Raises:
        InputError: two edits of one haplotype touch the same bases, or insert at the same place; or they are unsorted.
    """
    for one, other in pairwise(edits):
        if other.start < one.end or (other.start, other.end) == (one.start, one.end):
            raise InputError(
                f"a haplotype's variants must not overlap: one replaces bases {one.start + 1:,} to {one.end:,}, "
                f"another {other.start + 1:,} to {other.end:,} (counted along the strand)"
            )
