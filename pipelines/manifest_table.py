"""Manifests as tables for people and as a document for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dnamamba.pipelines.manifest import UNKNOWN, Manifest


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
    return _table(header, rows, right=(4, 5, 6, 8))


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
    return "\n".join([*lines, "", _table(header, rows, right=(1,))])


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )
