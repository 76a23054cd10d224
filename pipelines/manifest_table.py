"""Manifests as tables for people and as a document for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dnamamba.pipelines.manifest import UNKNOWN, Manifest
from dnamamba.pipelines.text_table import aligned


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """Everything a manifest says, for JSON; what is unknown is null."""
    return asdict(manifest)


def manifests_table(manifests: Sequence[Manifest]) -> str:
    """One line an assembly. File sizes are those of the preferred file."""
    header = ("name", "species", "accession", "sex", "bases", "contigs listed", "with bases", "file", "bytes")
    rows = [
        (
            one.name,
            f"{one.species} ({one.common_name})",
            one.accession,
            one.sex,
            _number(one.bases),
            f"{len(one.contigs):,}",
            f"{sum(contig.length for contig in one.contigs):,}",
            one.files[0].format,
            _number(one.files[0].size),
        )
        for one in manifests
    ]
    return "\n".join(aligned([header, *rows], left=(0, 1, 2, 3, 7)))


def contigs_table(manifest: Manifest) -> str:
    """All that a manifest says: facts, files, and one line a contig."""
    facts = {
        "species": f"{manifest.species} ({manifest.common_name})",
        "title": manifest.title,
        "accession": manifest.accession,
        "sex": manifest.sex,
        "licence": manifest.licence,
        "bases": _number(manifest.bases),
    }
    lines = [manifest.name, *(f"  {key:<11}{value}" for key, value in facts.items()), ""]
    for file in manifest.files:
        lines.append(f"  {file.format}, {_number(file.size)} bytes, md5 {file.md5 or UNKNOWN}")
        lines += [f"    {url}" for url in file.urls]
    header = ("contig", "bases", "kind", "homolog", "aliases")
    rows = [(c.name, f"{c.length:,}", c.kind, c.homolog or "-", ", ".join(c.aliases)) for c in manifest.contigs]
    return "\n".join([*lines, "", *aligned([header, *rows], left=(0, 2, 3, 4))])


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"
