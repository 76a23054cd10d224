"""Splits: which DNA is trained on, which is held out. The same loci in every species, each base in at most one part."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.contig_names import homologs_of
from dnamamba.pipelines.homology import Family, find_families
from dnamamba.pipelines.homology_check import refuse_parted_families
from dnamamba.pipelines.split_bed import merge_intervals, read_split_bed
from dnamamba.pipelines.split_contig import part_of_contigs

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")


WHOLE_BELOW = 2**13
"""Contigs shorter than this are not cut by fraction but dealt out whole, when there are enough of them."""


class AssemblyLike(Protocol):
    """What splits and windows need of a genome; a store's `Assembly` is one."""

    name: str

    @property
    def attributes(self) -> Mapping[str, Any]: ...
    @property
    def sizes(self) -> dict[str, int]: ...
    @property
    def fingerprint(self) -> str: ...
    def __getitem__(self, key: tuple[str, slice]) -> NDArray[np.uint8]: ...
    def n_count(self, contig: str) -> NDArray[np.uint16]: ...
    def resolve(self, name: str) -> str: ...


class SplitRegion(NamedTuple):
    """Consecutive bases of one contig; 0-based, half-open."""

    assembly: str
    contig: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How DNA is parted. A base in no part is not used."""

    method: Literal["fraction", "contig", "bed"] = "fraction"
    """fraction: of every contig, the same stretch in every species; contig: whole contigs; bed: a file."""
    valid_fraction: float = 0.1
    """fraction: share of every contig held out for validation, after the training part."""
    test_fraction: float = 0.1
    """fraction: share at the end of every contig held out for the test."""
    margin: int = 2**14
    """fraction: bases left unused between two parts; at most a quarter of the shorter held-out part. Between species
    the margin grows to the largest difference in length of the homologous contigs."""
    valid: tuple[str, ...] = ()
    """contig: names or patterns ("chr1", "chr1[0-3]", "gorGor6:chr4"). A name is a homolog (human number) where
    homologs are known."""
    test: tuple[str, ...] = ()
    """contig: as `valid`. Everything that matches neither is trained on."""
    bed: tuple[str, ...] = ()
    """bed: files with train, valid or test in the fourth column; "assembly=file" where there are several assemblies.
    Those of one assembly are read together."""
    homologs: dict[str, dict[str, str]] = field(default_factory=dict)
    """assembly -> contig or pattern -> homolog: a name that several genomes share, such as hsa5, hsa17x5 or ENm001.
    Those of genomes made from a manifest are known."""

    def __post_init__(self) -> None:
        for key in ("valid_fraction", "test_fraction"):
            if not 0 <= getattr(self, key) < 1:
                raise InputError(f"split.{key}: want at least 0 and below 1, got {getattr(self, key):g}")
        if self.valid_fraction + self.test_fraction >= 1:
            raise InputError("split.valid_fraction and split.test_fraction: together they leave nothing to train on")
        if self.margin < 0:
            raise InputError(f"split.margin: want 0 bases or more, got {self.margin}")
        if self.method == "contig" and not (self.valid or self.test):
            raise InputError("split.valid and split.test: method contig wants at least one name or pattern")
        if self.method == "bed" and not self.bed:
            raise InputError("split.bed: method bed wants a file")


@dataclass(frozen=True)
class Splits:
    """A finished split. Stored with the model."""

    parts: dict[str, tuple[SplitRegion, ...]]
    """"train", "valid" and "test", each sorted as the assemblies and contigs were given."""
    fingerprints: dict[str, str]
    """assembly -> fingerprint of its content when the split was made."""

    def bases(self, part: str, assembly: str | None = None) -> int:
        """Bases in a part, of all assemblies or of one."""
        return sum(r.end - r.start for r in self.parts[part] if assembly in (None, r.assembly))

    @property
    def digest(self) -> str:
        """Of all that the split says; two with the same one part the same genomes in the same way."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def check(self, assemblies: Iterable[AssemblyLike]) -> None:
        """Raise InputError when an assembly is not the one that this split was made for, or has less than it says."""
        sizes = {}
        for assembly in assemblies:
            sizes[assembly.name] = assembly.sizes
            made_for = self.fingerprints.get(assembly.name)
            if made_for is None:
                raise InputError(
                    f"the split knows no assembly {assembly.name!r}; it was made for {', '.join(self.fingerprints)}"
                )
            if made_for != assembly.fingerprint:
                raise InputError(
                    f"assembly {assembly.name!r} has other sequence than when the split was made: split it anew"
                )
        for region in (region for regions in self.parts.values() for region in regions if region.assembly in sizes):
            length = sizes[region.assembly].get(region.contig, 0)
            if not 0 <= region.start < region.end <= length:
                raise InputError(
                    f"the split has bases {region.start:,}-{region.end:,} of {region.assembly} {region.contig}, which "
                    f"has {length:,}: it is damaged; split the genomes anew"
                )

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; `from_json` reads it back."""
        return {
            "format": "dnamamba-splits-1",
            "fingerprints": dict(self.fingerprints),
            "parts": {part: [list(region) for region in regions] for part, regions in self.parts.items()},
        }

    @staticmethod
    def from_json(data: Mapping[str, Any], where: str = "splits") -> "Splits":
        """Read what `to_json` wrote. Raises InputError when it is something else."""
        try:
            if data["format"] != "dnamamba-splits-1":
                raise InputError(f"{where}: format {data['format']!r}, this version reads 'dnamamba-splits-1'")
            parts = {
                str(part): tuple(SplitRegion(str(a), str(c), int(s), int(e)) for a, c, s, e in data["parts"][part])
                for part in PARTS
            }
            return Splits(parts, {str(name): str(value) for name, value in data["fingerprints"].items()})
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where}: not a split: {error!r}") from None


def plan_splits(assemblies: Sequence[AssemblyLike], config: SplitConfig) -> Splits:
    """Part the genomes.

    Args:
        assemblies: with distinct names.
        config: how.

    Returns:
        The split, the same for the same names, lengths and config.

    Raises:
        InputError: two assemblies of one name, nothing matches, a part that was asked for is empty, or homologous loci
            would come to lie in different parts.
    """
    sizes = {assembly.name: dict(assembly.sizes) for assembly in assemblies}
    families = families_of(assemblies, config.homologs)
    if config.method == "fraction":
        labelled = _by_fraction(families, config)
    elif config.method == "contig":
        resolve = {assembly.name: assembly.resolve for assembly in assemblies}
        parted = part_of_contigs(families, {"valid": config.valid, "test": config.test}, resolve)
        labelled = [(part, SplitRegion(one.assembly, one.contig, 0, one.length)) for part, one in parted if one.length]
    else:
        labelled = _by_bed(assemblies, config)
    order = {(name, contig): i for i, (name, contig) in enumerate((n, c) for n, cs in sizes.items() for c in cs)}
    labelled.sort(key=lambda one: (order[one[1].assembly, one[1].contig], one[1].start))
    parts: dict[str, tuple[SplitRegion, ...]] = {
        part: tuple(region for label, region in labelled if label == part) for part in PARTS
    }
    refuse_parted_families(families, labelled)
    _refuse_empty(parts, sizes, config)
    return Splits(parts, {assembly.name: assembly.fingerprint for assembly in assemblies})


def refuse_twice(assemblies: Sequence[AssemblyLike], why: str) -> None:
    """Raise InputError, which says why, where two assemblies have one name."""
    names = [assembly.name for assembly in assemblies]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"assembly {twice!r} is there twice; {why}")


def families_of(
    assemblies: Sequence[AssemblyLike], homologs: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[Family, ...]:
    """Group the contigs of all assemblies by homology: the user's table, else the stores' own, else names.

    Raises:
        InputError: two assemblies of one name, or as find_families.
    """
    refuse_twice(assemblies, "each must have a name of its own, so that a split can name it")
    sizes = {assembly.name: assembly.sizes for assembly in assemblies}
    return find_families(sizes, homologs or {}, {assembly.name: homologs_of(assembly) for assembly in assemblies})


Labelled = list[tuple[str, SplitRegion]]


def _whole(part: str, family: Family) -> Labelled:
    return [(part, SplitRegion(locus.assembly, locus.contig, 0, locus.length)) for locus in family.loci if locus.length]


def _shortest(family: Family) -> int:
    return min(locus.length for locus in family.main)


def _by_fraction(families: Sequence[Family], config: SplitConfig) -> Labelled:
    """Cut every contig at the same fractions; families too short or too unlike for that go to one part whole.

    Pieces of a chromosome that is cut are left out: which part they are homologous to is not known.
    """
    labelled: Labelled = []
    short = [_shortest(family) < WHOLE_BELOW for family in families]
    deal = sum(short) >= 3
    uncut = [family for family, is_short in zip(families, short, strict=True) if deal and is_short]
    for family in (family for family, is_short in zip(families, short, strict=True) if not (deal and is_short)):
        spread = max(locus.length for locus in family.main) - _shortest(family)
        held = [fraction * _shortest(family) for fraction in (config.valid_fraction, config.test_fraction) if fraction]
        margin = max(min(config.margin, int(min(held, default=0) / 4)), spread)
        if not family.collinear or (held and 2 * margin > min(held)):
            uncut.append(family)
            continue
        for locus in family.main:
            to_valid = round(locus.length * (1 - config.valid_fraction - config.test_fraction))
            to_test = round(locus.length * (1 - config.test_fraction))
            after_train = margin if to_valid < to_test else 0
            for part, start, end in (
                ("train", 0, to_valid),
                ("valid", to_valid + after_train, to_test),
                ("test", to_test + (margin if to_test < locus.length else 0), locus.length),
            ):
                if start < end:
                    labelled.append((part, SplitRegion(locus.assembly, locus.contig, start, end)))
    return labelled + _deal_whole(uncut, config)


def _deal_whole(families: Sequence[Family], config: SplitConfig) -> Labelled:
    """Give whole families to the test, then to validation, in an order drawn from their names, until each has its
    share.

    The largest family is trained on, and so are all of them when there are fewer than three.
    """

    def bases(family: Family) -> int:
        return sum(locus.length for locus in family.loci)

    drawn = sorted(families, key=lambda one: hashlib.sha256(one.name.encode()).digest())
    labelled: Labelled = []
    if len(drawn) >= 3:
        largest = max(drawn, key=lambda one: (bases(one), one.name))
        drawn.remove(largest)
        labelled += _whole("train", largest)
        rest = sum(map(bases, drawn))  # one giant family must not make all the others its held-out share
        for part, fraction in (("test", config.test_fraction), ("valid", config.valid_fraction)):
            got = 0
            while drawn and got < fraction * rest:
                family = drawn.pop()
                got += bases(family)
                labelled += _whole(part, family)
    for family in drawn:
        labelled += _whole("train", family)
    return labelled


def _by_bed(assemblies: Sequence[AssemblyLike], config: SplitConfig) -> Labelled:
    by_name = {assembly.name: assembly for assembly in assemblies}
    files: dict[str, list[Path]] = {}
    for entry in config.bed:
        assembly, equals, path = entry.partition("=")
        if equals and assembly in by_name:
            files.setdefault(assembly, []).append(Path(path))
        elif len(by_name) == 1:
            files.setdefault(next(iter(by_name)), []).append(Path(entry))
        else:
            raise InputError(
                f"split.bed: {entry!r}: with several assemblies want assembly=file, one of {', '.join(by_name)}"
            )
    missing = [assembly for assembly in by_name if assembly not in files]
    if missing:
        raise InputError(f"split.bed: no file for assembly {missing[0]!r}; want {missing[0]}=FILE.bed")
    return [
        (one.part, SplitRegion(assembly, one.contig, one.start, one.end))
        for assembly, paths in files.items()
        for one in merge_intervals(
            [
                interval
                for path in paths
                for interval in read_split_bed(path, by_name[assembly].sizes, by_name[assembly].resolve)
            ]
        )
    ]


def _refuse_empty(
    parts: Mapping[str, Sequence[SplitRegion]], sizes: Mapping[str, Mapping[str, int]], config: SplitConfig
) -> None:
    asked = {
        "fraction": {"train": True, "valid": config.valid_fraction > 0, "test": config.test_fraction > 0},
        "contig": {"train": True, "valid": bool(config.valid), "test": bool(config.test)},
        "bed": {"train": True, "valid": False, "test": False},
    }[config.method]
    for part, wanted in asked.items():
        if wanted and not parts[part]:
            there = [f"{assembly}:{contig}" for assembly, contigs in sizes.items() for contig in contigs]
            shown = ", ".join(there[:8]) + (f" and {len(there) - 8:,} more" if len(there) > 8 else "")
            patterns = ", ".join((*config.valid, *config.test)) if config.method == "contig" else ""
            rule = f"held out: {patterns}" if patterns else f"split.method {config.method}"
            raise InputError(
                f"split: the {part} part is empty ({rule}; contigs: {shown}); name contigs or a BED file that leave "
                "it some"
            )
