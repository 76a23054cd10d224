"""What scores are written as: an annotated VCF, or a table keyed chrom, pos, id, ref, alt."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

from dnamamba.errors import UsageError
from dnamamba.pipelines.variant_files import VariantFile, VariantRecord
from dnamamba.scoring.vcf_output import Resolve, VcfWriter, annotated_header
from dnamamba.table_writer import SUFFIXES, Cell, Kind, TableWriter, table_format

if TYPE_CHECKING:
    import pyarrow as pa

    from dnamamba.scoring.types import VariantScore

OutputFormat = Literal["vcf", "tsv", "jsonl", "parquet"]
COLUMNS: Mapping[str, Kind] = {
    "chrom": "str", "pos": "int", "id": "str", "ref": "str", "alt": "str",
    "score": "float", "allele": "float", "downstream": "float", "forward": "float", "reverse": "float",
    "upstream": "int", "horizon": "int", "quantile": "float", "skipped": "str",
}  # fmt: skip
"""Columns of a table of scores: the key first, then what `VariantScore` holds."""
_VCF_ENDINGS = (".vcf", ".vcf.gz", ".vcf.bgz")


class Output(Protocol):
    """Where scored records go."""

    sorted: bool
    """Whether an index could be made of it."""

    def write(self, record: VariantRecord, scores: Sequence["VariantScore"]) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


def output_format(out: str, asked: OutputFormat | None, form: str) -> OutputFormat:
    """The format of an output: the one asked for, else what its name says; of "-", that of the input.

    Raises:
        InputError: a name that says no format, or Parquet for standard output.
    """
    if asked == "vcf" or (asked is None and out.lower().endswith(_VCF_ENDINGS)):
        return "vcf"
    if asked is None and out == "-":
        return "vcf" if form == "vcf" else "tsv"
    if asked is None and Path(out).suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: want a name that ends in .vcf, .vcf.gz, .tsv, .jsonl or .parquet")
    return table_format(out, asked)


def open_output(
    out: str, form: OutputFormat, file: VariantFile, contigs: Iterable[tuple[str, int]], source: str, resolve: Resolve
) -> Output:
    """Begin an output for the records of a file.

    Args:
        out: path, or "-" for standard output.
        form: as `output_format` tells it.
        file: whose header a VCF takes over.
        contigs: name and bases of the genome's, for the VCF of a table.
        source: what made the scores, in one line.
        resolve: name of a contig in a table -> the genome's.
    """
    if form == "vcf":
        header = annotated_header(file.header, source, contigs)
        return VcfWriter(out, header, file.line_end, resolve if file.form == "tsv" else None)
    return _ScoreTable(TableWriter(out, COLUMNS, form))


def score_row(score: "VariantScore") -> tuple[Cell, ...]:
    """A score as a row of `COLUMNS`."""
    return tuple(getattr(score, name) for name in COLUMNS)


def arrow_table(scores: Iterable["VariantScore"]) -> "pa.Table":
    """Scores as an Arrow table with the columns of `COLUMNS`."""
    import pyarrow as pa

    kinds = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    columns = list(zip(*map(score_row, scores), strict=True)) or [()] * len(COLUMNS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


class _ScoreTable:
    """A row for every allele."""

    sorted = True

    def __init__(self, table: TableWriter) -> None:
        self._table = table

    def write(self, record: VariantRecord, scores: Sequence["VariantScore"]) -> None:
        for score in scores:
            self._table.write(score_row(score))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._table.__exit__(kind, error, tb)
