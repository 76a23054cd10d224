"""Files that are neither FASTA nor 2bit, told by their first bytes, so that the error can name them."""

GZIP = b"\x1f\x8b"
TWOBIT = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")
"""Little-endian, big-endian."""

_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (GZIP, "gzip data", "decompress with gunzip first"),
    (b"BZh", "bzip2 data", "decompress with bunzip2 first"),
    (b"\xfd7zXZ\x00", "xz data", "decompress with unxz first"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "decompress with zstd -d first"),
    (b"\x04\x22\x4d\x18", "lz4 data", "decompress with lz4 -d first"),
    (b"\x1f\x9d", "compress (.Z) data", "decompress with gunzip first"),
    (b"PK\x03\x04", "a zip archive", "unzip it first"),
    (b"PK\x05\x06", "an empty zip archive", "a FASTA or 2bit file is wanted"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
    (TWOBIT[0], "2bit data", "give the 2bit file itself by its path"),
    (TWOBIT[1], "2bit data", "give the 2bit file itself by its path"),
    (b"\x3a\x3d\xe9\x6b", "a nib file", "convert it with nibFrag"),
    (b"\x6b\xe9\x3d\x3a", "a nib file", "convert it with nibFrag"),
    (b"\x26\xfc\x8f\x88", "a bigWig file", "it holds no sequence"),
    (b"\xeb\xf2\x89\x87", "a bigBed file", "it holds no sequence"),
    (b"BAM\x01", "a BAM file", "convert it with samtools fasta"),
    (b"CRAM", "a CRAM file", "convert it with samtools fasta"),
    (b"##fileformat=VCF", "a VCF file", "it holds variants, no sequence"),
    (b"##gff-version", "a GFF file", "it holds annotation; give the genome's FASTA"),
    (b"LOCUS ", "a GenBank file", "convert it to FASTA"),
    (b"ID   ", "an EMBL file", "convert it to FASTA"),
    (b"CLUSTAL", "a Clustal alignment", "convert it to FASTA"),
    (b"#NEXUS", "a NEXUS file", "convert it to FASTA"),
    (b"# STOCKHOLM", "a Stockholm alignment", "convert it to FASTA"),
    (b"%PDF", "a PDF", "a FASTA or 2bit file is wanted"),
    (b"\x89HDF", "an HDF5 file", "a FASTA or 2bit file is wanted"),
    (b"PAR1", "a Parquet file", "a FASTA or 2bit file is wanted"),
    (b"\xff\xfe", "UTF-16 text", "save it as plain text (iconv -f utf-16 -t utf-8)"),
    (b"\xfe\xff", "UTF-16 text", "save it as plain text (iconv -f utf-16 -t utf-8)"),
    (b"<", "HTML or XML", "the download may have failed: look at the file"),
    (b"{", "JSON", "a FASTA or 2bit file is wanted"),
    (b"@HD\t", "a SAM file", "convert it with samtools fasta"),
    (b"@SQ\t", "a SAM file", "convert it with samtools fasta"),
    (b"@", "FASTQ", "convert it to FASTA (seqtk seq -A)"),
)


def foreign_format(head: bytes) -> tuple[str, str] | None:
    """Name the format that a file starts with, when it is a known one that cannot be read here.

    Args:
        head: the first bytes, 512 when there are as many.

    Returns:
        What it is and what to do, two clauses; None for FASTA and for anything not known.
    """
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it first"
    for magic, name, advice in _FOREIGN:
        if head.startswith(magic):
            return name, advice
    return None
