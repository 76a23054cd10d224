"""The other names of contigs, and their human homologs, from the manifest of an assembly.

An accession with its version names one exact sequence, "chr1" does not: a manifest is believed only where lengths
agree.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

from dnamamba.errors import InputError, InputWarning
from dnamamba.pipelines.alias_files import aliases_by
from dnamamba.pipelines.manifest import Manifest, ManifestContig, find_manifest


class AssemblyLike(Protocol):
    """What is asked of an assembly here; one of a store has it."""

    name: str

    @property
    def attributes(self) -> Mapping[str, Any]: ...

    @property
    def sizes(self) -> dict[str, int]: ...


def match_contigs(manifest: Manifest, sizes: Mapping[str, int]) -> dict[str, ManifestContig]:
    """Find the contigs of an assembly in its manifest, under whichever of their names they go.

    Args:
        manifest: of the assembly.
        sizes: name -> bases of the contigs that are there; they may be some of the manifest's, and others too.

    Returns:
        Name -> row of the manifest, for every contig that it lists.

    Raises:
        InputError: a contig has another length there, two are one contig of the manifest, or none is listed.
    """
    by_name = {name: row for row in manifest.contigs for name in (row.name, *row.aliases)}
    matched: dict[str, ManifestContig] = {}
    taken: dict[str, str] = {}
    for name, length in sizes.items():
        row = by_name.get(name)
        if row is None:
            continue
        check_length(name, length, row, manifest)
        if row.name in taken:
            raise InputError(f"contigs {taken[row.name]!r} and {name!r} are one in the manifest {manifest.name!r}")
        taken[row.name] = name
        matched[name] = row
    if manifest.contigs and not matched:
        raise InputError(
            f"no contig is one of the manifest {manifest.name!r}: here are {_some(sizes)}; "
            f"there, {_some([row.name for row in manifest.contigs])}"
        )
    return matched


def check_length(name: str, length: int, row: ManifestContig, manifest: Manifest, label: str = "") -> None:
    """
    Raises:
        InputError: a contig has not the length that its row in the manifest says; `label` names its source.
    """
    if length != row.length:
        raise InputError(
            f"{label}{': ' if label else ''}contig {name!r} has {length:,} bases, and {row.length:,} in the manifest "
            f"{manifest.name!r}: this is another assembly"
        )


def named(attributes: Mapping[str, Any], assembly: str, sizes: Mapping[str, int], label: str) -> dict[str, Any]:
    """Complete an assembly's attributes by the other names and the homologs of its contigs.

    Args:
        attributes: of the assembly, among them `simulated`; `aliases`, {alias: contig}, go before all others; then come
            `synonyms`, the rows of a table, and `manifest`, which the contigs must fit. Without a manifest it is that
            of the assembly's name, where there is one and it fits.
        assembly: its name.
        sizes: name -> bases of its contigs.
        label: the source's name in messages.

    Returns:
        The attributes without `synonyms`, with all `aliases`, the `homologs`, and in `manifest` the name of the one
        that was used, or None.

    Raises:
        InputError: the assembly does not fit `manifest` or `synonyms`, or an alias is the name of another contig. Where
            it does not fit the manifest that its name suggests, a warning is given and that manifest left alone.
    """
    given = {alias: name for alias, name in attributes["aliases"].items() if name in sizes and alias != name}
    for alias, name in given.items():
        if alias in sizes:
            raise InputError(f"alias {alias!r} of contig {name!r} is the name of another contig; leave it out")
    rows = attributes.get("synonyms", ())
    tabled = aliases_by(rows, sizes) if rows else {}
    manifest = known = attributes.get("manifest")
    if known is None and not attributes["simulated"]:
        known = find_manifest(assembly)
    try:
        matched = match_contigs(known, sizes) if known is not None else {}
    except InputError as error:
        if manifest is not None:
            raise InputError(f"{label}: {error}") from None
        warnings.warn(
            f"{label}: {error}; its aliases and homologs are not put into the store", InputWarning, stacklevel=1
        )
        known, matched = None, {}
    return {
        **{key: value for key, value in attributes.items() if key != "synonyms"},
        "aliases": {**aliases_of(matched), **tabled, **given},
        "homologs": {name: row.homolog for name, row in matched.items() if row.homolog is not None},
        "manifest": known.name if known is not None else None,
    }


def aliases_of(matched: Mapping[str, ManifestContig]) -> dict[str, str]:
    """Alias -> contig, for matched contigs of an assembly; `match_contigs` lets no alias be the name of another one."""
    return {alias: name for name, row in matched.items() for alias in (row.name, *row.aliases) if alias != name}


def homologs_of(assembly: AssemblyLike) -> dict[str, str]:
    """Human homologs of an assembly's contigs: contig -> label, such as {"chr2_hap1_hsa3": "hsa3"}.

    They are those that the store keeps; of a store made without them, those of the manifest of the assembly's name, if
    there is one and its lengths agree. Contigs without a known homolog are left out.
    """
    stored = assembly.attributes.get("homologs")
    if stored:
        return dict(stored)
    manifest = None if assembly.attributes.get("simulated") else find_manifest(assembly.name)
    if manifest is None:
        return {}
    try:
        matched = match_contigs(manifest, assembly.sizes)
    except InputError:  # another assembly of that name
        return {}
    return {name: row.homolog for name, row in matched.items() if row.homolog is not None}


def _some(names: Any) -> str:
    shown = list(names)[:5]
    return ", ".join(shown) + (" .." if len(names) > len(shown) else "")
