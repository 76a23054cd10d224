"""Which contigs of several genomes are the same locus, so that a split can keep them together.

Ape chromosome numbers are not human numbers: in the T2T assemblies chimpanzee 2 is human 3, and gorilla 4 and 19 hold
human 5 and 17. A homolog is a name such as "chr5"; a contig may have several. Contigs that share one, directly or
through others, form a family.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dnamamba.errors import InputError


@dataclass(frozen=True)
class Locus:
    """A contig of one assembly and the homologs it holds."""

    assembly: str
    contig: str
    length: int
    homologs: tuple[str, ...]
    """Canonical names, sorted, at least one."""
    stated: bool
    """The homologs were stated (in a table or in the contig's name), not guessed from the name."""
    piece: bool = False
    """An alternate, patch or unlocalised piece of its chromosome (chr6_GL000251v2_alt): nobody knows of which place."""

    def __str__(self) -> str:
        return f"{self.assembly}:{self.contig}"


@dataclass(frozen=True)
class Family:
    """Loci that must not be parted, since sequence of one may be found in another."""

    homologs: tuple[str, ...]
    loci: tuple[Locus, ...]

    @property
    def name(self) -> str:
        """Its homologs joined by "+": the same in every run."""
        return "+".join(self.homologs)

    @property
    def main(self) -> tuple[Locus, ...]:
        """Its loci but the pieces; all of them where there is nothing else."""
        return tuple(locus for locus in self.loci if not locus.piece) or self.loci

    @property
    def collinear(self) -> bool:
        """Each main locus is the whole of one homolog, alone in its assembly: a fraction of one is the same place in
        the others."""
        return len(self.homologs) == 1 and len({locus.assembly for locus in self.main}) == len(self.main)


def read_homologs(label: str) -> tuple[str, ...]:
    """Read a homolog label into canonical names.

    "hsa3" is chr3, "hsa2a" chr2, "hsa17x5" and "hsa5 (t(5;17), inferred)" chr17 and chr5. Any other label names
    homologs of the user's own, several joined by "+" or ",", each read as a contig's name is.
    """
    label = label.strip()
    if label.startswith("hsa"):
        found = re.findall(r"1\d|2[0-2]|\d|X|Y|M", label)  # hsa1421 is 14 and 21
        return tuple(sorted({f"chr{number}" for number in found})) or (label,)
    return tuple(sorted({canonical_name(part.strip()) for part in re.split("[+,]", label) if part.strip()}))


def canonical_name(name: str) -> str:
    """ "7" and "chr7" are chr7; "chr2A" and "chr2b" are chr2, human 2 in two; every other name stands for itself."""
    match = re.fullmatch(r"(?:chr)?(\d{1,2}|X|Y|M|MT)([aAbB]?)", name)
    return f"chr{match[1].removesuffix('T')}" if match else name


# UCSC's chr6_GL000251v2_alt, chr6_apd_hap1, chr1_KI270706v1_random, chr1_KN196472v1_fix, and chr1_random of old.
_PIECE = re.compile(r"(chr(?:\d{1,2}|X|Y)[aAbB]?)_(?:(?:.+_)?(?:random|alt|fix)|.+_hap\d+)", re.IGNORECASE)
# Whole chromosomes of an assembly in two haplotypes: chr1_hap2, chr1_MATERNAL.
_HAPLOTYPE = re.compile(r"(chr(?:\d{1,2}|X|Y)[aAbB]?)_(?:hap\d+|mat|pat|maternal|paternal)", re.IGNORECASE)


def find_families(
    sizes: Mapping[str, Mapping[str, int]],
    homologs: Mapping[str, Mapping[str, str]],
    known: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[Family, ...]:
    """Group all contigs into families.

    Args:
        sizes: assembly -> contig -> bases.
        homologs: the user's, assembly -> contig or pattern -> label (read_homologs); the first that fits counts.
        known: of stores and manifests, assembly -> contig -> label; counts where `homologs` says nothing. A contig in
            neither is known by the suffix of T2T names ("chr5_hap1_hsa6"), else by its own name.

    Raises:
        InputError: `homologs` names an assembly or contig that is not there, or an empty label.
    """
    for assembly, table in homologs.items():
        if assembly not in sizes:
            raise InputError(f"split.homologs: no assembly {assembly!r}; there are {_some(sizes)}")
        for pattern, label in table.items():
            if not any(pattern == contig or fnmatchcase(contig, pattern) for contig in sizes[assembly]):
                raise InputError(f"split.homologs.{assembly}: no contig {pattern!r}; it has {_some(sizes[assembly])}")
            if not read_homologs(label):
                raise InputError(
                    f"split.homologs.{assembly}.{pattern}: want a homolog such as hsa5 or hsa17x5, got {label!r}"
                )
    known = known or {}
    loci = [
        _locus(
            assembly,
            contig,
            length,
            _label(contig, homologs.get(assembly, {})) or known.get(assembly, {}).get(contig),
        )
        for assembly, contigs in sizes.items()
        for contig, length in contigs.items()
    ]
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    for locus in loci:
        for other in locus.homologs[1:]:
            first, second = sorted((find(locus.homologs[0]), find(other)))
            leader[second] = first
    members: dict[str, list[Locus]] = {}
    for locus in loci:
        members.setdefault(find(locus.homologs[0]), []).append(locus)
    return tuple(
        Family(tuple(sorted({name for locus in group for name in locus.homologs})), tuple(group))
        for group in members.values()
    )


def _label(contig: str, table: Mapping[str, str]) -> str | None:
    if contig in table:  # also names that hold brackets or stars
        return table[contig]
    return next((label for pattern, label in table.items() if fnmatchcase(contig, pattern)), None)


def _locus(assembly: str, contig: str, length: int, label: str | None) -> Locus:
    if label is None:
        suffix = re.search(r"_(hsa[0-9XYM][0-9XYMabx]*)(?:_random.*)?$", contig)
        label = suffix[1] if suffix else None
    if label is not None:
        piece = "random" in label or "_random" in contig
        return Locus(assembly, contig, length, read_homologs(label), True, piece=piece)
    if found := _PIECE.fullmatch(contig):
        return Locus(assembly, contig, length, (canonical_name(found[1]),), False, piece=True)
    haplotype = _HAPLOTYPE.fullmatch(contig)
    return Locus(assembly, contig, length, (canonical_name(haplotype[1] if haplotype else contig),), False)


def _some(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = list(names)[:8]
    return ", ".join(shown) + (f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else "")
