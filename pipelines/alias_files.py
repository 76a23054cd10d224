"""Tables of contig names that publishers put beside a genome: UCSC's chromAlias.txt and NCBI's assembly report.

Sources: the header line of hgdownload's <db>.chromAlias.txt and of GenArk's; the columns of *_assembly_report.txt as
NCBI's README.txt of the genomes FTP site describes them.
"""

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dnamamba.errors import InputError

_REPORT = ("Sequence-Name", "Sequence-Role", "Assigned-Molecule", "GenBank-Accn", "Relationship", "RefSeq-Accn")
_LARGEST = 1 << 28  # bytes of text; the longest tables, of assemblies in a million pieces, have a tenth of it


@dataclass(frozen=True)
class Synonyms:
    """Names of one contig; which of them the genome file uses is not known."""

    names: tuple[str, ...]
    length: int | None
    """In bases, where the table says it."""
    where: str
    """File and line, for messages."""


def read_synonyms(path: str | os.PathLike[str]) -> tuple[Synonyms, ...]:
    """Read a table of names.

    Args:
        path: a chromAlias.txt with a header line ("# ucsc <tab> genbank .."), or an NCBI assembly report; plain or
            gzip.

    Returns:
        One entry a contig, in the order of the file. An accession of RefSeq that the report does not call identical to
        GenBank's ("<>") names another sequence and is left out.

    Raises:
        InputError: no such file, neither table, a line that does not fit its header, or one name for two contigs.
    """
    label = os.fspath(path)
    rows = tuple(_rows(_text(label), label))
    owner: dict[str, Synonyms] = {}
    for row in rows:
        for name in row.names:
            if (other := owner.setdefault(name, row)) is not row:
                raise InputError(
                    f"{row.where}: {name!r} is a name of {row.names[0]!r} here and of {other.names[0]!r} in "
                    f"{other.where.rpartition(', ')[2]}; take one of them out"
                )
    if not rows:
        raise InputError(f"{label}: names no contig; a chromAlias.txt or an NCBI assembly report is wanted")
    return rows


def aliases_by(rows: Sequence[Synonyms], sizes: Mapping[str, int]) -> dict[str, str]:
    """Alias -> contig, for the contigs that are there.

    Args:
        rows: of a table.
        sizes: name -> bases of the contigs.

    Raises:
        InputError: a contig has another length than the table says, or the table knows none of the contigs.
    """
    aliases: dict[str, str] = {}
    found = False
    for row in rows:
        here = [name for name in row.names if name in sizes]
        found = found or bool(here)
        for name in here:
            if row.length is not None and row.length != sizes[name]:
                raise InputError(
                    f"{row.where}: contig {name!r} has {row.length:,} bases, and {sizes[name]:,} in the genome: "
                    "this is the table of another assembly"
                )
        if len(here) == 1:  # of two contigs that are one in the table, neither is an alias of the other
            aliases |= {alias: here[0] for alias in row.names if alias != here[0]}
    if not found:
        raise InputError(
            f"{rows[0].where.rpartition(', ')[0]}: knows none of the contigs; it has {', '.join(rows[0].names)} .., "
            f"the genome {', '.join(list(sizes)[:5])} .."
        )
    return aliases


def _text(label: str) -> list[str]:
    try:
        with open(label, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(label) if packed else open(label, "rb") as text:
            data = text.read(_LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{label}: the gzip data are damaged or end early; fetch the file again") from None
    except OSError as error:
        raise InputError(f"{label}: cannot be read: {error.strerror or error}") from None
    if len(data) > _LARGEST:
        raise InputError(f"{label}: holds more than {_LARGEST:,} bytes of text; this is no table of contig names")
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{label}: is not text; a chromAlias.txt or an NCBI assembly report is wanted") from None


def _rows(lines: list[str], label: str) -> Iterator[Synonyms]:
    columns: list[str] = []
    for number, line in enumerate(lines, 1):
        where = f"{label}, line {number}"
        cells = [cell.strip() for cell in line.removeprefix("#").split("\t")]
        if line.startswith("#"):
            columns = cells if len(cells) > 1 else columns
        elif line.strip():
            if not columns:
                raise InputError(f"{where}: no header line ('# ucsc', tab, 'genbank' ..) before it")
            if len(cells) > len(columns):
                raise InputError(f"{where}: {len(cells)} columns, and {len(columns)} in the header")
            cells += [""] * (len(columns) - len(cells))
            report = set(_REPORT) <= set(columns)
            row = (
                _reported(dict(zip(columns, cells, strict=True)), where)
                if report
                else Synonyms(_names(cells), None, where)
            )
            if row.names:
                yield row


def _reported(row: Mapping[str, str], where: str) -> Synonyms:
    cells = [row.get("UCSC-style-name", ""), row["Sequence-Name"], row["GenBank-Accn"]]
    if row["Relationship"] == "=" or row["GenBank-Accn"] in ("", "na"):
        cells.append(row["RefSeq-Accn"])
    if row["Sequence-Role"] == "assembled-molecule":  # scaffolds name the chromosome that they belong to
        cells.append(row["Assigned-Molecule"])
    length = row.get("Sequence-Length", "")
    if length and not (length.isascii() and length.isdigit()):
        raise InputError(f"{where}: Sequence-Length: want a number, got {length!r}")
    return Synonyms(_names(cells), int(length) if length else None, where)


def _names(cells: Sequence[str]) -> tuple[str, ...]:
    names = (name.strip() for cell in cells for name in cell.split(","))
    return tuple(dict.fromkeys(name for name in names if name not in ("", "na") and name.isprintable()))
