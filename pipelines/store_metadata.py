"""Reading a store's metadata with suspicion: every number is checked before anything is read with it."""

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dnamamba.errors import InputError
from dnamamba.pipelines.store_format import (
    BASES_PER_BYTE,
    CHUNK_BITS,
    COLUMNS,
    FORMAT,
    LAYOUTS,
    N_BLOCK,
    RUNS,
    SHARD_BITS,
    SMALL,
    VERSION,
    Contig,
    Layout,
    LayoutName,
    array_of,
    contigs_checksum,
    contigs_fingerprint,
    plain_document,
    sequence_document,
)

_FIELDS = {field.name: field.type for field in fields(Contig)}


@dataclass(frozen=True)
class AssemblyMetadata:
    """What the documents of one assembly say, checked. `span` is its length in bases, padding included."""

    attributes: dict[str, Any]
    contigs: tuple[Contig, ...]
    layout: Layout
    span: int
    lengths: dict[str, int]
    """Of the small arrays, along their first axis."""
    layout_name: LayoutName


def parse_document(data: bytes, where: str) -> dict[str, Any]:
    """Read a zarr.json.

    Raises:
        InputError: it is no JSON object, or not of Zarr v3.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: damaged, this is no JSON ({error})") from None
    if not isinstance(document, dict) or document.get("zarr_format") != 3:
        raise InputError(f"{where}: not a Zarr v3 document")
    return document


def check_attributes(document: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the attributes of a group of ours.

    Raises:
        InputError: another format, or a version that this package does not know.
    """
    attributes = document.get("attributes")
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise InputError(f"{where}: not a genome store (attribute format is not {FORMAT!r})")
    if attributes.get("version") != VERSION:
        raise InputError(
            f"{where}: format version {attributes.get('version')!r}, this package reads version {VERSION};"
            " update dnamamba or ingest again"
        )
    return attributes


def check_layout(group: dict[str, Any], where: str) -> LayoutName:
    """The layout that an assembly says it has.

    Args:
        group: zarr.json of the assembly.
        where: its folder or address, for messages.

    Raises:
        InputError: it is none of ours, or one that this package does not know.
    """
    attributes = check_attributes(group, where)
    for known in LAYOUTS:
        if attributes.get("layout") == known:
            return known
    raise InputError(f"{where}: layout {attributes.get('layout')!r}, this package reads {' and '.join(LAYOUTS)}")


def check_assembly(group: dict[str, Any], arrays: dict[str, dict[str, Any]], where: str) -> AssemblyMetadata:
    """Check the documents of one assembly against each other.

    Args:
        group: zarr.json of the assembly.
        arrays: zarr.json of its arrays, by name.
        where: the assembly's folder or address, for messages.

    Raises:
        InputError: what does not fit, in one sentence.
    """
    attributes, name = check_attributes(group, where), check_layout(group, where)
    layout, span = _layout(arrays[array_of(name)], name, f"{where}/{array_of(name)}")
    lengths = {"crc32c": span // layout.chunk, "n_count": span // N_BLOCK}
    if name == "packed":
        lengths |= {"runs": span // layout.chunk + 1}
        lengths |= {table: _length(arrays[table], span, f"{where}/{table}") for table in ("case", "other")}
    for small, length in lengths.items():
        data_type = np.dtype({**SMALL, **RUNS}[small]).name
        if not _same(arrays[small], plain_document(data_type, length, COLUMNS.get(small))):
            raise InputError(f"{where}/{small}: metadata does not fit `{array_of(name)}`; ingest this assembly again")
    rows = attributes.get("contigs")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{where}: the contig table is missing; ingest this assembly again")
    if contigs_checksum(rows) != attributes.get("contigs_crc32c"):
        raise InputError(f"{where}: the contig table is damaged (its checksum differs); ingest this assembly again")
    contigs = tuple(_contig(row, where) for row in rows)
    _check_places(contigs, layout, span, where)
    if attributes.get("fingerprint") != contigs_fingerprint(contigs):
        raise InputError(f"{where}: the fingerprint does not fit the contig table; ingest this assembly again")
    aliases, names = attributes.get("aliases"), {contig.name for contig in contigs}
    if not isinstance(aliases, dict) or not all(isinstance(name, str) and name in names for name in aliases.values()):
        raise InputError(f"{where}: the aliases name contigs that are not there; ingest this assembly again")
    homologs = attributes.get("homologs", {})  # a store may be older than they are
    if not isinstance(homologs, dict) or not all(
        name in names and isinstance(label, str) and label for name, label in homologs.items()
    ):
        raise InputError(f"{where}: the homologs name contigs that are not there; ingest this assembly again")
    _check_facts(attributes, contigs, where)
    return AssemblyMetadata(attributes, contigs, layout, span, lengths, name)


def _check_facts(attributes: dict[str, Any], contigs: tuple[Contig, ...], where: str) -> None:
    """What people and programs ask of the attributes without looking."""
    sums = {
        "bases": sum(contig.length for contig in contigs),
        "n_bases": sum(contig.n_bases for contig in contigs),
        "lower_bases": sum(contig.lower for contig in contigs),
    }
    for key, value in sums.items():
        if type(attributes.get(key)) is not int or attributes[key] != value:
            raise InputError(f"{where}: attribute {key!r} is {attributes.get(key)!r}, the contigs hold {value:,}")
    kinds = {"created": str, "package_version": str, "source": dict, "simulated": bool, "provenance": dict}
    for key, kind in kinds.items():
        if type(attributes.get(key)) is not kind:
            raise InputError(f"{where}: attribute {key!r} is damaged; ingest this assembly again")
    source = attributes["source"]
    good = isinstance(source.get("name"), str) and isinstance(source.get("format"), str)
    if not good or not isinstance(source.get("size"), int | None) or not isinstance(source.get("sha256"), str | None):
        raise InputError(f"{where}: attribute 'source' is damaged; ingest this assembly again")


def _length(document: dict[str, Any], most: int, where: str) -> int:
    """How many runs there are: no more than bases."""
    shape = document.get("shape")
    length = shape[0] if isinstance(shape, list) and shape else None
    if type(length) is not int or not 0 <= length <= most:
        raise InputError(
            f"{where}: {str(shape)[:60]} cannot be the shape of runs in {most:,} bases; ingest this assembly again"
        )
    return length


def _layout(document: dict[str, Any], name: LayoutName, where: str) -> tuple[Layout, int]:
    """Sizes in bases."""
    try:
        stored = (
            document["codecs"][0]["configuration"]["chunk_shape"][0],
            document["chunk_grid"]["configuration"]["chunk_shape"][0],
            document["shape"][0],
        )
    except (KeyError, IndexError, TypeError):
        raise InputError(f"{where}: metadata is not that of a sharded array; ingest this assembly again") from None
    possible = all(type(size) is int and size > 0 for size in stored)
    if not possible or stored[0] * BASES_PER_BYTE[name] not in {1 << bits for bits in CHUNK_BITS}:
        raise InputError(f"{where}: chunk, shard and length {stored} are not possible; ingest this assembly again")
    chunk, shard, span = (size * BASES_PER_BYTE[name] for size in stored)
    if shard & (shard - 1) or not chunk <= shard <= 1 << SHARD_BITS or span % chunk or span > 1 << 48:
        raise InputError(f"{where}: chunk, shard and length {stored} do not fit; ingest this assembly again")
    layout = Layout(chunk, shard)
    if not _same(document, sequence_document(span // BASES_PER_BYTE[name], layout.in_bytes(name))):
        raise InputError(f"{where}: stored with other codecs than the {name!r} layout has; ingest this assembly again")
    return layout, span


def _same(document: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a document says what we would have written; attributes and what is optional in Zarr may differ."""
    optional = {"attributes", "storage_transformers"}
    return all(document.get(key) == value for key, value in wanted.items() if key not in optional)


def _contig(row: dict[str, Any], where: str) -> Contig:
    if set(row) != set(_FIELDS) or not all(type(row[name]) is kind for name, kind in _FIELDS.items()):
        raise InputError(f"{where}: contig table, entry {str(row)[:80]!r}: other fields than {list(_FIELDS)}")
    contig = Contig(**row)
    check_header(contig.name, contig.description, where)
    return contig


def check_header(name: str, description: str, where: str) -> None:
    """What may stand in a FASTA header, on a terminal, and in a table.

    Raises:
        InputError: an empty or unprintable name, or a description of several lines.
    """
    if not (name and name.isprintable()):  # lone surrogates and control characters are not
        raise InputError(f"{where}: the contig name {name!r} is empty or not printable; rename the contig")
    if "\n" in description or "\r" in description:
        raise InputError(
            f"{where}: contig {name!r}: the description {description[:60]!r} holds a line end; take it out"
        )


def _check_places(contigs: tuple[Contig, ...], layout: Layout, span: int, where: str) -> None:
    end, names = 0, set()
    for contig in contigs:
        if contig.length < 0 or contig.offset % layout.chunk or contig.offset < end:
            raise InputError(
                f"{where}: contig {contig.name!r} lies at {contig.offset:,}, not on a chunk border of its own"
            )
        if contig.name in names:
            raise InputError(f"{where}: contig {contig.name!r} stands in the table twice")
        names.add(contig.name)
        end = layout.end(contig.offset, contig.length)
        if end > span:
            raise InputError(f"{where}: contig {contig.name!r} ends at {end:,}, past the sequence's end {span:,}")


def contig_row(contig: Contig) -> dict[str, Any]:
    """A row of the contig table as it is stored."""
    return {name: getattr(contig, name) for name in _FIELDS}
