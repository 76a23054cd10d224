"""A split of the genomes of some stores: planned, counted, looked through for leaks, and written for pretraining."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dnamamba.config import to_dict
from dnamamba.corpus import parse_store
from dnamamba.errors import InputError, UsageError
from dnamamba.files import write_whole
from dnamamba.pipelines.leaks import Overlap, find_leaks
from dnamamba.pipelines.split_presets import preset_split
from dnamamba.pipelines.splits import PARTS, AssemblyLike, SplitConfig, SplitRegion, Splits, plan_splits
from dnamamba.pipelines.text_table import aligned

LEAKS_SHOWN = 20


@dataclass
class SplitReport:
    """A planned split and what there is to say of it."""

    assemblies: list[AssemblyLike]
    config: SplitConfig
    splits: Splits
    moved: list[str]
    """What a preset moved to keep homologs together, a sentence each."""
    leaks: list[Overlap] | None = field(default=None)
    """Of every held-out region; None: not looked for."""

    def document(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        rows = {one.name: _counts(one.sizes, self.splits, one.name) for one in self.assemblies}
        data: dict[str, Any] = {"split": _stated(self.config), "moved": self.moved, "assemblies": rows}
        if self.leaks is not None:
            data["leaks"] = [
                {"part": row.part, **row.region._asdict(), "kmers": row.kmers, "shared": round(row.shared, 6)}
                for row in self.leaks
            ]
        return data

    def table(self) -> str:
        """Bases, share of the genome and contigs of every part, a line a genome and part; then the leaks."""
        rows: list[tuple[str, ...]] = [("assembly", "part", "bases", "share", "contigs")]
        for name, parts in self.document()["assemblies"].items():
            rows += [
                (name, part, f"{one['bases']:,}", f"{one['share']:.1%}", f"{one['contigs']:,}")
                for part, one in parts.items()
            ]
        lines = [*self.moved, *aligned(rows, left=(0, 1))]
        if self.leaks is not None:
            lines += ["", "share of a held-out region's 31-mers that the training part has too:"]
            found: list[tuple[str, ...]] = [("part", "assembly", "contig", "bases", "31-mers", "shared")]
            found += [_leak_row(row) for row in self.leaks[:LEAKS_SHOWN]]
            lines += aligned(found, left=(0, 1, 2))
            if len(self.leaks) > LEAKS_SHOWN:
                lines.append(f"and {len(self.leaks) - LEAKS_SHOWN:,} more regions that share less")
        return "\n".join(lines)

    def look_for_leaks(self, progress: Callable[[str, int, int | None], None] | None = None) -> None:
        """Fill `leaks`: reads every base of the split."""
        self.leaks = find_leaks(self.assemblies, self.splits, progress)

    def leaking(self, most: float) -> list[Overlap]:
        """The held-out regions that share more than `most` of their 31-mers with the training part."""
        return [row for row in self.leaks or [] if row.shared > most]

    def write(self, path: Path) -> list[Path]:
        """Write the split for `pretrain`: YAML with a `split:` section, or BED.

        Returns:
            What was written: one BED a genome, PATH.bed for one and PATH.NAME.bed for several.

        Raises:
            InputError: another ending than .yaml, .yml or .bed, or a folder that cannot be written to.
        """
        texts: dict[Path, str]
        if path.suffix in (".yaml", ".yml"):
            texts = {path: yaml.safe_dump({"split": _stated(self.config)}, sort_keys=False, allow_unicode=True)}
        elif path.suffix == ".bed":
            names = [one.name for one in self.assemblies]
            places = {name: path if len(names) == 1 else path.with_suffix(f".{name}.bed") for name in names}
            texts = {place: _bed(name, self.splits) for name, place in places.items()}
        else:
            raise UsageError(f"--out {path}: want a name that ends in .yaml or .bed")
        for place, text in texts.items():
            try:
                write_whole(place, text)
            except OSError as error:
                raise InputError(f"--out {place}: cannot be written: {error.strerror or error}") from None
        return list(texts)


def report_split(stores: Sequence[str], config: SplitConfig, preset: str | None = None) -> SplitReport:
    """Open stores and plan the split of all their genomes.

    Args:
        stores: STORE or STORE:WEIGHT each, as for pretraining.
        config: how to part them; of a preset, its `homologs` alone count.
        preset: name of a published split (pipelines/split_presets.py).

    Raises:
        InputError: as open_store, preset_split and plan_splits.
    """
    from dnamamba.pipelines.store import open_store

    opened = [open_store(parse_store(text)[0]) for text in stores]
    for store in opened:
        if not store.assemblies:
            raise InputError(f"{store.location}: the store holds no assembly")
    assemblies: list[AssemblyLike] = [store[name] for store in opened for name in store.assemblies]
    moved: list[str] = []
    if preset is not None:
        config, moved = preset_split(preset, assemblies, config)
    return SplitReport(assemblies, config, plan_splits(assemblies, config), moved)


def _counts(sizes: Mapping[str, int], splits: Splits, assembly: str) -> dict[str, dict[str, Any]]:
    whole = sum(sizes.values())
    counts: dict[str, dict[str, Any]] = {}
    used: set[str] = set()
    for part in PARTS:
        contigs = {region.contig for region in splits.parts[part] if region.assembly == assembly}
        used |= contigs
        counts[part] = {"bases": splits.bases(part, assembly), "contigs": len(contigs)}
    rest = whole - sum(row["bases"] for row in counts.values())
    counts["unused"] = {"bases": rest, "contigs": sum(1 for name, n in sizes.items() if n and name not in used)}
    return {part: {**row, "share": row["bases"] / whole if whole else 0.0} for part, row in counts.items()}


def _stated(config: SplitConfig) -> dict[str, Any]:
    """The config as plain data: the method, and what differs from the default."""
    plain, default = to_dict(config), asdict(SplitConfig())
    kept = {key: value for key, value in plain.items() if value != to_dict(default[key])}
    return {"method": config.method, **kept}


def _bed(assembly: str, splits: Splits) -> str:
    rows: list[tuple[SplitRegion, str]] = [
        (region, part) for part in PARTS for region in splits.parts[part] if region.assembly == assembly
    ]
    odd = next((one.contig for one, _ in rows if one.contig.startswith("#")), None)
    if odd is not None:
        raise InputError(f"contig {odd!r} of {assembly}: a BED line that begins with # is a comment; write NAME.yaml")
    return "".join(f"{one.contig}\t{one.start}\t{one.end}\t{part}\n" for one, part in rows)


def _leak_row(row: Overlap) -> tuple[str, ...]:
    where = row.region
    bases = f"{where.start + 1:,}-{where.end:,}"
    return row.part, where.assembly, where.contig, bases, f"{row.kmers:,}", f"{row.shared:.1%}"
