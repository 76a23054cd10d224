"""The genomes of a fine-tuning: which class each belongs to, and which of its contigs are used."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.contig_kinds import contig_kind
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.species.circles import common_origin, turned
from dnamamba.species.fasta_genome import FastaGenome, parse_labelled, read_genome
from dnamamba.species.finetune_config import DataConfig


class ChosenContigs:
    """An assembly of which only some contigs are there."""

    def __init__(self, assembly: AssemblyLike, contigs: Sequence[str]) -> None:
        self._assembly = assembly
        self._contigs = tuple(contigs)
        self.name = assembly.name

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self._assembly.attributes

    @property
    def sizes(self) -> dict[str, int]:
        sizes = self._assembly.sizes
        return {name: sizes[name] for name in self._contigs}

    @property
    def fingerprint(self) -> str:
        return self._assembly.fingerprint

    def __getitem__(self, key: tuple[str, slice]) -> NDArray[np.uint8]:
        return self._assembly[key]

    def n_count(self, contig: str) -> NDArray[np.uint16]:
        return self._assembly.n_count(contig)

    def resolve(self, name: str) -> str:
        found = self._assembly.resolve(name)
        if found not in self._contigs:
            raise InputError(f"{self.name}: contig {name!r} is left out of the fine-tuning")
        return found


@dataclass(frozen=True)
class Genomes:
    """What there is to train and measure on, before it is parted."""

    classes: tuple[str, ...]
    assemblies: tuple[AssemblyLike, ...]
    label: tuple[int, ...]
    """Class of each assembly."""
    homologs: dict[str, dict[str, str]]
    """Assembly -> contig -> locus, as the configuration says; empty where it says nothing."""
    left_out: dict[str, dict[str, int]]
    """Why -> assembly -> bases left out: what the controls did."""


def open_genomes(config: DataConfig, stores: Sequence[str]) -> Genomes:
    """Open stores and labelled files, give every genome its class, and leave out what gives the label away.

    Args:
        config: what to read.
        stores: `config.stores`, or the store that was simulated for the run.

    Raises:
        InputError: a class without a genome, a genome without contigs, names that do not match.
    """
    opened, label = _open(config, stores)
    classes = tuple(dict.fromkeys(label))
    if len(classes) < 2:
        raise InputError(f"want genomes of two classes or more, got {', '.join(classes) or 'none'}")
    left_out: dict[str, dict[str, int]] = {}
    homologs: dict[str, dict[str, str]] = {}
    chosen: list[AssemblyLike] = []
    for assembly in opened:
        names = _choose(assembly, config, left_out)
        if not names:
            raise InputError(f"{assembly.name}: none of its contigs is used ({_why(left_out, assembly.name)})")
        if config.one_locus or config.locus:
            homologs[assembly.name] = {name: _locus(assembly, name, config) for name in names}
        chosen.append(ChosenContigs(assembly, names))
    if config.circular:
        chosen = _turn(chosen, config.turn)
    return Genomes(classes, tuple(chosen), tuple(classes.index(one) for one in label), homologs, left_out)


def _open(config: DataConfig, stores: Sequence[str]) -> tuple[list[AssemblyLike], list[str]]:
    """All genomes and the class of each."""
    assemblies: list[AssemblyLike] = []
    for path in stores:
        from dnamamba.pipelines.store import open_store  # zarr takes 0.3 s to import

        store = open_store(path)
        assemblies += [store[name] for name in store.assemblies]
    names = [assembly.name for assembly in assemblies]
    label = list(names)
    if config.classes and stores:
        table = {assembly: name for name, members in config.classes.items() for assembly in members}
        unknown = [one for one in table if one not in names]
        if unknown:
            raise InputError(f"data.classes: no assembly {unknown[0]!r} in the stores; there are {', '.join(names)}")
        kept = [assembly for assembly in assemblies if assembly.name in table]
        assemblies, label = kept, [table[assembly.name] for assembly in kept]
    for text in config.fasta:
        name, path = parse_labelled(text, "data.fasta")
        number = sum(one == name for one in label)
        genome = read_genome(path, name if not number else f"{name}.{number + 1}", gaps=config.gaps)
        parts = _individuals(genome, number) if config.individuals else [genome]
        assemblies += parts
        label += [name] * len(parts)
    return assemblies, label


def _individuals(genome: FastaGenome, number: int) -> list[FastaGenome]:
    """One genome a record."""
    return [
        FastaGenome(f"{genome.name}.{number + i + 1}", {name: bases}, {name: genome.descriptions.get(name, "")})
        for i, (name, bases) in enumerate(genome.contigs.items())
    ]


def _choose(assembly: AssemblyLike, config: DataConfig, left_out: dict[str, dict[str, int]]) -> list[str]:
    kept = []
    for name, length in assembly.sizes.items():
        if config.contigs and not any(fnmatchcase(name, pattern) for pattern in config.contigs):
            reason: str | None = "not among data.contigs"
        elif length < max(1, config.shortest):
            reason = "shorter than data.shortest"
        else:
            reason = _gives_away(assembly, name, config)
        if reason is None:
            kept.append(name)
        else:
            bases = left_out.setdefault(reason, {})
            bases[assembly.name] = bases.get(assembly.name, 0) + length
    return kept


def _gives_away(assembly: AssemblyLike, name: str, config: DataConfig) -> str | None:
    kind = contig_kind(name, _description(assembly, name))
    if kind in config.exclude:
        return kind
    homolog = dict(assembly.attributes.get("homologs") or {}).get(name, "")
    is_y = re.fullmatch(r"(chr)?Y([_.].*)?", name) or homolog in ("hsaY", "chrY")
    return "Y" if is_y and "Y" in config.exclude else None


def _description(assembly: AssemblyLike, name: str) -> str:
    descriptions: dict[str, str] = getattr(assembly, "descriptions", {})
    return descriptions.get(name, "")


def _locus(assembly: AssemblyLike, name: str, config: DataConfig) -> str:
    if config.one_locus:
        return "locus"
    try:
        found = re.search(config.locus, f"{name} {_description(assembly, name)}")
    except re.error as error:
        raise InputError(f"data.locus: {config.locus!r} is no regular expression: {error}") from None
    if found is None:
        raise InputError(f"data.locus: {config.locus!r} finds nothing in the contig name {name!r} of {assembly.name}")
    return found[0]


def _turn(assemblies: Sequence[AssemblyLike], share: float) -> list[AssemblyLike]:
    """Turn every circle to the origin of the first one, and all of them by a share of it."""
    reference: NDArray[np.uint8] | None = None
    result: list[AssemblyLike] = []
    for assembly in assemblies:
        contigs = {}
        for name, length in assembly.sizes.items():
            circle = assembly[name, slice(0, length)]
            if reference is None:
                reference = turned(circle, round(share * length))
            contigs[name] = turned(circle, common_origin(reference, circle, f"{assembly.name}: {name}"))
        result.append(FastaGenome(assembly.name, contigs))
    return result


def _why(left_out: Mapping[str, Mapping[str, int]], name: str) -> str:
    return (
        "; ".join(f"{reason} {bases[name]:,} bases" for reason, bases in left_out.items() if name in bases) or "empty"
    )
