"""Strata: which random variants a variant is fairly compared with."""

from bisect import bisect_left
from itertools import product

from dnamamba.pipelines.reference import Reference
from dnamamba.pipelines.variants import Edit, reverse_complement

LENGTHS = (1, 2, 4, 8, 16, 32)
"""Longest indel of each length class but the last, which has no bound."""
REGIONS = ("unique", "masked")
"""Upper case and lower case (soft-masked: repeats) of the reference at the first base that differs."""
_BASES = "ACGT"


def stratum_of(reference: Reference, contig: str, edit: Edit) -> str | None:
    """The stratum of a variant, trimmed, on the forward strand.

    Substitutions of one base go by trinucleotide and alternate base, the strand folded so that a pyrimidine is replaced
    (the 96 types of mutation); longer ones by length; insertions and deletions by the change of length. All of them by
    region class.

    Returns:
        Such as "C[C>T]G unique", "insertion 3-4 masked" or "substitution 2 unique"; None where the trinucleotide is not
        whole (the contig's ends, N).
    """
    length = reference.contigs[contig]
    first = min(edit.start, length - 1)
    region = REGIONS[bool(reference.fetch(contig, first, first + 1)[0] & 0x20)]
    old, new = edit.end - edit.start, len(edit.alt)
    if old == new == 1:
        if not 0 < edit.start < length - 1:
            return None
        around = reference.fetch(contig, edit.start - 1, edit.start + 2).tobytes().decode("latin-1").upper()
        if not set(around) <= set(_BASES):
            return None
        return type_name(around, edit.alt, region)
    kind = "substitution" if old == new else "insertion" if new > old else "deletion"
    return f"{kind} {length_class(abs(new - old) or new)} {region}"


def length_class(length: int) -> str:
    """Such as "1", "3-4" or "33-"."""
    place = bisect_left(LENGTHS, length)
    if place == len(LENGTHS):
        return f"{LENGTHS[-1] + 1}-"
    low = LENGTHS[place - 1] + 1 if place else 1
    return str(low) if low == LENGTHS[place] else f"{low}-{LENGTHS[place]}"


def length_bounds(name: str) -> tuple[int, int]:
    """Shortest and longest length of a class by its name; the last class is taken to twice the bound before it."""
    low, _, high = name.partition("-")
    return int(low), int(high or (2 * LENGTHS[-1] if "-" in name else low))


def substitution_types() -> list[tuple[str, str]]:
    """The 96 types: trinucleotide around a pyrimidine, and what that becomes."""
    return [(a + b + c, d) for a, b, c, d in product(_BASES, "CT", _BASES, _BASES) if b != d]


def longer_kinds() -> list[tuple[str, str]]:
    """Kind and length class of all other strata."""
    bounds = [length_class(length) for length in (*LENGTHS, LENGTHS[-1] + 1)]
    indels = [(kind, bound) for kind in ("insertion", "deletion") for bound in bounds]
    return [*indels, *(("substitution", bound) for bound in bounds[1:])]


def type_name(around: str, alt: str, region: str) -> str:
    """The stratum of a substitution, its strand folded."""
    if around[1] in "AG":
        around, alt = reverse_complement(around), reverse_complement(alt)
    return f"{around[0]}[{around[1]}>{alt}]{around[2]} {region}"
