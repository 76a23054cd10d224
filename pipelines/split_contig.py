"""A split by whole contigs: which part each belongs to, told by names, patterns and homologs."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from dnamamba.errors import InputError
from dnamamba.pipelines.homology import Family, Locus, canonical_name


def part_of_contigs(
    families: Sequence[Family],
    wanted: Mapping[str, Sequence[str]],
    resolve: Mapping[str, Callable[[str], str]],
) -> list[tuple[str, Locus]]:
    """Give every contig a part; "train" where no pattern fits.

    Args:
        families: of all contigs.
        wanted: part -> names or patterns. A name is a homolog in human numbers where homologs are known ("chr7", "7"),
            else a contig, else an alias; "gorGor6:chr4" is that contig of that assembly alone.
        resolve: assembly -> its function from alias to contig, which raises InputError where there is none.

    Raises:
        InputError: a pattern that fits nothing, or a contig that two parts ask for.
    """
    loci = [locus for family in families for locus in family.loci]
    asked: dict[Locus, list[tuple[str, str]]] = {locus: [] for locus in loci}
    for part, patterns in wanted.items():
        for pattern in patterns:
            found = _find(loci, pattern, resolve)
            if not found:
                raise InputError(f"split.{part}: {pattern!r} matches no contig; there are {_some(loci)}")
            for locus in found:
                asked[locus].append((part, pattern))
    for locus, by in asked.items():
        if len({part for part, _ in by}) > 1:
            raise InputError(f"split.valid and split.test: {locus} matches both, {by[0][1]!r} and {by[-1][1]!r}")
    return [(by[0][0] if by else "train", locus) for locus, by in asked.items()]


def _find(loci: Sequence[Locus], pattern: str, resolve: Mapping[str, Callable[[str], str]]) -> list[Locus]:
    human = canonical_name(pattern)
    if found := [locus for locus in loci if _matches(locus, pattern) or human in locus.homologs]:
        return found
    assembly, colon, alias = pattern.partition(":")
    aliased = set()
    for one, to_contig in resolve.items():
        try:
            if not colon:
                aliased.add((one, to_contig(pattern)))
            elif one == assembly:
                aliased.add((one, to_contig(alias)))
        except InputError:  # no alias of this assembly
            continue
    return [locus for locus in loci if (locus.assembly, locus.contig) in aliased]


def _matches(locus: Locus, pattern: str) -> bool:
    if fnmatchcase(str(locus), pattern):  # "gorGor6:chr4"
        return True
    # "chr7" means human 7: a chimpanzee contig of that name with stated homologs is another chromosome.
    names = locus.homologs if locus.stated else (*locus.homologs, locus.contig)
    return any(fnmatchcase(name, pattern) for name in names)


def _some(loci: Sequence[Locus]) -> str:
    names = [str(locus) for locus in loci]
    return ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")
