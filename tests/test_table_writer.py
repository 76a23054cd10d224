"""Tables in three formats: read back equal, whole or not at all."""

import json

import pyarrow.parquet as pq
import pytest

from dnamamba.errors import InputError
from dnamamba.table_writer import TableWriter, table_format

COLUMNS = {"name": "str", "length": "int", "score": "float"}
ROWS = [("a\tb", 3, 0.123456789), ("c", None, None), ("d", 2**40, float("nan"))]


def _write(path, rows=ROWS):
    with TableWriter(str(path), COLUMNS) as table:
        for row in rows:
            table.write(row)


def test_tsv(tmp_path):
    _write(tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == ("name\tlength\tscore\na b\t3\t0.123457\nc\t.\t.\nd\t1099511627776\t.\n")


def test_json_lines(tmp_path):
    _write(tmp_path / "t.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert rows[0] == {"name": "a\tb", "length": 3, "score": 0.123456789}
    assert rows[2]["score"] is None


def test_parquet_in_groups_and_empty(tmp_path, monkeypatch):
    monkeypatch.setattr("dnamamba.table_writer._ROWS_A_GROUP", 2)
    _write(tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.to_pylist()[:2] == [dict(zip(COLUMNS, row, strict=True)) for row in ROWS[:2]]
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 2
    _write(tmp_path / "none.parquet", [])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


@pytest.mark.parametrize("name", ["t.tsv", "t.jsonl", "t.parquet"])
def test_an_error_leaves_nothing(tmp_path, name):
    with pytest.raises(ValueError, match="a row of 2 values for the 3 columns"):
        _write(tmp_path / name, [ROWS[0], ("a row", 1)])
    assert list(tmp_path.iterdir()) == []


def test_formats_are_told_by_the_name():
    assert table_format("-") == "tsv"
    assert table_format("x.tsv", "jsonl") == "jsonl"
    with pytest.raises(InputError, match=r"calls.xls: want a name that ends in one of \.tsv"):
        table_format("calls.xls")
    with pytest.raises(InputError, match="Parquet cannot go to standard output"):
        table_format("-", "parquet")
