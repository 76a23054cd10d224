"""Names that were there before, with few and with many of them between."""

import tracemalloc

import pytest

from dnamamba.pipelines import seen_names
from dnamamba.pipelines.sources import open_source


@pytest.mark.parametrize("recent", [1, 3, 2**14])
def test_the_first_record_of_each_name_is_known(monkeypatch, recent):
    monkeypatch.setattr(seen_names, "_RECENT", recent)
    seen = seen_names.SeenNames()
    for record in range(1, 201):
        assert seen.first(f"c{record}", f"c{record} text", record) == (record, True)
    for record in range(1, 201):
        assert seen.first(f"c{record}", f"c{record} text", 500) == (record, True)
        assert seen.first(f"c{record}", f"c{record} else", 500) == (record, False)
    assert seen.first("new", "new", 501) == (501, True)


def test_a_fasta_of_tiny_records_fills_no_memory(tmp_path):
    """A dictionary of the names took 40 times the file."""
    path = tmp_path / "many.fa"
    path.write_text("".join(f">{number:x}\n" for number in range(60_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_source(path).contigs()) == 60_000
        assert tracemalloc.get_traced_memory()[1] < 9_000_000  # 16,384 names in the dictionary, and pieces of text
    finally:
        tracemalloc.stop()
