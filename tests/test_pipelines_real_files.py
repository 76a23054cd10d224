"""Every real genome file: the same records as Biopython, pysam, pyfaidx and py2bit, or the sentence that refuses it.

Oracles: Biopython 1.88, pysam 0.24.1, pyfaidx 0.9.2.2, py2bit 1.0.1, twobitreader 4.0.2 (when installed).
"""

import gzip
import hashlib
import re
from pathlib import Path

import py2bit
import pyfaidx
import pysam
import pytest
from Bio import SeqIO

from dnamamba.errors import InputError
from dnamamba.pipelines.sources import open_source

FOLDERS = ("mito", "nuclear", "human", "other", "twobit", "fasta_edge")

# The sentence that refuses a file, and the options that read it (None: nothing does).
REFUSED: dict[str, tuple[str, dict[str, str] | None]] = {
    "fasta_edge/biopython.dups.fasta": (
        r"contig 'alpha': the name of record 4 is that of record 1 too; --names full tells them apart",
        {"names": "full"},
    ),
    "fasta_edge/gatk.problematicFASTA.fasta": (
        r"contig 'chr1': base 17,010: found 'X', not a DNA letter; --unknown N",
        {"unknown": "N"},
    ),
    "fasta_edge/htsjdk.ambiguityCodes.fasta": (
        r"contig 'Sheila': base 9: found '\.', an alignment gap; --gaps drop",
        {"gaps": "drop"},
    ),
    "fasta_edge/htslib.faidx.fa": (r"record 1: the header has no name: '>' is followed by nothing", None),
    "fasta_edge/igv.dup_contigs.fas": (
        r"contig 'Chrom1': the name of record 4 is that of record 1 too; rename one$",
        None,
    ),
    "fasta_edge/igv.out_order.fa": (
        r"contig 'chr1': base 255: found '\*', not a DNA letter; --unknown N",
        {"unknown": "N"},
    ),
    "fasta_edge/nucleus.malformed.fasta": (
        r"the first line starts with 'GATCACAGG[A-Za-z]+'\.\.\.; FASTA starts",
        None,
    ),
    "fasta_edge/picard.duplicate_sequence_names.fasta": (
        r"contig 'chr1': the name of record 2 is that of record 1 too; --names full",
        {"names": "full"},
    ),
    "human/hg38.chr17_42425000-43600000.revcomp.headerless.txt.gz": (
        r"the first line starts with 'CTGCCTTT[A-Z]+'\.\.\.; FASTA starts with '>'.*put '>name' on a line before it",
        None,
    ),
    "nuclear/chimp.ENm001.panTro1.fa.gz": (
        r"contig 'chimp\|ENm001\|May-2005\|9598\|CGSC': the name of record 2 is that of record 1 too; --names full",
        {"names": "full"},
    ),
    "nuclear/great_apes.noncoding_aligned.fa": (
        r"contig 'Homo_sapiens': base 1: found '-', an alignment gap; --gaps drop",
        {"gaps": "drop"},
    ),
    "twobit/gmod/empty.2bit": (r"holds no sequence: the 2bit header counts 0$", None),
    "twobit/gmod/empty.2bit.fa": (r"is empty; a FASTA or 2bit file is wanted$", None),
}
NOT_FOR_PYFAIDX = {
    "fasta_edge/igv.fasta_uneven.fa",  # lines of different lengths
    "fasta_edge/nucleus.unindexed_emptylines.fasta",  # blank lines
    "fasta_edge/pyfaidx.issue_83.fasta",  # blank lines
    "twobit/bx/test.fa",  # lines of different lengths, blanks inside
    "fasta_edge/picard.dos_line_endings.fasta.gz",  # plain gzip
    "human/hg38.chr17_BRCA1_only.fa.gz",  # plain gzip
    "other/Ecoli_K12_MG1655.NC_000913.fa.gz",  # plain gzip
    "human/hg19.chr20_9995001-11095000_in_N.fa.gz",  # half a minute, and equal
    "twobit/gmod/out2.fa.gz",  # 10,000 contigs take it seconds, and equal
}
# A 2bit file and its FASTA; the long one has five of the six records.
PAIRS = {
    "twobit/biopython/sequence.bigendian.2bit": "twobit/biopython/sequence.fa",
    "twobit/biopython/sequence.littleendian.2bit": "twobit/biopython/sequence.fa",
    "twobit/biopython/sequence.long.2bit": "twobit/biopython/sequence.fa",
    "twobit/bx/test.2bit": "twobit/bx/test.fa",
    "twobit/bx/testMask.2bit": "twobit/bx/testMask.fa",
    "twobit/bx/testN.2bit": "twobit/bx/testN.fa",
    "twobit/gmod/foo.2bit": "twobit/gmod/foo.2bit.fa",
    "twobit/gmod/out2.2bit": "twobit/gmod/out2.fa.gz",
    "twobit/gmod/volvox.2bit": "twobit/gmod/volvox.2bit.fa",
    "twobit/gmod/volvox.long.2bit": "twobit/gmod/volvox.2bit.fa",
    "twobit/lastz.pseudopig.bigendian.2bit": "twobit/lastz.pseudopig.fa",
}

Records = list[tuple[str, int, str]]  # name, length, MD5 of the letters


def _record(name: str, letters: bytes) -> tuple[str, int, str]:
    return name, len(letters), hashlib.md5(letters).hexdigest()


def ours(path: Path, **options: str) -> Records:
    records = []
    for contig in open_source(path, **options).contigs():
        digest, length = hashlib.md5(), 0
        for block in contig.blocks():
            digest.update(block)
            length += len(block)
        assert contig.length in (None, length)
        records.append((contig.name, length, digest.hexdigest()))
    return records


def _files(real_data: Path, kind: str) -> dict[str, Path]:
    """Name below the data folder -> file; every file but indexes."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((real_data / folder).rglob("*")):
            name = path.relative_to(real_data).as_posix()
            index = path.suffix in (".fai", ".gzi")
            if path.is_file() and not index and (path.suffix == ".2bit") == (kind == "2bit"):
                found[name] = path
    return found


def _as_asked(text: str, options: dict[str, str]) -> bytes:
    """The letters of another reader, made what our options ask for."""
    letters = re.sub(r"\s", "", text)
    if options.get("gaps") == "drop":
        letters = re.sub(r"[-.]", "", letters)
    if options.get("unknown") == "N":
        letters = letters.replace("X", "N").replace("x", "n").replace("*", "N")
    return letters.encode()


def test_the_folder_is_the_one_the_table_is_for(real_data):
    names = set(_files(real_data, "fasta")) | set(_files(real_data, "2bit"))
    assert set(REFUSED) | NOT_FOR_PYFAIDX | set(PAIRS) | set(PAIRS.values()) <= names
    assert len(names) == 91


def test_refused_with_the_right_sentence(real_data):
    for name, (message, _) in REFUSED.items():
        with pytest.raises(InputError, match=message) as caught:
            ours(real_data / name)
        assert str(caught.value).startswith(str(real_data / name) + ": ")


def test_fasta_as_biopython_and_pysam_read_it(real_data):
    for name, path in _files(real_data, "fasta").items():
        options = REFUSED.get(name, (None, {}))[1]
        if options is None:
            continue
        records = ours(path, **options)
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as handle:
            want = []
            for record in SeqIO.parse(handle, "fasta"):
                words = [record.description.strip()] if options.get("names") == "full" else record.description.split()
                want.append(_record(words[0], _as_asked(str(record.seq), options)))
        assert records == want, f"{name}: Biopython"
        with pysam.FastxFile(str(path)) as fastx:
            want = [_record("", _as_asked(record.sequence or "", options)) for record in fastx]
        assert [("", *record[1:]) for record in records] == want, f"{name}: pysam"


def test_fasta_as_pyfaidx_reads_it(real_data, tmp_path):
    for number, (name, path) in enumerate(_files(real_data, "fasta").items()):
        if name in REFUSED or name in NOT_FOR_PYFAIDX:
            continue
        link = tmp_path / f"{number}{path.suffix}"
        link.symlink_to(path)  # pyfaidx writes its index beside it
        with pyfaidx.Fasta(str(link), as_raw=True) as fasta:
            want = [_record(record.name, record[:].encode()) for record in fasta]
        assert ours(path) == want, name


def test_twobit_as_biopython_and_py2bit_read_it(real_data):
    for name, path in _files(real_data, "2bit").items():
        if name in REFUSED:
            continue
        records = ours(path)
        if ".long." not in name:  # Biopython refuses version 1
            with path.open("rb") as handle:
                want = [_record(record.id, bytes(record.seq)) for record in SeqIO.parse(handle, "twobit")]
            assert records == want, f"{name}: Biopython"
        if "bigendian" not in name:  # py2bit refuses big-endian
            file = py2bit.open(str(path), False)
            letters = {c.name: b"".join(b.tobytes() for b in c.blocks()) for c in open_source(path).contigs()}
            assert {n: file.sequence(n).encode() for n in file.chroms()} == {n: s.upper() for n, s in letters.items()}
            file.close()


def test_twobit_as_twobitreader_reads_it(real_data):
    twobitreader = pytest.importorskip(
        "twobitreader", reason="twobitreader is not installed (pip install dnamamba[test])"
    )
    for name, path in _files(real_data, "2bit").items():
        if name in REFUSED or ".long." in name or path.stat().st_size > 100_000:
            continue
        file = twobitreader.TwoBitFile(str(path))
        want = [_record(record, file[record][:].encode()) for record in file.keys()]  # noqa: SIM118
        assert sorted(ours(path)) == sorted(want), name
        file.close()


def test_twobit_equals_the_fasta_beside_it(real_data):
    for packed, fasta in PAIRS.items():
        records = ours(real_data / fasta)
        assert ours(real_data / packed) == records[: 5 if ".long." in packed and "biopython" in packed else None], (
            packed
        )


def test_published_digest_of_a_mitogenome(real_data):
    # rCRS is chrM of hg38 and MT of GRCh37; the M5 tag of their SAM headers is the MD5 of the upper-case sequence.
    records = ours(real_data / "mito/human.fa")
    assert ("NC_012920.1", 16_569, "c68f52674c9fb33aef52dcf399755519") in records
