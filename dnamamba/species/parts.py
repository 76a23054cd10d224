"""Which bases of which class are trained on, validated on and tested on: the same loci in every class."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnamamba.errors import InputError
from dnamamba.pipelines.homology import Family
from dnamamba.pipelines.splits import PARTS, Part, SplitConfig, SplitRegion, Splits, families_of, plan_splits
from dnamamba.species.finetune_config import DataConfig
from dnamamba.species.genomes import Genomes
from dnamamba.species.region import Region


@dataclass(frozen=True)
class Parts:
    """The regions of every part, and what was done to get them."""

    regions: dict[Part, tuple[Region, ...]]
    splits: Splits
    notes: tuple[str, ...]
    """In words, for the result: how it was parted and what the pretraining had seen."""

    def bases(self, part: Part, label: int | None = None) -> int:
        """Bases of a part, of all classes or of one."""
        return sum(r.end - r.start for r in self.regions[part] if label in (None, r.label))


def part_genomes(genomes: Genomes, config: DataConfig, pretraining: Mapping[str, Any] | None) -> Parts:
    """Part the genomes, and hold the split against what the language model was pretrained on.

    Args:
        genomes: opened.
        config: how.
        pretraining: the `splits` that the language model's directory keeps, or None where it keeps none.

    Raises:
        InputError: as plan_splits; a class without bases in a part; a held-out base that was pretrained on.
    """
    before = None if pretraining is None else Splits.from_json(pretraining, "the model's splits")
    plan = config.split or _default_split(genomes)
    if genomes.homologs:
        known = dict(plan.homologs)
        plan = SplitConfig(**{**vars(plan), "homologs": {**genomes.homologs, **known}})
    families = families_of(genomes.assemblies, plan.homologs)
    if before is not None and config.split is None and not config.whole_loci and _knows(before, genomes):
        splits, notes = before, ["parted as the pretraining parted them"]
    elif config.whole_loci:
        splits, notes = _whole_loci(genomes, families, plan), ["whole loci dealt out by a hash of their names"]
    else:
        splits, notes = plan_splits(genomes.assemblies, plan), [f"parted by {plan.method}"]
    notes.append(_refuse_seen(splits, before, genomes))
    regions = _regions(genomes, families, splits)
    if config.individuals:
        regions, note = _individuals_apart(genomes, regions)
        notes.append(note)
    for part in PARTS:
        for label, name in enumerate(genomes.classes):
            if not any(region.label == label for region in regions[part]):
                raise InputError(
                    f"split: class {name!r} has no bases in the {part} part; every class wants some in each"
                )
    return Parts(regions, splits, tuple(notes))


def _default_split(genomes: Genomes) -> SplitConfig:
    """As pretraining parts genomes that nobody said how to part: simulated ones by contig, all others by fraction."""
    contigs = list(genomes.assemblies[0].sizes)
    simulated = all(assembly.attributes.get("simulated") for assembly in genomes.assemblies)
    if simulated and len(contigs) >= 3:
        return SplitConfig(method="contig", valid=(contigs[-2],), test=(contigs[-1],))
    return SplitConfig()


def _knows(splits: Splits, genomes: Genomes) -> bool:
    """Whether the split was made for all these genomes."""
    return all(splits.fingerprints.get(a.name) == a.fingerprint for a in genomes.assemblies)


def _whole_loci(genomes: Genomes, families: Sequence[Family], plan: SplitConfig) -> Splits:
    drawn = sorted(families, key=lambda family: hashlib.sha256(family.name.encode()).digest())
    test = round(plan.test_fraction * len(drawn))
    valid = round(plan.valid_fraction * len(drawn))
    dealt = {"test": drawn[:test], "valid": drawn[test : test + valid], "train": drawn[test + valid :]}
    parts: dict[str, tuple[SplitRegion, ...]] = {
        part: tuple(
            SplitRegion(locus.assembly, locus.contig, 0, locus.length)
            for family in dealt[part]
            for locus in family.loci
        )
        for part in PARTS
    }
    return Splits(parts, {assembly.name: assembly.fingerprint for assembly in genomes.assemblies})


def _refuse_seen(splits: Splits, before: Splits | None, genomes: Genomes) -> str:
    """Raise InputError where a held-out region was trained on before; say what is known of the others.

    Genomes are the same where their fingerprints are, whatever their names.
    """
    if before is None:
        return "the language model's directory does not say what it was trained on: it may have seen held-out loci"
    named = {fingerprint: name for name, fingerprint in before.fingerprints.items()}
    same = {a.name: named[a.fingerprint] for a in genomes.assemblies if a.fingerprint in named}
    trained: dict[tuple[str, str], list[SplitRegion]] = {}
    for region in before.parts["train"]:
        trained.setdefault((region.assembly, region.contig), []).append(region)
    for part in ("valid", "test"):
        for region in splits.parts[part]:
            if region.assembly not in same:
                continue
            for seen in trained.get((same[region.assembly], region.contig), ()):
                first, last = max(seen.start, region.start), min(seen.end, region.end)
                if first < last:
                    raise InputError(
                        f"split: {region.assembly}, {region.contig}:{first + 1:,}-{last:,} is in the {part} part, and "
                        "the language model was pretrained on it; leave data.split out to take the pretraining's own"
                    )
    unknown = [a.name for a in genomes.assemblies if a.name not in same]
    if not unknown:
        return "no held-out base was in the pretraining's training part: checked"
    shown = ", ".join(unknown[:6]) + (f" and {len(unknown) - 6} more" if len(unknown) > 6 else "")
    return f"the pretraining did not read {shown} under the same fingerprint: whether it saw these loci is not known"


def _regions(genomes: Genomes, families: Sequence[Family], splits: Splits) -> dict[Part, tuple[Region, ...]]:
    family_of = {(locus.assembly, locus.contig): family.name for family in families for locus in family.loci}
    index = {assembly.name: i for i, assembly in enumerate(genomes.assemblies)}
    made: dict[Part, tuple[Region, ...]] = {}
    for part in PARTS:
        rows: list[Region] = []
        number: dict[tuple[str, str], int] = {}
        for region in splits.parts[part]:
            place = (region.assembly, region.contig)
            if place not in family_of:  # a contig that is left out
                continue
            nth = number[place] = number.get(place, -1) + 1
            which = index[region.assembly]
            locus = f"{family_of[place]}/{nth}"
            rows.append(Region(genomes.label[which], which, region.contig, region.start, region.end, locus))
        made[part] = tuple(rows)
    return made


def _individuals_apart(
    genomes: Genomes, regions: Mapping[Part, Sequence[Region]]
) -> tuple[dict[Part, tuple[Region, ...]], str]:
    """Of a class with several individuals, keep a third (at least one) for the test and the others for the rest."""
    tested: set[int] = set()
    told = []
    for label, name in enumerate(genomes.classes):
        members = [i for i, one in enumerate(genomes.label) if one == label]
        if len(members) < 2:
            told.append(f"{name} 1")
            continue
        drawn = sorted(members, key=lambda i: hashlib.sha256(genomes.assemblies[i].fingerprint.encode()).digest())
        held = drawn[: max(1, len(drawn) // 3)]
        tested |= set(held)
        told.append(f"{name} {len(held)} of {len(drawn)}")
    alone = {i for i, label in enumerate(genomes.label) if genomes.label.count(label) == 1}
    kept: dict[Part, tuple[Region, ...]] = {
        part: tuple(r for r in regions[part] if r.assembly in alone or (r.assembly in tested) == (part == "test"))
        for part in PARTS
    }
    return kept, f"individuals of the test alone in it where a class has several: {', '.join(told)}"
