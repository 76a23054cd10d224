"""What a store holds, as a document and as a table for people."""

from typing import Any

from dnamamba.pipelines.store import Assembly, GenomeStore
from dnamamba.pipelines.store_metadata import contig_row


def store_document(store: GenomeStore, assemblies: list[Assembly]) -> dict[str, Any]:
    """Everything the store says about some of its assemblies, for JSON: attributes as stored, contig tables and all."""
    return {
        "store": store.location,
        "format": store.attributes["format"],
        "version": store.attributes["version"],
        "assemblies": [
            {**assembly.attributes, "contigs": [contig_row(contig) for contig in assembly.contigs]}
            for assembly in assemblies
        ],
    }


def store_table(store: GenomeStore, assemblies: list[Assembly], contigs: int) -> str:
    """The same as text.

    Args:
        store: opened.
        assemblies: of it, those to show.
        contigs: how many contigs of each, the longest first.
    """
    there = len(store.assemblies)
    title = f"{store.location}: {store.attributes['format']} version {store.attributes['version']}, {there} assemblies"
    if store.unfinished:
        title += f"\nbeing written, or interrupted and waiting for --resume: {', '.join(store.unfinished)}"
    return "\n\n".join([title, *(_assembly(assembly, contigs) for assembly in assemblies)])


def _assembly(assembly: Assembly, contigs: int) -> str:
    facts = assembly.attributes
    bases = facts["bases"]
    masked = "soft-masked" if facts["lower_bases"] else "not soft-masked"
    source = facts["source"]
    origin = [source["name"], source["format"]]
    if source.get("size") is not None:
        origin += [f"{source['size']:,} bytes", f"sha256 {source['sha256']}"]
    rows = {
        "contigs": f"{len(assembly.contigs):,}",
        "bases": f"{bases:,}",
        "N": f"{facts['n_bases']:,} ({facts['n_bases'] / bases:.2%})",
        "lower case": f"{facts['lower_bases']:,} ({facts['lower_bases'] / bases:.2%}): {masked}",
        "simulated": "YES: made by a program, no real DNA" if facts["simulated"] else "no",
        "source": ", ".join(origin),
        "made": f"{facts['created']}, dnamamba {facts['package_version']}",
        "layout": f"{facts['layout']}, {assembly.chunk:,} bases a chunk",
        "fingerprint": assembly.fingerprint,
    }
    lines = [assembly.name, *(f"  {key:<12}{value}" for key, value in rows.items()), ""]
    longest = sorted(assembly.contigs, key=lambda contig: -contig.length)[:contigs]
    width = max([len(contig.name[:40]) for contig in longest], default=0)
    for contig in longest:
        name = f"{contig.name[:40]:<{width}}"
        lines.append(f"  {name}  {contig.length:>13,}  N {contig.n_bases:>11,}  {contig.refget}  M5 {contig.md5}")
    if len(longest) < len(assembly.contigs):
        lines.append(f"  and {len(assembly.contigs) - len(longest):,} more")
    # A store may come from anywhere: nothing in it may steer the terminal.
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)
