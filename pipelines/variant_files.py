"""Read variants: VCF or BCF, plain, gzip or bgzip, or a TSV table, from a file or standard input; told by content.

VCF text is cut into lines here and not by htslib, so that a record which is written out again keeps every byte outside
INFO, files without contig lines work, and damage is reported with its record. BCF is turned into such lines by htslib.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dnamamba.errors import InputError
from dnamamba.pipelines.compression import ByteStream, DamagedStream, is_bgzip, path_label
from dnamamba.pipelines.signatures import foreign_format

_BCF, _VCF, _BOM = b"BCF\x02", b"##fileformat=VCF", b"\xef\xbb\xbf"
_FIXED = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO".split(b"\t")
TSV_COLUMNS = ("chrom", "pos", "id", "ref", "alt")
_MOST_BYTES = 2**28  # of a line, and of the header: a cohort of a million samples stays below
_MOST_DIGITS = 18  # of a position: it fits 64 bits


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """One line of a variant file."""

    number: int
    """1 for the first record of the file."""
    chrom: str
    pos: int
    """1-based, as in VCF; 0 is the telomere before the first base."""
    id: str
    ref: str
    alts: tuple[str, ...]
    """Empty where ALT is "."."""
    line: bytes
    """As it stands in a VCF, without its end; of a TSV, the VCF line that says the same."""

    @property
    def alleles(self) -> tuple[str, ...]:
        """The ALT alleles, or "." where there is none: what a result stands for each of."""
        return self.alts or (".",)


class VariantFile:
    """One pass over a variant file. Use it as a context manager, or close it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file and read its header.

        Args:
            path: VCF, BCF or TSV; "-" is standard input.

        Raises:
            InputError: no such file, another format, or a header that is damaged.
        """
        self.label = path_label(path)
        if self.label == os.fspath(path) and os.path.isdir(path):
            raise InputError(f"{self.label}: is a folder; give a VCF, BCF or TSV file")
        self._stream = ByteStream(path)
        self._spool: Any = None
        self.header: list[bytes] = []
        """Lines of the VCF header, without their ends, the #CHROM line last; none of a TSV."""
        self.form: Literal["vcf", "tsv"] = "vcf"
        self.line_end = b"\n"
        """Of a VCF's first line."""
        self._number = 0  # of the record that was read last
        try:
            self._indexable = is_bgzip(self._stream.head())
            self._lines = self._first_lines(path)
            self._read_header()
        except BaseException:
            self.close()
            raise

    @property
    def samples(self) -> list[str]:
        """Names of the samples, in the order of their columns."""
        return [name.decode(errors="replace") for name in self.header[-1].split(b"\t")[9:]] if self.header else []

    def records(self) -> Iterator[VariantRecord]:
        """The records in file order, in memory that does not depend on their number.

        Raises:
            InputError: with file and record: a line that is no record, or damage of the file.
        """
        for line in self._lines:
            if not line:
                continue
            self._number += 1
            yield self._vcf_record(line) if self.form == "vcf" else self._tsv_record(line)

    def index(self) -> list[str] | None:
        """Contigs of the tabix or CSI index beside a VCF; None where there is none, or no file that has one."""
        with self._tabix() as tabix:
            return None if tabix is None else list(tabix.contigs)

    def fetch(self, contig: str, start: int, end: int) -> Iterator[VariantRecord]:
        """The records whose POS is one of the bases [start, end), 0-based, by the index.

        Raises:
            InputError: as `records`.
        """
        with self._tabix() as tabix:
            for line in tabix.fetch(contig, start, end, parser=None):
                self._number += 1
                record = self._vcf_record(line.encode("latin-1"))
                if start < record.pos <= end:  # not those that only reach into it
                    yield record

    @contextmanager
    def _tabix(self) -> Iterator[Any]:
        beside = next((f"{self.label}{end}" for end in (".tbi", ".csi") if os.path.isfile(f"{self.label}{end}")), None)
        if beside is None or not self._indexable:
            yield None
            return
        import pysam

        try:
            with quiet_htslib(), pysam.TabixFile(self.label, index=beside, encoding="latin-1") as tabix:
                yield tabix
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{beside}: {self.label} cannot be read by it ({error}); make the index anew") from None

    def where(self) -> str:
        """The record that was read last, for messages."""
        return f"{self.label}, record {self._number:,}"

    def close(self) -> None:
        self._stream.close()
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> "VariantFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _first_lines(self, path: str | os.PathLike[str]) -> Iterator[bytes]:
        """Lines of VCF or TSV text. Nothing but the first piece of the file is read yet."""
        chunks = self._chunks()
        first = b""
        while len(first) < 512 and (more := next(chunks, b"")):
            first += more
        if first.startswith(_BCF):
            self._indexable = False  # its index is of another kind
            return self._bcf_lines(path, first, chunks)
        first = first.removeprefix(_BOM)
        if not first.strip():
            raise InputError(f"{self.label}: is empty; want a VCF, BCF or TSV file of variants")
        head = first[:512]
        if not (head.startswith((_VCF, b"#CHROM\t")) or _is_table(head)):
            foreign = foreign_format(head)
            what = f"is {foreign[0]}" if foreign else f"begins with {head[:40].decode('latin-1').splitlines()[0]!r}"
            raise InputError(
                f"{self.label}: {what}; want VCF (##fileformat=VCF..), BCF, or a table with the columns "
                f"{', '.join(TSV_COLUMNS)}, tabs between them"
            )
        if not _is_table(head) and first.partition(b"\n")[0].endswith(b"\r"):
            self.line_end = b"\r\n"
        return self._text_lines(first, chunks)

    def _chunks(self) -> Iterator[bytes]:
        try:
            yield from self._stream.chunks()
        except DamagedStream as error:
            raise InputError(f"{self.label}, after record {self._number:,}: {error}") from None

    def _text_lines(self, rest: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if len(rest) > _MOST_BYTES:
                raise InputError(f"{self.label}, after record {self._number:,}: a line of over {_MOST_BYTES:,} bytes")
            for line in lines:
                yield line.removesuffix(b"\r")
        for line in rest.split(b"\n"):
            yield line.removesuffix(b"\r")

    def _bcf_lines(self, path: str | os.PathLike[str], first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """BCF as VCF lines. htslib opens it by name: standard input goes through a file, in the temporary folder."""
        if not self._stream.seekable:
            self._spool = tempfile.NamedTemporaryFile(suffix=".bcf")  # noqa: SIM115, closed with this object
            self._spool.write(first)
            for chunk in chunks:
                self._spool.write(chunk)
            self._spool.flush()
            path = self._spool.name
        import pysam

        try:
            with quiet_htslib(), pysam.VariantFile(os.fspath(path)) as file:
                yield from str(file.header).encode(errors="surrogateescape").splitlines()
                for record in file:
                    yield str(record).rstrip("\n").encode(errors="surrogateescape")
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.label}, after record {self._number:,}: damaged BCF ({reason})") from None

    def _read_header(self) -> None:
        size = 0
        for line in self._lines:
            size += len(line)
            if size > _MOST_BYTES:
                break
            if not line.startswith(b"#") and not _is_table(line):
                break
            if _is_table(line) and not line.startswith(b"#CHROM\tPOS\tID\tREF\tALT\tQUAL"):
                self.form = "tsv"
                self._columns = _table_columns(line)
                self._width = line.count(b"\t") + 1
                return
            self.header.append(line)
            if line.startswith(b"#CHROM"):
                names = line.split(b"\t")
                if names[:8] != _FIXED:
                    got = line[:80].decode(errors="replace")
                    raise InputError(f"{self.label}: want the columns {b' '.join(_FIXED).decode()}, got {got!r}")
                self._width = len(names)
                return
        raise InputError(f"{self.label}: the header has no #CHROM line: no VCF, or a truncated one")

    def _vcf_record(self, line: bytes) -> VariantRecord:
        columns = line.split(b"\t", 5)
        # A file without samples may carry FORMAT alone in its header, or neither.
        width = line.count(b"\t") + 1
        if width != self._width:
            raise InputError(
                f"{self.where()}: {width} columns where the header has {self._width}: a damaged or truncated file"
            )
        chrom, pos, name, ref, alt = (text.decode(errors="replace") for text in columns[:5])
        return self._record(chrom, pos, name, ref, alt, line)

    def _tsv_record(self, line: bytes) -> VariantRecord:
        columns = line.decode(errors="replace").split("\t")
        if len(columns) != self._width:
            raise InputError(f"{self.where()}: {len(columns)} columns where the header has {self._width}")
        chrom, pos, name, ref, alt = (columns[i] if i is not None else "." for i in self._columns)
        # Blanks may be in no ID of a VCF.
        text = "\t".join((chrom, pos, "_".join(name.split()) or ".", ref, alt, ".", ".", "."))
        return self._record(chrom, pos, name or ".", ref, alt, text.encode())

    def _record(self, chrom: str, pos: str, name: str, ref: str, alt: str, line: bytes) -> VariantRecord:
        if not (pos.isascii() and pos.isdigit() and len(pos) <= _MOST_DIGITS):
            raise InputError(f"{self.where()}: want a position (1 for the first base), got {pos[:40]!r}")
        if not chrom or not ref or not alt:
            empty = "chrom" if not chrom else "ref" if not ref else "alt"
            raise InputError(f"{self.where()}: {empty} is empty; a missing allele is written as a dot")
        alts = () if alt == "." else tuple(alt.split(","))
        if "" in alts:
            raise InputError(f"{self.where()}: an ALT allele is empty in {alt[:40]!r}")
        return VariantRecord(self._number, chrom, int(pos), name, ref, alts, line)


def _is_table(line: bytes) -> bool:
    """Whether a line is the header of a TSV: its columns hold the names that are wanted, in any case."""
    names = line.split(b"\n")[0].strip(b"\r").lower().removeprefix(b"#").split(b"\t")
    return {b"chrom", b"pos", b"ref", b"alt"} <= set(names)


def _table_columns(line: bytes) -> list[int | None]:
    """Where each of `TSV_COLUMNS` stands; id may be missing."""
    names = line.decode(errors="replace").lower().removeprefix("#").split("\t")
    return [names.index(name) if name in names else None for name in TSV_COLUMNS]


@contextmanager
def quiet_htslib() -> Iterator[None]:
    """htslib prints its own errors; they come as exceptions here, in our words."""
    import pysam

    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


def stands_alone(path: str | os.PathLike[str]) -> bool:
    """Whether a path can be read twice: a regular file, no pipe and no standard input."""
    return os.fspath(path) != "-" and Path(path).is_file()
