"""The corpus: the genomes of one or several stores, their weights and their split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnamamba.errors import InputError
from dnamamba.pipelines.splits import AssemblyLike, SplitConfig, Splits, plan_splits
from dnamamba.stretches import lay_stretches
from dnamamba.windows import Source


@dataclass(frozen=True)
class Group:
    """Assemblies that are sampled as one, every base as likely as any other."""

    name: str
    """For messages: the store or stores."""
    assemblies: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class Corpus:
    """Everything that windows are cut from. Picklable; the assemblies open their files lazily in each process."""

    assemblies: tuple[AssemblyLike, ...]
    """Of all stores; a `Piece` refers to them by index."""
    groups: tuple[Group, ...]
    splits: Splits

    def sources(self, context: int, *, part: str = "train", leave_n_out: bool = True) -> tuple[Source, ...]:
        """One source of windows a group, for windows of `context` bases from a part of the split."""
        sources = []
        for group in self.groups:
            regions = [region for region in self.splits.parts[part] if region.assembly in group.assemblies]
            stretches = lay_stretches(self.assemblies, regions, context, leave_n_out=leave_n_out)
            sources.append(Source(group.name, stretches, group.weight))
        return tuple(sources)


def parse_store(text: str) -> tuple[str, float | None]:
    """Read `STORE[:WEIGHT]`. A colon that no number follows belongs to the address, as in s3://bucket/apes.zarr.

    Raises:
        InputError: a weight that is not above 0.
    """
    address, colon, weight = text.rpartition(":")
    if not colon or not address or "/" in weight:
        return text, None
    try:
        value = float(weight)
    except ValueError:
        return text, None
    if not 0 < value < float("inf"):
        raise InputError(f"store {text!r}: its weight must be above 0, got {weight}")
    return address, value


def open_corpus(
    stores: Sequence[str], split: SplitConfig | Splits, *, assembly_weights: Mapping[str, float] | None = None
) -> Corpus:
    """Open stores and part their genomes.

    Args:
        stores: `STORE[:WEIGHT]` each.
        split: how to part them, or the finished split of an earlier run.
        assembly_weights: see build_corpus.

    Raises:
        InputError: as open_store, plan_splits and build_corpus.
    """
    from dnamamba.pipelines.store import open_store  # zarr takes 0.3 s to import

    if not stores:
        raise InputError("no store to read: give at least one")
    opened: list[tuple[str, Sequence[AssemblyLike], float | None]] = []
    for text in stores:
        address, weight = parse_store(text)
        store = open_store(address)
        opened.append((address, [store[name] for name in store.assemblies], weight))
    return build_corpus(opened, split, assembly_weights=assembly_weights)


def build_corpus(
    stores: Sequence[tuple[str, Sequence[AssemblyLike], float | None]],
    split: SplitConfig | Splits,
    *,
    assembly_weights: Mapping[str, float] | None = None,
) -> Corpus:
    """Make a corpus of open assemblies.

    Args:
        stores: name, assemblies and weight of each. With no weight at all every base of every store is equally likely;
            with weights each store gets its share of the windows, and within it every base is equally likely.
        split: how to part them, or a finished split, which must have been made for the same sequence.
        assembly_weights: assembly -> weight, all of them named: overrides the stores' weights.

    Raises:
        InputError: a store without assemblies, weights for some stores only, a weight that is not above 0, assembly
            weights that miss one or name another, or anything plan_splits refuses.
    """
    assemblies = tuple(assembly for _, members, _ in stores for assembly in members)
    for name, members, _ in stores:
        if not members:
            raise InputError(f"{name}: the store holds no assembly")
    weights = [weight for _, _, weight in stores]
    if None in weights and any(weight is not None for weight in weights):
        lacking = next(name for name, _, weight in stores if weight is None)
        raise InputError(f"{lacking}: give every store a weight (STORE:WEIGHT) or none of them")
    if assembly_weights:
        names = [assembly.name for assembly in assemblies]
        if sorted(assembly_weights) != sorted(names):
            raise InputError(
                f"assembly weights: want one for each of {', '.join(names)}, got {', '.join(assembly_weights)}"
            )
        groups = tuple(Group(name, (name,), weight) for name, weight in assembly_weights.items())
    elif None in weights:
        groups = (Group(", ".join(name for name, _, _ in stores), tuple(a.name for a in assemblies), 1.0),)
    else:
        groups = tuple(Group(name, tuple(a.name for a in members), weight or 0.0) for name, members, weight in stores)
    for group in groups:
        if not 0 < group.weight < float("inf"):
            raise InputError(f"{group.name}: its weight must be above 0, got {group.weight:g}")
    if isinstance(split, SplitConfig):
        split = plan_splits(assemblies, split)
    else:
        split.check(assemblies)
    return Corpus(assemblies, groups, split)
