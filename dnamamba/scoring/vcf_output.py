"""Annotated VCF: every record as it came, in its order, with scores in INFO; under a .gz name packed and indexed."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from dnamamba.files import beside, sync
from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.variant_files import VariantRecord, quiet_htslib

if TYPE_CHECKING:
    from dnamamba.scoring.types import VariantScore

Resolve = Callable[[str], str | None]
"""The name of a contig in the genome, None where it has no such contig."""
_TABIX_END = 2**29  # bases of a contig that a .tbi can address; longer ones get a .csi


class InfoField(NamedTuple):
    """A declared INFO field and the attribute of `VariantScore` that it holds."""

    name: str
    number: str
    kind: str
    attribute: str
    meaning: str

    def header(self) -> bytes:
        text = f"##INFO=<ID={self.name},Number={self.number},Type={self.kind},Description="
        return f'{text}"{self.meaning}">'.encode()


_OVER = "Log-likelihood of ALT over REF, nats"
INFO_FIELDS = (
    InfoField("DNM_SCORE", "A", "Float", "score", f"{_OVER}; mean of the strands; negative: ALT is less likely"),
    InfoField("DNM_ALLELE", "A", "Float", "allele", "Part of DNM_SCORE: the letters of the alleles, nats"),
    InfoField("DNM_DOWNSTREAM", "A", "Float", "downstream", "Part of DNM_SCORE: the bases after them, nats"),
    InfoField("DNM_FORWARD", "A", "Float", "forward", "DNM_SCORE of the forward strand, nats"),
    InfoField("DNM_REVERSE", "A", "Float", "reverse", "DNM_SCORE of the reverse strand, nats"),
    InfoField("DNM_UPSTREAM", "A", "Integer", "upstream", "Bases read before the allele, the fewer of the strands"),
    InfoField("DNM_QUANTILE", "A", "Float", "quantile", "Share of random variants like it that score lower"),
    InfoField("DNM_SKIP", ".", "String", "skipped", "Why an allele has no score; one a record without ALT"),
)  # fmt: skip
_ATTRIBUTES = attrgetter(*(field.attribute for field in INFO_FIELDS))
_NAMES = {field.name.encode() for field in INFO_FIELDS}


def skip_code(reason: str) -> str:
    """A reason as INFO can hold it: no blank, comma or semicolon."""
    return re.sub(r"[^A-Za-z0-9]+", "_", reason).strip("_")


def annotated_header(header: Sequence[bytes], source: str, contigs: Iterable[tuple[str, int]] = ()) -> list[bytes]:
    """The header lines with the fields declared; what an earlier scoring declared is replaced.

    Args:
        header: of the input, the #CHROM line last; empty for a table, which gets one of its own.
        source: what made the scores, in one line.
        contigs: name and bases, for the header of a table.
    """
    if not header:
        header = [
            b"##fileformat=VCFv4.3",
            *(f"##contig=<ID={name},length={length}>".encode() for name, length in contigs),
            b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
        ]
    elif not header[0].startswith(b"##fileformat"):
        header = [b"##fileformat=VCFv4.3", *header]
    kept = [line for line in header[:-1] if not _is_ours(line)]
    made = [f"##source=dnamamba {source}".encode()]
    return [*kept, *(field.header() for field in INFO_FIELDS), *made, header[-1]]


def _is_ours(line: bytes) -> bool:
    declared = re.match(rb"##INFO=<ID=([^,>]+)", line)
    return line.startswith(b"##source=dnamamba ") or (declared is not None and declared[1] in _NAMES)


def annotate(record: VariantRecord, scores: Sequence["VariantScore"]) -> bytes:
    """The record's line with the scores of its alleles in INFO; no other byte of it changes."""
    columns = record.line.split(b"\t", 8)
    kept = [] if columns[7] in (b".", b"") else columns[7].split(b";")
    kept = [entry for entry in kept if entry.partition(b"=")[0] not in _NAMES]
    columns[7] = b";".join([*kept, *(f"{name}={values}".encode() for name, values in _info(scores))]) or b"."
    return b"\t".join(columns)


def _info(scores: Sequence["VariantScore"]) -> Iterable[tuple[str, str]]:
    columns = zip(*map(_ATTRIBUTES, scores), strict=True)
    for field, values in zip(INFO_FIELDS, columns, strict=True):
        if values.count(None) < len(values):
            yield field.name, ",".join(map(_value, values))


def _value(value: float | int | str | None) -> str:
    if value is None or value != value:  # NaN is missing in VCF
        return "."
    if isinstance(value, str):
        return skip_code(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class VcfWriter:
    """Writes an annotated VCF. A context manager: the file, and its index, appear when it is left without an error."""

    def __init__(
        self,
        out: str,
        header: Iterable[bytes],
        line_end: bytes = b"\n",
        resolve: Resolve | None = None,
    ) -> None:
        """Begin a file.

        Args:
            out: path, or "-" for standard output. A name that ends in .gz or .bgz is packed with bgzip and indexed.
            header: its lines, as `annotated_header` gives them.
            line_end: of every line.
            resolve: gives the contigs of the records the names that the header declares; None: they have those.
        """
        self._resolve = resolve
        self._path = None if out == "-" else Path(out)
        self._aside = None if self._path is None else beside(self._path)
        self._stack = ExitStack()
        self._file: BinaryIO = sys.stdout.buffer if self._aside is None else open(self._aside, "wb")  # noqa: SIM115
        self._packed = self._path is not None and self._path.suffix.lower() in (".gz", ".bgz")
        self._to: BinaryIO | BgzipWriter = self._file
        if self._packed:
            self._to = self._stack.enter_context(BgzipWriter(self._file))
        self._last: tuple[bytes, int] = (b"", 0)
        self._seen: set[bytes] = set()
        self._furthest = 0
        self.sorted = True
        """Whether the records can be indexed: each contig in one piece, positions growing and not out of bounds."""
        self._line_end = line_end
        for line in header:
            self._to.write(line + line_end)

    def write(self, record: VariantRecord, scores: Sequence["VariantScore"]) -> None:
        """Add a record with a score for each of its alleles."""
        chrom, tab, rest = record.line.partition(b"\t")
        if self._resolve is not None and (name := self._resolve(record.chrom)) is not None:
            chrom = name.encode()
            record = replace(record, line=chrom + tab + rest)
        if chrom != self._last[0]:
            self.sorted &= chrom not in self._seen
            self._seen.add(chrom)
        elif record.pos < self._last[1]:
            self.sorted = False
        self._last = (chrom, record.pos)
        self._furthest = max(self._furthest, record.pos + len(record.ref))
        self._to.write(annotate(record, scores) + self._line_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._stack.__exit__(kind, error, tb)
            self._file.flush()
            if self._aside is not None and self._path is not None:
                self._file.close()
                if kind is None:
                    self._finish(self._aside, self._path)
        finally:
            if self._aside is not None:
                for suffix in ("", ".tbi", ".csi"):
                    self._aside.with_name(self._aside.name + suffix).unlink(missing_ok=True)

    def _finish(self, aside: Path, path: Path) -> None:
        sync(aside)
        index = self._index(aside) if self._packed and self.sorted else None
        for suffix in (".tbi", ".csi"):  # an index of what stood here before would find wrong records
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        aside.replace(path)
        if index is not None:
            index.replace(path.with_name(path.name + index.suffix))

    def _index(self, aside: Path) -> Path | None:
        import pysam

        long = self._furthest >= _TABIX_END
        try:
            with quiet_htslib():
                pysam.tabix_index(str(aside), preset="vcf", force=True, csi=long)
        except OSError:  # positions that no index holds: beyond 2^44, for one
            self.sorted = False
            return None
        return aside.with_name(aside.name + (".csi" if long else ".tbi"))
