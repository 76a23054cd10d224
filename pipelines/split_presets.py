"""Splits by whole chromosomes as they were published, kept homology-safe over the genomes that are there."""

from collections.abc import Sequence
from dataclasses import replace

from dnamamba.errors import InputError
from dnamamba.pipelines.splits import AssemblyLike, SplitConfig, families_of

PRESETS: dict[str, dict[str, tuple[str, ...]]] = {
    "hyenadna": {
        "valid": ("chr1", "chr3", "chr12", "chr13"),
        "test": ("chr5", "chr7", "chr9", "chr10", "chr11"),
    }
}
"""Name -> held-out part -> human chromosomes; everything else is trained on.

Source: HyenaDNA, arXiv 2306.15794, its species classification: train 2, 4, 6, 8, 14 to 22, X and Y.
"""


def preset_split(name: str, assemblies: Sequence[AssemblyLike], base: SplitConfig) -> tuple[SplitConfig, list[str]]:
    """Make a published split of the genomes that are there.

    A family of homologs that the publication parts goes whole where its most guarded member goes: to test, else to
    validation. So human 17 moves to test with human 5 where gorilla, whose 5 and 17 changed ends, is among the genomes.

    Args:
        name: of PRESETS.
        assemblies: with distinct names.
        base: its homologs are used and kept.

    Returns:
        The config, method contig, and one sentence for every family that was moved.

    Raises:
        InputError: no such preset, or none of a part's chromosomes is there.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r}: there are {', '.join(PRESETS)}")
    published = {chromosome: part for part, chromosomes in PRESETS[name].items() for chromosome in chromosomes}
    held: dict[str, set[str]] = {"valid": set(), "test": set()}
    moved = []
    for family in families_of(assemblies, base.homologs):
        parts = {homolog: published.get(homolog, "train") for homolog in family.homologs}
        goes_to = next((part for part in ("test", "valid") if part in parts.values()), "train")
        if goes_to == "train":
            continue
        held[goes_to].update(family.homologs)
        followers = [homolog for homolog, part in parts.items() if part != goes_to]
        if followers:
            joined = [str(locus) for locus in family.loci if len(locus.homologs) > 1]
            leaders = [homolog for homolog, part in parts.items() if part == goes_to]
            moved.append(
                f"{name}: {_listed(followers)} from {_listed(sorted({parts[one] for one in followers}))} to {goes_to} "
                f"with {_listed(leaders)}, since {_listed(joined[:4])} {'holds' if len(joined) == 1 else 'hold'} both"
            )
    for part, chromosomes in held.items():
        if not chromosomes:
            raise InputError(
                f"preset {name!r}: no contig is known as human {_listed(PRESETS[name][part])}, so nothing is left to "
                f"the {part} part; homologs are told by split.homologs or by the names"
            )
    config = replace(
        base,
        method="contig",
        valid=tuple(sorted(held["valid"], key=_number)),
        test=tuple(sorted(held["test"], key=_number)),
    )
    return config, moved


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _number(chromosome: str) -> tuple[int, str]:
    digits = chromosome.removeprefix("chr")
    return (int(digits) if digits.isdigit() else 99, chromosome)
