"""Tables of contig names: UCSC's chromAlias.txt and NCBI's assembly report, from file to store."""

import gzip
import re

import pytest
from store_cases import random_bases, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.alias_files import read_synonyms
from dnamamba.pipelines.ingest import ingest

CHROM_ALIAS = "# ucsc\tassembly\tgenbank\trefseq\nchrA\t1\tCM7.1\tNC_7.1\nchrB\t\tCM8.1,x8\t\n\nchrM\tMT\n"
REPORT = (
    "# Assembly name:  Toy\n#\n# Sequence-Name\tSequence-Role\tAssigned-Molecule\tAssigned-Molecule-Location/Type"
    "\tGenBank-Accn\tRelationship\tRefSeq-Accn\tAssembly-Unit\tSequence-Length\tUCSC-style-name\r\n"
    "A1\tassembled-molecule\t1\tChromosome\tCM7.1\t=\tNC_7.1\tPrimary Assembly\t40\tchrA\r\n"
    "B\tunlocalized-scaffold\t1\tChromosome\tCM8.1\t=\tNT_8.1\tPrimary Assembly\t30\tna\r\n"
    "MT\tassembled-molecule\tMT\tMitochondrion\tJ0.1\t<>\tNC_0.1\tnon-nuclear\t20\tchrM\r\n"
)


def _fasta(tmp_path, sizes):
    return write_fasta(tmp_path / "toy.fa", {name: random_bases(length) for name, length in sizes.items()})


def test_names_from_tables_of_publishers(tmp_path):
    (tmp_path / "alias.txt").write_text(CHROM_ALIAS)
    (tmp_path / "report.txt.gz").write_bytes(gzip.compress(REPORT.encode()))
    toy = ingest(
        _fasta(tmp_path, {"CM7.1": 40, "chrB": 30, "chrM": 20}),
        tmp_path / "s",
        aliases=tmp_path / "alias.txt",
    )
    assert toy.aliases == {
        "chrA": "CM7.1", "1": "CM7.1", "NC_7.1": "CM7.1", "CM8.1": "chrB", "x8": "chrB", "MT": "chrM",
    }  # fmt: skip
    toy = ingest(
        _fasta(tmp_path, {"CM7.1": 40, "CM8.1": 30, "J0.1": 20}),
        tmp_path / "s",
        aliases=str(tmp_path / "report.txt.gz"),
        overwrite=True,
    )
    assert toy.aliases == {
        "chrA": "CM7.1", "A1": "CM7.1", "1": "CM7.1", "NC_7.1": "CM7.1", "B": "CM8.1", "NT_8.1": "CM8.1",
        "chrM": "J0.1", "MT": "J0.1",
    }  # fmt: skip
    assert "NC_0.1" not in toy.aliases  # the report says "<>": another sequence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chrA\t1\n", "table.txt, line 1: no header line"),
        ("# a\tb\nx\ty\tz\n", "table.txt, line 2: 3 columns, and 2 in the header"),
        ("# a\tb\nx\ty\nz\ty\n", "table.txt, line 3: 'y' is a name of 'z' here and of 'x' in line 2"),
        ("# a\tb\n", "names no contig"),
        ("# a\tb\nx\ty\n", "knows none of the contigs; it has x, y .., the genome CM7.1, CM8.1"),
        (REPORT.replace("\t40\t", "\tforty\t"), "line 4: Sequence-Length: want a number, got 'forty'"),
        (REPORT.replace("\t40\t", "\t41\t"), "line 4: contig 'CM7.1' has 41 bases, and 40 in the genome"),
        (b"\xff\xfe", "is not text"),
        (gzip.compress(REPORT.encode())[:-9], "the gzip data are damaged or end early"),
        (None, "cannot be read: No such file"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, message):
    path = tmp_path / "table.txt"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=re.escape(message)):
        ingest(_fasta(tmp_path, {"CM7.1": 40, "CM8.1": 30}), tmp_path / "s", aliases=path)
    assert not (tmp_path / "s").exists()


def test_a_table_with_two_names_of_the_genome_gives_neither(tmp_path):
    (tmp_path / "alias.txt").write_text(CHROM_ALIAS)
    rows = read_synonyms(tmp_path / "alias.txt")
    assert [row.names for row in rows] == [("chrA", "1", "CM7.1", "NC_7.1"), ("chrB", "CM8.1", "x8"), ("chrM", "MT")]
    toy = ingest(_fasta(tmp_path, {"chrA": 4, "CM7.1": 4}), tmp_path / "s", aliases=tmp_path / "alias.txt")
    assert toy.aliases == {}
