"""Tables of any length, written as they come: TSV, JSON lines or Parquet, to a file or to standard output."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self

from dnamamba.errors import UsageError
from dnamamba.files import beside, sync

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["tsv", "jsonl", "parquet"]
SUFFIXES: Mapping[str, Format] = {
    ".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
}  # fmt: skip
Kind = Literal["str", "int", "float"]
Cell = str | int | float | None

_ROWS_A_GROUP = 50_000  # of a Parquet file: what is in memory at a time


def table_format(out: str, asked: Format | None = None) -> Format:
    """The format of a table: the one asked for, else what the name says, TSV for "-".

    Raises:
        InputError: a name that says no format, or Parquet for standard output.
    """
    if asked is None:
        asked = "tsv" if out == "-" else SUFFIXES.get(Path(out).suffix.lower())
    if asked is None:
        raise UsageError(f"{out}: want a name that ends in one of {', '.join(SUFFIXES)}, or - for standard output")
    if asked == "parquet" and out == "-":
        raise UsageError("Parquet cannot go to standard output; give --out FILE.parquet")
    return asked


class TableWriter:
    """Writes rows in order. A context manager: the file appears by one rename when it is left without an error."""

    def __init__(self, out: str, columns: Mapping[str, Kind], form: Format | None = None) -> None:
        """Begin a table.

        Args:
            out: path, or "-" for standard output.
            columns: name -> kind of every column, in order.
            form: the format; None is told by the name.

        Raises:
            InputError: as `table_format`, or `beside`.
        """
        self.format = table_format(out, form)
        self._columns, self._kinds = dict(columns), tuple(columns.values())
        self._path = None if out == "-" else Path(out)
        self._aside = None if self._path is None else beside(self._path)
        self._file: BinaryIO = sys.stdout.buffer if self._aside is None else open(self._aside, "wb")  # noqa: SIM115
        self._parquet: Any = None
        self._rows: list[Sequence[Cell]] = []
        if self.format == "tsv":
            self._file.write(("\t".join(self._columns) + "\n").encode())
        elif self.format == "parquet":
            import pyarrow.parquet as pq

            self._parquet = pq.ParquetWriter(self._file, self._schema(), compression="zstd")

    def write(self, row: Sequence[Cell]) -> None:
        """Add a row: a value for each column, None where there is none."""
        if len(row) != len(self._columns):
            raise ValueError(f"a row of {len(row)} values for the {len(self._columns)} columns of the table")
        if self.format == "parquet":
            self._rows.append(row)
            if len(self._rows) >= _ROWS_A_GROUP:
                self._write_group()
        elif self.format == "tsv":
            self._file.write(("\t".join(map(_cell, row, self._kinds)) + "\n").encode())
        else:
            named = {name: _plain(value) for name, value in zip(self._columns, row, strict=True)}
            self._file.write((json.dumps(named, ensure_ascii=False) + "\n").encode())

    def flush(self) -> None:
        """Hand on to the reader of standard output what was written so far."""
        self._file.flush()

    def _schema(self) -> "pa.Schema":
        import pyarrow as pa

        kinds = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
        return pa.schema([(name, kinds[kind]) for name, kind in self._columns.items()])

    def _write_group(self) -> None:
        import pyarrow as pa

        schema = self._schema()
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        self._parquet.write_table(pa.Table.from_arrays(arrays, schema=schema))
        self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if self._parquet is not None:
                if kind is None and self._rows:
                    self._write_group()
                self._parquet.close()
            self._file.flush()
            if self._aside is not None and self._path is not None:
                self._file.close()
                if kind is None:
                    sync(self._aside)
                    self._aside.replace(self._path)
        finally:
            if self._aside is not None:
                self._aside.unlink(missing_ok=True)


def _cell(value: Cell, kind: Kind) -> str:
    """A value as TSV has it: "." for none, six digits of a float, no tabs or line ends inside a text."""
    if value is None or value != value:  # NaN
        return "."
    if kind == "float":
        return f"{value:.6g}"
    if kind == "int":
        return str(value)
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _plain(value: Cell) -> Cell:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
